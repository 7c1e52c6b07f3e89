"""What a sentence means: its intent and slots, by the templates that it can come from."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from asr.commands.network import Step, unfold
from asr.commands.templates import Grammar
from asr.text import normalize_transcript

END = ""  # stands for the word after the last


@dataclass(frozen=True)
class Meaning:
    """One way to understand a sentence."""

    intent: str
    slots: dict[str, Any]
    weight: float = 0.0  # natural logarithm, of the choices that the grammar weighs
    number: int = field(default=0, compare=False)  # of the template, among those of the intent


# Intent, number of its template, and the slots so far, sorted by name.
_Partial = tuple[str, int, tuple[tuple[str, Any], ...]]


class Parser:
    """Reads sentences of a grammar back through its templates."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._steps = unfold(grammar)
        self._openings = _openings(self._steps)

    def parse(self, text: str) -> list[Meaning]:
        """Each different meaning once, the heaviest first, then in the order of the file; none for other sentences."""
        words = (*normalize_transcript(text).split(), END)
        partials: dict[int, dict[int, dict[_Partial, float]]] = {0: {0: {("", 0, ()): 0.0}}}
        pending = [0]
        end = len(self._steps) - 1
        # Steps lead to higher states, so a state taken in order has been reached in all ways already.
        while pending[0] != end:
            state = heapq.heappop(pending)
            for place, found in partials.pop(state).items():
                for step in self._steps[state]:
                    after = place + len(step.words)
                    if words[place:after] != step.words or words[after] not in self._openings[step.target]:
                        continue
                    if step.target not in partials:
                        heapq.heappush(pending, step.target)
                    into = partials.setdefault(step.target, {}).setdefault(after, {})
                    for partial, weight in found.items():
                        extended = _extend(partial, step)
                        into[extended] = max(weight + step.weight, into.get(extended, weight + step.weight))
            if not pending:
                return []
        return self._meanings(partials[end].get(len(words) - 1, {}))

    def _meanings(self, found: dict[_Partial, float]) -> list[Meaning]:
        meanings: list[Meaning] = []
        for (intent, number, slots), weight in sorted(found.items(), key=lambda item: -item[1]):
            all_slots = {**self.grammar.slots[intent, number], **dict(slots)}
            if not any(known.intent == intent and known.slots == all_slots for known in meanings):
                meanings.append(Meaning(intent, all_slots, weight, number))
        return meanings


def _extend(partial: _Partial, step: Step) -> _Partial:
    mark = step.mark
    if mark is None:
        return partial
    intent, number, slots = partial
    if mark.kind == "template":
        return (mark.name, mark.number, slots)
    if mark.slot is None:
        return partial
    return (intent, number, tuple(sorted({**dict(slots), mark.slot: mark.value}.items())))


def _openings(steps: list[list[Step]]) -> list[frozenset[str]]:
    """The words that can come next from each state."""
    openings: list[frozenset[str]] = [frozenset()] * len(steps)
    openings[-1] = frozenset([END])
    for state in range(len(steps) - 2, -1, -1):
        found: set[str] = set()
        for step in steps[state]:
            found |= {step.words[0]} if step.words else openings[step.target]
        openings[state] = frozenset(found)
    return openings
