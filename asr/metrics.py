"""Word and character error rates: counted an utterance at a time, totalled over a corpus, with an interval.

The alignment is jiwer's (a Levenshtein alignment of least cost). Words are what white space separates;
characters are those of the text with white space collapsed, single spaces counted.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_BLOCK_DRAWS = 4_000_000
"""Bootstrap draws held at once: bounds memory at some 100 MB however large the corpus."""


class MetricsError(ValueError):
    """References and hypotheses that cannot be scored together."""


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Edits that turn a reference into a hypothesis; counts of several utterances add up with `+`."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Words (or characters) of the reference; zero for an empty one, whose insertions still count as errors."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors over reference length, so more than 1 where much was inserted.

        Over an empty reference it is 0 without errors and infinite with them.
        """
        if self.reference_length == 0:
            return math.inf if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of an alignment; `reference` is empty in an insertion, `hypothesis` in a deletion."""

    kind: Literal["hit", "substitution", "deletion", "insertion"]
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of an error rate."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GroupScore:
    """What the utterances of one speaker, or of one command, add up to."""

    num_utterances: int
    num_exact: int  # utterances without a single error
    counts: ErrorCounts


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often one word was heard as another."""

    reference: str
    hypothesis: str
    count: int


def count_word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Word edits of each utterance."""
    return [count_operations(operations) for operations in align_words(references, hypotheses)]


def count_character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Character edits of each utterance."""
    _check_pairs(references, hypotheses)
    if not references:
        return []
    import jiwer

    output = jiwer.process_characters([_tidy(text) for text in references], [_tidy(text) for text in hypotheses])
    return [_count_chunks(chunks) for chunks in output.alignments]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[list[Operation]]:
    """The word alignment of each utterance."""
    _check_pairs(references, hypotheses)
    if not references:
        return []
    import jiwer

    output = jiwer.process_words([_tidy(text) for text in references], [_tidy(text) for text in hypotheses])
    return [
        _operations(chunks, reference, hypothesis)
        for chunks, reference, hypothesis in zip(output.alignments, output.references, output.hypotheses, strict=True)
    ]


def align(reference: str, hypothesis: str) -> list[Operation]:
    """The word alignment of one utterance; reading off either side gives its words back."""
    return align_words([reference], [hypothesis])[0]


def count_operations(operations: Iterable[Operation]) -> ErrorCounts:
    """The edits of one alignment, counted."""
    kinds = Counter(operation.kind for operation in operations)
    return ErrorCounts(kinds["hit"], kinds["substitution"], kinds["deletion"], kinds["insertion"])


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The counts of a corpus; its `rate` is the corpus error rate (long utterances weigh more, as is usual)."""
    return sum(counts, start=ErrorCounts())


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    *,
    generator: np.random.Generator,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of the corpus error rate, resampling utterances with replacement.

    Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation". It takes
    utterances as independent: speakers whose utterances go wrong together make the true interval wider.
    A resample without reference words has rate 0 or infinity, as ErrorCounts.rate has.
    """
    if not counts:
        raise MetricsError("bootstrap: no utterances; expected at least one to resample")
    if not 0 < level < 1 or num_resamples < 1:
        raise MetricsError(
            f"bootstrap: level {level} and num_resamples {num_resamples}; expected a level between 0 and 1 "
            "and at least one resample"
        )
    # errors, lengths: [utterance]; picks: [resample, utterance]
    errors = np.array([count.errors for count in counts], dtype=np.int64)
    lengths = np.array([count.reference_length for count in counts], dtype=np.int64)
    block = max(1, _BLOCK_DRAWS // len(counts))
    rates = []
    for start in range(0, num_resamples, block):
        picks = generator.integers(len(counts), size=(min(block, num_resamples - start), len(counts)))
        rates.append(_rates(errors[picks].sum(axis=1), lengths[picks].sum(axis=1)))
    # "lower" and "higher" are observed rates: no arithmetic on a rate that may be infinite.
    tail = (1 - level) / 2
    drawn = np.concatenate(rates)
    low = np.quantile(drawn, tail, method="lower")
    high = np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(low), float(high))


def score_groups(keys: Sequence[str], counts: Sequence[ErrorCounts]) -> dict[str, GroupScore]:
    """Scores of the utterances that share a key (a speaker, or the whole transcript as a command), keys sorted."""
    members: dict[str, list[ErrorCounts]] = {}
    for key, count in zip(keys, counts, strict=True):
        members.setdefault(key, []).append(count)
    return {key: score_group(members[key]) for key in sorted(members)}


def score_group(counts: Sequence[ErrorCounts]) -> GroupScore:
    """The score of all `counts` as one group."""
    num_exact = sum(count.errors == 0 for count in counts)
    return GroupScore(num_utterances=len(counts), num_exact=num_exact, counts=total(counts))


def most_confused(alignments: Iterable[Iterable[Operation]], *, limit: int = 20) -> list[Confusion]:
    """The most frequent word substitutions, most frequent first, ties in alphabetical order."""
    pairs = Counter(
        (operation.reference, operation.hypothesis)
        for operations in alignments
        for operation in operations
        if operation.kind == "substitution"
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(reference, hypothesis, count) for (reference, hypothesis), count in ranked[:limit]]


def _rates(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rates of [resample] totals, by the rule of ErrorCounts.rate."""
    empty = np.where(errors > 0, np.inf, 0.0)
    return np.where(lengths > 0, errors / np.maximum(lengths, 1), empty)


def _operations(chunks: Sequence[Any], reference: list[str], hypothesis: list[str]) -> list[Operation]:
    """jiwer's chunks (runs of one kind over word ranges) as one operation a word."""
    operations = []
    for chunk in chunks:
        words = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            operations += [Operation("deletion", word, "") for word in words]
        elif chunk.type == "insert":
            operations += [Operation("insertion", "", word) for word in heard]
        else:
            kind = "hit" if chunk.type == "equal" else "substitution"
            operations += [Operation(kind, word, other) for word, other in zip(words, heard, strict=True)]
    return operations


def _count_chunks(chunks: Sequence[Any]) -> ErrorCounts:
    sizes = Counter()
    for chunk in chunks:
        sizes[chunk.type] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return ErrorCounts(sizes["equal"], sizes["substitute"], sizes["delete"], sizes["insert"])


def _check_pairs(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    if len(references) != len(hypotheses):
        raise MetricsError(
            f"metrics: {len(references)} references and {len(hypotheses)} hypotheses; expected as many of each"
        )


def _tidy(text: str) -> str:
    return " ".join(text.split())
