"""Estimating an n-gram model from text: interpolated modified Kneser-Ney smoothing.

Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", section 3.5. Of the n-grams
w = h v, the highest order counts how often each occurs, a lower one how many different symbols come before it (all
occurrences where it begins a sentence: nothing comes before). With these counts a(w), and h' for h without its first,

    p(v | h) = (a(hv) - D(a(hv))) / sum_u a(hu) + gamma(h) p(v | h'),      gamma(h) = sum_u D(a(hu)) / sum_u a(hu)

where D(1), D(2) and D(3), the last for all larger counts, are estimated for each order from how many n-grams have the
counts 1 to 4 (equation 26); the unigrams are interpolated with equal shares for all symbols, unseen ones too.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from asr.language_models.table import END_SYMBOL, LOG_OF_NEVER, START_SYMBOL, UNKNOWN_SYMBOL, NGramTable, Order

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""Where too few n-grams have small counts to estimate any, as with the unigrams of characters (KenLM's choice)."""


class EstimationError(ValueError):
    """Text that gives no n-gram model."""


def estimate_kneser_ney(
    sentences: Iterable[Sequence[int]], *, symbols: Sequence[str], order: int, where: str = "data.train"
) -> NGramTable:
    """Returns a model of sentences of places in `symbols`, which hold <unk>, <s> and </s>; the latter two are put round
    each.

    It predicts every symbol but <s>. Raises EstimationError, naming `where`, for no sentences.
    """
    start, end = symbols.index(START_SYMBOL), symbols.index(END_SYMBOL)
    stream, places = _join(sentences, start, end)
    if not len(stream):
        raise EstimationError(f"{where}: no text in it; expected at least one line that is not empty")
    counted = _count(stream, places, order=order, num_symbols=len(symbols))
    log_probs, estimated = _unigrams(counted[0], start), []
    for level, longer in zip(counted, [*counted[1:], None]):
        if level is not counted[0]:
            log_probs = _interpolate(level, log_probs)
        backoffs = np.zeros(len(log_probs)) if longer is None else _log_gammas(longer, len(log_probs))
        estimated.append(Order(level.grams, log_probs, backoffs))
    return NGramTable(tuple(symbols), tuple(estimated))


def word_symbols(sentences: Iterable[Sequence[str]], *, min_count: int = 1) -> tuple[str, ...]:
    """<unk>, <s>, </s> and the words that occur at least so often, in alphabetical order."""
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = sorted(word for word, count in counts.items() if count >= min_count)
    return (UNKNOWN_SYMBOL, START_SYMBOL, END_SYMBOL, *kept)


@dataclass(frozen=True)
class _Level:
    """The different n-grams of one length, sorted."""

    grams: Int64[np.ndarray, "gram symbol"]
    prefixes: Int64[np.ndarray, " gram"]  # places of their first n - 1 symbols in the level below
    suffixes: Int64[np.ndarray, " gram"]  # and of their last n - 1
    counts: Float64[np.ndarray, " gram"]  # a(w) of the module's docstring

    def discounts(self) -> Float64[np.ndarray, " gram"]:
        table = np.array((0.0, *_estimate_discounts(self.counts)))
        return table[np.minimum(self.counts, 3).astype(np.int64)]


def _join(sentences: Iterable[Sequence[int]], start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns all sentences with their ends in one row, and each symbol's place in its sentence; empty ones are left
    out.
    """
    parts = [np.array([start, *sentence, end], np.int64) for sentence in sentences if len(sentence)]
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(parts), np.concatenate([np.arange(len(part)) for part in parts])


def _count(stream: np.ndarray, places: np.ndarray, *, order: int, num_symbols: int) -> list[_Level]:
    """Returns the n-grams of 1 to `order` symbols; each is known by its place among those of its length.

    The n-gram that ends at a place of the stream is the one that ended a place before, and one symbol more:

        stream   <s> turn it off </s>      3-grams end from place 2 on: <s> turn it, turn it off, it off </s>
    """
    start, unigrams = int(stream[0]), np.arange(num_symbols)
    nothing = np.zeros(num_symbols, np.int64)
    levels = [_Level(unigrams[:, None], nothing, nothing, np.bincount(stream, minlength=num_symbols).astype(float))]
    ending = stream  # the place in its level of the n-gram that ends at each place of the stream
    for n in range(2, order + 1):
        inside = np.flatnonzero(places >= n - 1)
        keys, first, number, counts = np.unique(
            ending[inside - 1] * num_symbols + stream[inside],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        prefixes, suffixes = keys // num_symbols, ending[inside[first]]
        grams = np.column_stack((levels[-1].grams[prefixes], keys % num_symbols))
        levels.append(_Level(grams, prefixes, suffixes, counts.astype(float)))
        ending = np.full(len(stream), -1)
        ending[inside] = number
    levels = [level for level in levels if len(level.grams)]  # no sentence may be as long as the order
    adjusted = [_with_continuations(level, longer, start) for level, longer in itertools.pairwise(levels)]
    adjusted.append(levels[-1])
    adjusted[0].counts[start] = 0.0  # never predicted
    return adjusted


def _with_continuations(level: _Level, longer: _Level, start: int) -> _Level:
    """Returns how many different symbols come before an n-gram, in the place of how often it occurs."""
    continuations = np.bincount(longer.suffixes, minlength=len(level.grams)).astype(float)
    counts = np.where(level.grams[:, 0] == start, level.counts, continuations)
    return _Level(level.grams, level.prefixes, level.suffixes, counts)


def _estimate_discounts(counts: np.ndarray) -> tuple[float, ...]:
    """D(1), D(2), D(3) of Chen and Goodman's equation 26; the fallback where they are not between 0 and 1, 2, 3."""
    once, twice, thrice, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not (once and twice and thrice):
        return FALLBACK_DISCOUNTS
    share = once / (once + 2 * twice)
    found = (1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice)
    return found if all(0 < value <= size for size, value in enumerate(found, 1)) else FALLBACK_DISCOUNTS


def _unigrams(level: _Level, start: int) -> Float64[np.ndarray, " symbol"]:
    """Natural logarithms of p(v): what is taken off the counts is shared equally by all symbols but <s>."""
    discounts = level.discounts()
    shared = discounts.sum() / (len(level.counts) - 1)
    probabilities = (level.counts - discounts + shared) / level.counts.sum()
    probabilities[start] = 10.0**LOG_OF_NEVER
    return np.log(probabilities)


def _interpolate(level: _Level, lower: Float64[np.ndarray, " shorter"]) -> Float64[np.ndarray, " gram"]:
    """Natural logarithms of p(v | h), given those of the level below."""
    discounts = level.discounts()
    sums = np.bincount(level.prefixes, weights=level.counts)
    gammas = np.bincount(level.prefixes, weights=discounts)
    interpolated = gammas[level.prefixes] * np.exp(lower[level.suffixes])
    return np.log((level.counts - discounts + interpolated) / sums[level.prefixes])


def _log_gammas(longer: _Level, number: int) -> Float64[np.ndarray, " gram"]:
    """Log backoff weights of the histories; 0 for an n-gram that is none."""
    sums = np.bincount(longer.prefixes, weights=longer.counts, minlength=number)
    discounted = np.bincount(longer.prefixes, weights=longer.discounts(), minlength=number)
    is_history = sums > 0
    return np.where(is_history, np.log(np.where(is_history, discounted, 1.0) / np.where(is_history, sums, 1.0)), 0.0)
