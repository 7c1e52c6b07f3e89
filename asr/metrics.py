"""Counts word and character errors, an utterance at a time, and totals them over a corpus.

The alignment is jiwer's (a Levenshtein alignment of least cost). Words are what white space separates;
characters are those of the text with white space collapsed, single spaces counted.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jiwer


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


def count_word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Word edits of each utterance."""
    return [count_operations(operations) for operations in align_words(references, hypotheses)]


def count_character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Character edits of each utterance."""
    _check_pairs(references, hypotheses)
    if not references:
        return []
    output = jiwer.process_characters([_tidy(text) for text in references], [_tidy(text) for text in hypotheses])
    return [_count_chunks(chunks) for chunks in output.alignments]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[list[Operation]]:
    """Returns the word alignment of each utterance."""
    _check_pairs(references, hypotheses)
    if not references:
        return []
    output = jiwer.process_words([_tidy(text) for text in references], [_tidy(text) for text in hypotheses])
    return [
        _operations(chunks, reference, hypothesis)
        for chunks, reference, hypothesis in zip(output.alignments, output.references, output.hypotheses, strict=True)
    ]


def align(reference: str, hypothesis: str) -> list[Operation]:
    """Returns the word alignment of one utterance; reading off either side gives its words back."""
    return align_words([reference], [hypothesis])[0]


def count_operations(operations: Iterable[Operation]) -> ErrorCounts:
    """Returns the edits of one alignment, counted."""
    kinds = Counter(operation.kind for operation in operations)
    return ErrorCounts(kinds["hit"], kinds["substitution"], kinds["deletion"], kinds["insertion"])


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """Returns the counts of a corpus; its `rate` is the corpus error rate (long utterances weigh more, as is usual)."""
    return sum(counts, start=ErrorCounts())


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
