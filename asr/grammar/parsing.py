"""Finds a sentence's intent and slots, by the templates that it can come from."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asr.grammar.grammar import Grammar
from asr.grammar.network import Step, unfold, word_steps
from asr.text.normalization import normalize_transcript

END = ""  # stands for the word after the last


@dataclass(frozen=True)
class Meaning:
    """One way to understand a sentence."""

    intent: str
    slots: dict[str, Any]
    weight: float = 0.0  # natural logarithm, of the choices that the grammar weighs
    number: int = field(default=0, compare=False)  # of the template, among those of the intent
    response: str | None = field(default=None, compare=False)  # the key of an answer, and
    metadata: dict[str, Any] = field(default_factory=dict, compare=False)  # what else the file says of the template


# Intent, number of its template, and the slots so far, sorted by name.
_Partial = tuple[str, int, tuple[tuple[str, Any], ...]]


class SentenceParser:
    """Reads sentences of a grammar back through its templates, with its skip words wherever they stand."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._steps = word_steps(grammar) if grammar.skip_words else unfold(grammar)
        self._openings = _openings(self._steps)
        self._rows: dict[int, dict[str, list[Step]]] = {}  # of the states met: the steps that a next word can take

    def parse(self, text: str) -> list[Meaning]:
        """Gives each different meaning once, the heaviest first, then in the file's order; none for other sentences.

        Where skip words follow each other, which no sentence of the graph has, all are taken out, as hassil does.
        """
        words = normalize_transcript(text).split()
        found = self._parse(words)
        if not found and self.grammar.skip_words:
            found = self._parse(_without(words, self.grammar.skip_words))
        return found

    def _parse(self, said: Sequence[str]) -> list[Meaning]:
        words = (*said, END)
        partials: dict[int, dict[int, dict[_Partial, float]]] = {0: {0: {("", 0, ()): 0.0}}}
        pending = [0]
        end = len(self._steps) - 1
        # Steps lead to higher states, so a state taken in order has been reached in all ways already.
        while pending[0] != end:
            state = heapq.heappop(pending)
            for place, found in partials.pop(state).items():
                for step in self._row(state).get(words[place], ()):
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

    def _row(self, state: int) -> dict[str, list[Step]]:
        """Returns the steps from a state by the next word, so that a list of many values is not searched for each
        sentence.
        """
        if state not in self._rows:
            row: dict[str, list[Step]] = {}
            for step in self._steps[state]:
                for word in step.words[:1] or self._openings[step.target]:
                    row.setdefault(word, []).append(step)
            self._rows[state] = row
        return self._rows[state]

    def _meanings(self, found: dict[_Partial, float]) -> list[Meaning]:
        meanings: list[Meaning] = []
        for (intent, number, slots), weight in sorted(found.items(), key=lambda item: -item[1]):
            all_slots = {**self.grammar.templates[intent, number].slots, **dict(slots)}
            if not any(known.intent == intent and known.slots == all_slots for known in meanings):
                facts = self.grammar.templates[intent, number]
                meanings.append(Meaning(intent, all_slots, weight, number, facts.response, facts.metadata or {}))
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
    """Returns the words that can come next from each state."""
    openings: list[frozenset[str]] = [frozenset()] * len(steps)
    openings[-1] = frozenset([END])
    for state in range(len(steps) - 2, -1, -1):
        silent = {step.target for step in steps[state] if not step.words}
        said = {step.words[0] for step in steps[state] if step.words}
        if len(silent) == 1 and not said:  # the same set, which may be large, and not a copy
            openings[state] = openings[silent.pop()]
        else:
            openings[state] = frozenset(said.union(*(openings[target] for target in silent)))
    return openings


def _without(words: Sequence[str], skip_words: Sequence[tuple[str, ...]]) -> list[str]:
    """Returns the words less those that may be skipped, the longest entries first."""
    longest, kept, place = sorted(skip_words, key=len, reverse=True), [], 0
    while place < len(words):
        skipped = next((each for each in longest if tuple(words[place : place + len(each)]) == each), ())
        if not skipped:
            kept.append(words[place])
        place += len(skipped) or 1
    return kept
