"""Shows where commands go wrong: each recording's verdict, and figures by condition, speaker and slot value."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asr.data.manifest import Utterance
from asr.understanding.result import CommandGuess
from asr.understanding.scoring import CommandScore, Labelled, same_value, score_commands

Verdict = Literal["false accept", "wrong", "missed", "rejected", "accepted", "ignored"]
VERDICTS: dict[Verdict, str] = {  # the worst first
    "false accept": "no command was said, and one was understood",
    "wrong": "another command was understood than was said",
    "missed": "nothing was understood, and the top hypothesis is another command",
    "rejected": "nothing was understood, though the top hypothesis is right",
    "accepted": "the intent and every labelled slot are right",
    "ignored": "no command was said, and none was understood",
}
CONDITION_FIELDS = ("condition", "snr_db", "snr")  # of a manifest's lines, the first that is there


@dataclass(frozen=True)
class JudgedCommand:
    """A recording's label, what was understood of it, and under which condition."""

    utterance: Utterance
    labelled: Labelled
    condition: str | None

    @property
    def verdict(self) -> Verdict:
        label = self.labelled
        if label.intent is None:
            return "false accept" if label.result.understood else "ignored"
        if label.result.understood:
            return "accepted" if label.is_accepted else "wrong"
        return "rejected" if label.is_guessed else "missed"

    @property
    def top(self) -> CommandGuess | None:
        """Returns what was understood, or would have been without rejecting."""
        return self.labelled.result.guesses[0] if self.labelled.result.guesses else None


@dataclass(frozen=True)
class SlotRow:
    """One slot of a recording: its labelled value beside the value of the top hypothesis; None where there is none."""

    slot: str
    expected: Any
    found: Any

    @property
    def state(self) -> Literal["right", "wrong", "missing", "extra"]:
        if self.expected is None:
            return "extra"  # of slots that the label does not name nothing is asked
        if self.found is None:
            return "missing"
        return "right" if same_value(self.found, self.expected) else "wrong"


@dataclass(frozen=True)
class SlotValue:
    """Says how often one value of a slot was said, and what the top hypotheses made of it."""

    slot: str
    value: str
    num_said: int
    num_right: int
    taken_for: tuple[tuple[str, int], ...]  # other values, "" for none, most frequent first


def condition_of(utterance: Utterance, field: str | None) -> str | None:
    """Returns the condition that a manifest's line names, by `field` or the first of CONDITION_FIELDS."""
    for name in (field,) if field else CONDITION_FIELDS:
        value = utterance.extra.get(name)
        if value is not None:
            return f"{value:g} dB" if name.startswith("snr") and isinstance(value, int | float) else str(value)
    return None


def by_condition(judged: JudgedCommand) -> str | None:
    return judged.condition


def by_speaker(judged: JudgedCommand) -> str | None:
    return judged.utterance.speaker


def slot_rows(judged: JudgedCommand) -> list[SlotRow]:
    """Returns the labelled slots in the label's order, then those that were understood beside them."""
    found: Mapping[str, Any] = judged.top.slots if judged.top else {}
    rows = [SlotRow(slot, value, found.get(slot)) for slot, value in judged.labelled.slots.items()]
    return [*rows, *(SlotRow(slot, None, value) for slot, value in found.items() if slot not in judged.labelled.slots)]


def slot_values(judged: Iterable[JudgedCommand]) -> list[SlotValue]:
    """Returns a row for each value that was said of each slot; by slot, the values with most mistakes first."""
    taken: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    right: Counter[tuple[str, str]] = Counter()
    for each in judged:
        for row in slot_rows(each):
            if row.expected is None:
                continue
            key = row.slot, str(row.expected)
            right[key] += row.state == "right"
            taken[key].update([] if row.state == "right" else ["" if row.found is None else str(row.found)])
    values = [
        SlotValue(slot, value, right[slot, value] + others.total(), right[slot, value], tuple(others.most_common()))
        for (slot, value), others in taken.items()
    ]
    return sorted(values, key=lambda each: (each.slot, each.num_right - each.num_said, each.value))


def score_by(judged: Sequence[JudgedCommand], key: Callable[[JudgedCommand], str | None]) -> dict[str, CommandScore]:
    """Returns the figures of the recordings that share a key, such as a speaker, of those that have one."""
    groups: dict[str, list[Labelled]] = defaultdict(list)
    for each in judged:
        name = key(each)
        if name is not None:
            groups[name].append(each.labelled)
    return {name: score_commands(groups[name]) for name in sorted(groups, key=_natural)}


def count_verdicts(judged: Iterable[JudgedCommand]) -> dict[Verdict, int]:
    """Returns how many recordings have each verdict, the worst first; none that no recording has."""
    counts = Counter(each.verdict for each in judged)
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def _natural(name: str) -> list[tuple[float, str]]:
    """Sorts "6 dB" before "12 dB", wherever in the name the number is, and numbers before words."""
    parts = re.split(r"(-?\d+(?:\.\d+)?)", name)
    return [(float(part), "") if number % 2 else (math.inf, part) for number, part in enumerate(parts) if part]
