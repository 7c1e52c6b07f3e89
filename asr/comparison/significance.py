"""Tells whether one recogniser is better than another: intervals over seeds, and paired resampling of utterances."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t

from asr.evaluation.intervals import Interval
from asr.metrics import MetricsError, count_word_errors

NUM_ANSWERS = 5  # transcripts that are tried as the one answer to everything
_BLOCK_DRAWS = 4_000_000  # counts held at once: bounds the memory however large the corpus


@dataclass(frozen=True)
class PairedDifference:
    """The error rate of one recogniser less that of another, on the same utterances."""

    difference: float  # negative: fewer errors than the reference
    low: float
    high: float
    p_value: float  # two-sided: how often resampling turns the difference round, or makes it nothing


def paired_difference(
    errors: Int[np.ndarray, "seed _"],
    reference_errors: Int[np.ndarray, "reference_seed _"],
    lengths: Int[np.ndarray, " utterance"],
    *,
    generator: np.random.Generator,
    num_resamples: int = 10_000,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two recognisers, each trained with one or more seeds, on the same utterances.

    Each resample draws utterances with replacement, the same for both (Bisani & Ney 2004, "Bootstrap estimates for
    confidence intervals in ASR performance evaluation", section 4), and, independently, of each recogniser's seeds.
    With a single seed it speaks of these two trainings only. Raises MetricsError where there are no words.
    """
    if errors.shape[1] != len(lengths) or reference_errors.shape[1] != len(lengths) or not lengths.sum():
        raise MetricsError(
            f"paired bootstrap: {errors.shape[1]} and {reference_errors.shape[1]} utterances, {lengths.sum()} words in "
            f"{len(lengths)} references; expected the same utterances, with at least one word"
        )
    block = max(1, _BLOCK_DRAWS // len(lengths))
    drawn = []
    for start in range(0, num_resamples, block):
        number = min(block, num_resamples - start)
        times = generator.multinomial(len(lengths), np.full(len(lengths), 1 / len(lengths)), size=number)
        words = np.maximum(times @ lengths, 1)
        means = [_mean_over_drawn_seeds(times @ own.T, generator) for own in (errors, reference_errors)]
        drawn.append((means[0] - means[1]) / words)
    differences = np.concatenate(drawn)
    tail = (1 - level) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    # One more than counted: with finitely many resamples no p-value is zero (Davison & Hinkley 1997, section 4.2).
    turned = 1 + min(np.sum(differences <= 0), np.sum(differences >= 0))
    found = (errors.mean(axis=0).sum() - reference_errors.mean(axis=0).sum()) / lengths.sum()
    return PairedDifference(float(found), float(low), float(high), float(min(1.0, 2 * turned / (1 + num_resamples))))


def _mean_over_drawn_seeds(
    totals: Int[np.ndarray, "resample seed"], generator: np.random.Generator
) -> Float[np.ndarray, " resample"]:
    number = totals.shape[1]
    times = generator.multinomial(number, np.full(number, 1 / number), size=len(totals))
    return (totals * times).sum(axis=1) / number


def interval_over_seeds(rates: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Student's interval of the mean error rate over seeds; None with fewer than two, which say nothing of others."""
    if len(rates) < 2:
        return None
    half = float(t.ppf((1 + level) / 2, len(rates) - 1)) * float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
    mean = float(np.mean(rates))
    return Interval(max(0.0, mean - half), mean + half)


def chance_rate(references: Sequence[str]) -> float:
    """Returns the lowest word error rate of a recogniser that gives one and the same answer to everything.

    The answers tried are silence, each word, and the transcripts that are there most often. Who is no better has learnt
    nothing: of ten digits spoken alike often it is 90 %, and 100 % of sentences that have no word in common.
    """
    words = [reference.split() for reference in references]
    number = sum(map(len, words))
    if not number:
        return 0.0
    least = number - max((Counter(word for each in words for word in set(each)) - _needless(words)).values(), default=0)
    transcripts = [text for text, _ in Counter(references).most_common(NUM_ANSWERS)]
    for answer in transcripts:
        counts = count_word_errors(references, [answer] * len(references))
        least = min(least, sum(each.errors for each in counts))
    return least / number


def _needless(words: Sequence[Sequence[str]]) -> Counter[str]:
    """Returns, for each word as the answer, the utterances in which nothing is said, where it is inserted."""
    empty = sum(not each for each in words)
    return Counter({word: empty for each in words for word in each}) if empty else Counter()


def adjust_for_many(p_values: Sequence[float]) -> list[float]:
    """p-values made fit to be read side by side (Holm 1979): among many comparisons some look good by chance.

    The smallest is multiplied by their number, the next by one less, and so on, none below one before it.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
