"""Adds up the errors of some utterances: of a speaker, of a command, of one word taken for another."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asr.metrics import ErrorCounts, Operation, total


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Holds what the utterances of one speaker, or of one command, add up to."""

    num_utterances: int
    num_exact: int  # utterances without a single error
    counts: ErrorCounts


@dataclass(frozen=True, slots=True)
class Confusion:
    """Says how often one word was recognised as another."""

    reference: str
    hypothesis: str
    count: int


def score_groups(keys: Sequence[str], counts: Sequence[ErrorCounts]) -> dict[str, GroupScore]:
    """Scores of the utterances that share a key (a speaker, or the whole transcript as a command), keys sorted."""
    members: dict[str, list[ErrorCounts]] = {}
    for key, count in zip(keys, counts, strict=True):
        members.setdefault(key, []).append(count)
    return {key: score_group(members[key]) for key in sorted(members)}


def score_group(counts: Sequence[ErrorCounts]) -> GroupScore:
    """Returns the score of all `counts` as one group."""
    num_exact = sum(count.errors == 0 for count in counts)
    return GroupScore(num_utterances=len(counts), num_exact=num_exact, counts=total(counts))


def most_confused(alignments: Iterable[Iterable[Operation]], *, limit: int = 20) -> list[Confusion]:
    """Returns the most frequent word substitutions, most frequent first, ties in alphabetical order."""
    pairs = Counter(
        (operation.reference, operation.hypothesis)
        for operations in alignments
        for operation in operations
        if operation.kind == "substitution"
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(reference, hypothesis, count) for (reference, hypothesis), count in ranked[:limit]]
