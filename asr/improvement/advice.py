"""One thing to do next: what was seen, what to do about it, and what that is expected to gain."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """Holds one step, with the evidence for it."""

    title: str
    seen: str  # the figures that it rests on
    do: str  # a command, or keys of the configuration
    gain: float | None  # by how much the dev WER falls, 0.01 is one point; None where nothing measured says so
    estimate: str  # how the gain was found, or why it was not


@dataclass(frozen=True)
class Remark:
    """Says which part of the page was left out, and why."""

    part: str
    reason: str


def by_gain(advice: Iterable[Advice]) -> list[Advice]:
    """Returns the largest expected gain first, and what has no estimate at the end, in the order given."""
    return sorted(advice, key=lambda each: (each.gain is None, -(each.gain or 0.0)))
