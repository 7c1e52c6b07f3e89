"""Counts how many commands were understood rightly: acceptance, intents, slots, false accepts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr.understanding.result import CommandGuess, CommandResult
from asr.understanding.values import same_value


@dataclass(frozen=True)
class Proportion:
    """A number of things out of a total."""

    number: int
    total: int

    @property
    def rate(self) -> float | None:
        return self.number / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Between which rates the true one lies with 95 % confidence (Wilson 1927, score interval); 0 to 1 of none.

        It takes the recordings for independent; those of one speaker are not quite.
        """
        if not self.total:
            return 0.0, 1.0
        z, rate = 1.959964, self.number / self.total
        scale = 1 / (1 + z * z / self.total)
        middle = scale * (rate + z * z / (2 * self.total))
        half = scale * z * math.sqrt(rate * (1 - rate) / self.total + z * z / (4 * self.total**2))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class CommandScore:
    """The figures of one set of recordings, of which some are labelled with a command and some are none."""

    accepted: Proportion  # of the commands: understood, the intent right, and every labelled slot with its exact value
    guessed: Proportion  # of the commands: as accepted, but by the best guess, even where it counts as not understood
    understood: Proportion  # of the commands, rightly or wrongly
    intents: Proportion  # of the commands: understood, with the right intent
    by_intent: dict[str, Proportion]  # of the commands of each intent: accepted
    slots: dict[str, Proportion]  # of the labelled slots, by name: with their exact value
    confused: list[tuple[str, str, str, int]]  # slot, its value, that of the best guess ("" for none), times
    confused_intents: list[tuple[str, str, int]]  # the intent, that of the best guess ("" for none), times
    false_accepts: Proportion  # of the recordings without a command
    other_hours: float  # of the recordings without a command

    @property
    def all_slots(self) -> Proportion:
        return _sum(self.slots.values())


@dataclass(frozen=True)
class Labelled:
    """A recording's label beside what was understood; `intent` is None where it holds no command."""

    intent: str | None
    slots: Mapping[str, Any]
    result: CommandResult
    duration: float  # seconds

    @property
    def is_accepted(self) -> bool:
        return self.result.understood and self.is_guessed

    @property
    def is_guessed(self) -> bool:
        return bool(self.result.guesses) and self._is_right(self.result.guesses[0])

    def _is_right(self, guess: CommandGuess) -> bool:
        return guess.intent == self.intent and all(
            same_value(guess.slots.get(slot), value) for slot, value in self.slots.items()
        )


def score_commands(labelled: Iterable[Labelled]) -> CommandScore:
    labelled = list(labelled)
    commands = [item for item in labelled if item.intent is not None]
    others = [item for item in labelled if item.intent is None]
    slots: dict[str, list[bool]] = defaultdict(list)
    by_intent: dict[str, list[bool]] = defaultdict(list)
    confused: Counter[tuple[str, str, str]] = Counter()
    confused_intents: Counter[tuple[str, str]] = Counter()
    for item in commands:
        by_intent[str(item.intent)].append(item.is_accepted)
        guess = item.result.guesses[0] if item.result.guesses else None
        if guess is None or guess.intent != item.intent:
            confused_intents[str(item.intent), guess.intent if guess else ""] += 1
        for slot, value in item.slots.items():
            slots[slot].append(same_value(item.result.slots.get(slot), value))
            guessed = guess.slots.get(slot) if guess else None
            if not same_value(guessed, value):
                confused[slot, str(value), "" if guessed is None else str(guessed)] += 1
    return CommandScore(
        accepted=_share(item.is_accepted for item in commands),
        guessed=_share(item.is_guessed for item in commands),
        understood=_share(item.result.understood for item in commands),
        intents=_share(item.result.intent == item.intent for item in commands),
        by_intent={intent: _share(by_intent[intent]) for intent in sorted(by_intent)},
        slots={slot: _share(slots[slot]) for slot in sorted(slots)},
        confused=[(*key, number) for key, number in confused.most_common()],
        confused_intents=[(*key, number) for key, number in confused_intents.most_common()],
        false_accepts=_share(item.result.understood for item in others),
        other_hours=sum(item.duration for item in others) / 3600,
    )


def pool_scores(scores: Sequence[CommandScore]) -> CommandScore:
    """The figures of all recordings of these together, such as of the folds of a cross-validation."""
    confused: Counter[tuple[str, str, str]] = Counter()
    confused_intents: Counter[tuple[str, str]] = Counter()
    for score in scores:
        confused.update({(slot, value, found): number for slot, value, found, number in score.confused})
        confused_intents.update({(intent, found): number for intent, found, number in score.confused_intents})
    return CommandScore(
        accepted=_sum(score.accepted for score in scores),
        guessed=_sum(score.guessed for score in scores),
        understood=_sum(score.understood for score in scores),
        intents=_sum(score.intents for score in scores),
        by_intent=_sum_each([score.by_intent for score in scores]),
        slots=_sum_each([score.slots for score in scores]),
        confused=[(*key, number) for key, number in confused.most_common()],
        confused_intents=[(*key, number) for key, number in confused_intents.most_common()],
        false_accepts=_sum(score.false_accepts for score in scores),
        other_hours=sum(score.other_hours for score in scores),
    )


def _sum(shares: Iterable[Proportion]) -> Proportion:
    each = list(shares)
    return Proportion(sum(share.number for share in each), sum(share.total for share in each))


def _sum_each(groups: Sequence[Mapping[str, Proportion]]) -> dict[str, Proportion]:
    names = sorted({name for group in groups for name in group})
    return {name: _sum(group[name] for group in groups if name in group) for name in names}


def _share(is_so: Iterable[bool]) -> Proportion:
    each = list(is_so)
    return Proportion(sum(each), len(each))
