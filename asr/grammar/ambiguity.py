"""Sentences that a grammar gives more than one meaning: all of them, found without listing any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asr.grammar.grammar import Grammar
from asr.grammar.network import Step, one_word_steps, unfold

MAX_STATES = 50_000

Item = tuple[str, str]  # a slot and its value; the intent is that of slot ""
_Ways = frozenset[tuple[int, frozenset[Item]]]  # where a sentence can be, and what only that way means


@dataclass(frozen=True)
class Ambiguity:
    """Says how many sentences have several meanings, and names some of them."""

    num_sentences: int
    examples: list[str]  # each for other intents and slots than the ones before
    is_complete: bool  # False: the grammar is too large, and was searched in part


def find_ambiguity(grammar: Grammar, *, max_examples: int = 10) -> Ambiguity:
    """Returns the subset construction of a transducer (Mohri 1997, section 3.3) whose outputs are sets of slots.

    A state holds all ways that a sentence so far can be read, each with what it means beside what all of them mean.
    Where sentences end in several ways that differ in meaning, they are ambiguous.
    """
    search = _Search(grammar)
    states: dict[_Ways, int] = {search.start: 0}
    counts = [1]  # ways to each state: the graph is deterministic, so these are sentences
    before: list[tuple[int, str]] = [(-1, "")]
    edges: list[list[tuple[str, int]]] = []
    pending = [search.start]
    for ways in pending:  # grows while it is read
        number = len(edges)
        edges.append([])
        if len(pending) > MAX_STATES:
            continue
        for word, following in search.following(ways):
            target = states.setdefault(following, len(states))
            if target == len(pending):
                pending.append(following)
                before.append((number, word))
                counts.append(0)
            edges[number].append((word, target))
    for number in _in_order(edges):
        for _, target in edges[number]:
            counts[target] += counts[number]
    endings = [(number, meanings) for number, ways in enumerate(pending) if len(meanings := search.endings(ways)) > 1]
    examples: dict[frozenset[frozenset[str]], str] = {}
    for number, meanings in sorted(endings):
        kinds = frozenset(frozenset(slot or value for slot, value in meaning) for meaning in meanings)
        if len(examples) < max_examples:
            examples.setdefault(kinds, _sentence(number, before))
    return Ambiguity(
        sum(counts[number] for number, _ in endings), list(examples.values()), is_complete=len(pending) <= MAX_STATES
    )


class _Search:
    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._steps = one_word_steps(unfold(grammar))
        self.start: _Ways = self._closed([(0, frozenset())])

    def following(self, ways: _Ways) -> list[tuple[str, _Ways]]:
        """Returns each next word and what it leads to; what all ways mean is dropped, as it tells none apart."""
        reached: dict[str, set[tuple[int, frozenset[Item]]]] = {}
        for state, meaning in ways:
            for step in self._steps[state]:
                if step.words:
                    reached.setdefault(step.words[0], set()).add((step.target, self._extended(meaning, step)))
        return [(word, self._closed(targets)) for word, targets in sorted(reached.items())]

    def endings(self, ways: _Ways) -> set[frozenset[Item]]:
        return {meaning for state, meaning in ways if state == len(self._steps) - 1}

    def _closed(self, ways: Iterable[tuple[int, frozenset[Item]]]) -> _Ways:
        found = set(ways)
        stack = list(found)
        while stack:
            state, meaning = stack.pop()
            for step in self._steps[state]:
                way = (step.target, self._extended(meaning, step))
                if not step.words and way not in found:
                    found.add(way)
                    stack.append(way)
        end = len(self._steps) - 1
        kept = [(s, meaning) for s, meaning in found if s == end or any(step.words for step in self._steps[s])]
        common = frozenset.intersection(*(meaning for _, meaning in kept)) if kept else frozenset()
        return frozenset((state, meaning - common) for state, meaning in kept)

    def _extended(self, meaning: frozenset[Item], step: Step) -> frozenset[Item]:
        mark = step.mark
        if mark is None:
            return meaning
        if mark.kind == "template":
            fixed = self._grammar.templates[mark.name, mark.number].slots
            return meaning | {("", mark.name), *((slot, repr(value)) for slot, value in fixed.items())}
        return meaning if mark.slot is None else meaning | {(mark.slot, repr(mark.value))}


def _in_order(edges: list[list[tuple[str, int]]]) -> list[int]:
    """Returns the states, each before all that it leads to."""
    num_before = [0] * len(edges)
    for row in edges:
        for _, target in row:
            num_before[target] += 1
    order = [0]
    for number in order:  # grows while it is read
        for _, target in edges[number]:
            num_before[target] -= 1
            if num_before[target] == 0:
                order.append(target)
    return order


def _sentence(number: int, before: list[tuple[int, str]]) -> str:
    words = []
    while number > 0:
        number, word = before[number]
        words.append(word)
    return " ".join(reversed(words))
