"""Sentences drawn from a grammar, so that every choice and every pair of neighbouring words occurs often enough."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from asr.grammar.file import GrammarError
from asr.grammar.grammar import Arc, Grammar, Mark
from asr.text.normalization import normalize_transcript

SKIPPED_SHARE = 0.2  # of the sentences drawn freely that have one of the grammar's skip words

Item = Mark | tuple[str, str]  # what is to be covered: a choice, or two words in a row


@dataclass(frozen=True)
class Command:
    """One sentence of a grammar."""

    spoken: str  # as the templates have it, for a voice: "wake me at seven a.m."
    text: str  # the transcript: "wake me at seven a m"
    intent: str
    slots: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Step:
    """One arc taken from a state, which also knows the words before it."""

    source: int
    target: int
    arc: Arc
    items: tuple[Item, ...]


class Sampler:
    """Draws sentences of a grammar.

    The network is unfolded so that each state knows the last whole word and the piece of a word before it: then each
    step knows which pairs of words it completes, and a sentence can be drawn through any of them.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._steps, self._num_states = _unfold(grammar)
        self._leaving: list[list[int]] = [[] for _ in range(self._num_states)]
        self._entering: list[list[int]] = [[] for _ in range(self._num_states)]
        for number, step in enumerate(self._steps):
            self._leaving[step.source].append(number)
            self._entering[step.target].append(number)
        self._weights = self._choose_weights()
        self._steps_of: dict[Item, list[int]] = {}
        for number, step in enumerate(self._steps):
            for item in step.items:
                self._steps_of.setdefault(item, []).append(number)

    @cached_property
    def num_paths(self) -> list[int]:
        """Ways from each state to the end of a sentence."""
        paths = [0] * self._num_states
        paths[-1] = 1
        for state in range(self._num_states - 2, -1, -1):
            paths[state] = sum(paths[self._steps[number].target] for number in self._leaving[state])
        return paths

    @property
    def num_sentences(self) -> int:
        """Ways through the grammar; a sentence that it allows twice counts twice."""
        return self.num_paths[0]

    @property
    def items(self) -> list[Item]:
        """Returns all that sentences can cover."""
        return list(self._steps_of)

    @cached_property
    def words(self) -> list[str]:
        """Returns the vocabulary, sorted."""
        words: set[str] = set()
        for item in self._steps_of:
            if isinstance(item, tuple):
                words.update(item)
        words.update(*self.grammar.skip_words)
        return sorted(words - {_BOUNDARY})

    def all_commands(self) -> Iterator[Command]:
        """Yields every sentence, each once; only for grammars of few."""
        seen = set()
        for path in self._all_paths(0):
            command = self._command(path)
            if (command.intent, command.text) not in seen:
                seen.add((command.intent, command.text))
                yield command

    def sample(self, number: int, *, min_count: int, rng: np.random.Generator) -> list[Command]:
        """Returns `number` sentences in random order, in which each item occurs `min_count` times at least.

        A grammar of no more sentences than that is enumerated first, so that each occurs. Raises GrammarError where
        the number is too small for `min_count`.
        """
        paths: list[list[int]] = []
        counts: Counter[Item] = Counter()
        if self.num_sentences <= number:
            paths = list(self._all_paths(0))
            counts.update(item for path in paths for item in self._items(path))
        skipping = [words for words in self.grammar.skip_words for _ in range(min_count)]
        for item in sorted(self._steps_of, key=lambda item: len(self._steps_of[item])):
            while counts[item] < min_count:
                path = self._path_through(item, rng)
                paths.append(path)
                counts.update(self._items(path))
        num_covering = len(paths)
        if num_covering + len(skipping) > number:
            raise GrammarError(
                f"{self.grammar.path}: {number:,} sentences; expected at least {num_covering + len(skipping):,}, for "
                f"each of {len(self._steps_of):,} choices and pairs of words to occur {min_count} times; ask for more "
                f"sentences or fewer times"
            )
        paths += [self._walk(0, rng) for _ in range(number - num_covering)]
        commands = [self._command(path) for path in paths]
        for place in range(num_covering, number) if self.grammar.skip_words else ():
            commands[place] = self._with_skipped(commands[place], skipping, rng)
        return [commands[place] for place in rng.permutation(number)]

    def _with_skipped(self, command: Command, wanted: list[tuple[str, ...]], rng: np.random.Generator) -> Command:
        """Returns the sentence with an entry of the skip words somewhere: those `wanted` first, then in a share of
        them.
        """
        entries = self.grammar.skip_words
        if wanted:
            skipped = wanted.pop()
        elif rng.random() < SKIPPED_SHARE:
            skipped = entries[int(rng.integers(len(entries)))]
        else:
            return command
        spoken = command.spoken.split()
        place = int(rng.integers(len(spoken) + 1))
        text = " ".join([*spoken[:place], *skipped, *spoken[place:]])
        return replace(command, spoken=text, text=normalize_transcript(text))

    def _items(self, path: list[int]) -> set[Item]:
        return {item for number in path for item in self._steps[number].items}

    def _choose_weights(self) -> list[np.ndarray]:
        """Chances of the steps that leave each state: even, but for intents and templates.

        Those weigh as the logarithm of the number of their sentences, so that "stop" is not said as often as all the
        ways to set a timer, nor a million times less.
        """
        weights = []
        for numbers in self._leaving:
            marks = [self._steps[number].arc.mark for number in numbers]
            by_size = any(mark is not None and mark.kind in ("intent", "template") for mark in marks)
            sizes = [self.num_paths[self._steps[number].target] if by_size else 1 for number in numbers]
            chances = np.array([math.log(1 + size) for size in sizes])
            weights.append(chances / chances.sum() if numbers else chances)
        return weights

    @cached_property
    def _reach(self) -> np.ndarray:
        """Returns the chance that a sentence drawn freely passes each state."""
        reach = np.zeros(self._num_states)
        reach[0] = 1.0
        for state in range(self._num_states):
            for number, weight in zip(self._leaving[state], self._weights[state]):
                reach[self._steps[number].target] += reach[state] * weight
        return reach

    def _walk(self, state: int, rng: np.random.Generator) -> list[int]:
        path = []
        while self._leaving[state]:
            number = self._leaving[state][_draw(self._weights[state], rng)]
            path.append(number)
            state = self._steps[number].target
        return path

    def _path_through(self, item: Item, rng: np.random.Generator) -> list[int]:
        """Returns a sentence that has the item, as likely as free drawing makes it among all that have."""
        numbers = self._steps_of[item]
        number = numbers[_draw(np.array([self._chance(number) for number in numbers]), rng)]
        before = []
        state = self._steps[number].source
        while state:
            entering = self._entering[state]
            before.append(entering[_draw(np.array([self._chance(other) for other in entering]), rng)])
            state = self._steps[before[-1]].source
        return [*reversed(before), number, *self._walk(self._steps[number].target, rng)]

    def _chance(self, number: int) -> float:
        step = self._steps[number]
        place = self._leaving[step.source].index(number)
        return float(self._reach[step.source] * self._weights[step.source][place])

    def _all_paths(self, state: int) -> Iterator[list[int]]:
        if not self._leaving[state]:
            yield []
            return
        for number in self._leaving[state]:
            for rest in self._all_paths(self._steps[number].target):
                yield [number, *rest]

    def _command(self, path: list[int]) -> Command:
        arcs = [self._steps[number].arc for number in path]
        marks = [arc.mark for arc in arcs if arc.mark is not None]
        template = next(mark for mark in marks if mark.kind == "template")
        slots = dict(self.grammar.templates[template.name, template.number].slots)
        slots |= {mark.slot: mark.value for mark in marks if mark.slot is not None}
        spoken = " ".join("".join(arc.text for arc in arcs).split())
        return Command(spoken, normalize_transcript(spoken), template.name, slots)


_BOUNDARY = ""  # stands before the first word and after the last


def _draw(weights: np.ndarray, rng: np.random.Generator) -> int:
    """Returns a place, by weight."""
    cumulative = np.cumsum(weights)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _unfold(grammar: Grammar) -> tuple[list[_Step], int]:
    """Steps between states (node, last word, piece of a word), numbered so that steps go to higher numbers.

    A last step ends each sentence, so that the word before it is whole and its pair with the end is counted.
    """
    end = len(grammar.arcs)
    arcs = [*grammar.arcs[:-1], (Arc(end, " "),)]
    states: list[dict[tuple[str, str], int]] = [{} for _ in range(end + 1)]
    states[0][_BOUNDARY, ""] = 0
    pending: list[tuple[tuple[int, str, str], tuple[int, str, str], Arc, tuple[Item, ...]]] = []
    for node, node_arcs in enumerate(arcs):
        for last, piece in list(states[node]):
            for arc in node_arcs:
                *whole, rest = _split(piece + arc.text)
                words = [word for text in whole for word in normalize_transcript(text).split()]
                final = [_BOUNDARY] if arc.target == end else []
                pairs = tuple(itertools.pairwise([last, *words, *final]))
                key: tuple[str, str] = (_BOUNDARY, "") if final else (words[-1] if words else last, rest)
                states[arc.target].setdefault(key, 0)
                items: tuple[Item, ...] = (*pairs, *([arc.mark] if arc.mark else []))
                pending.append(((node, last, piece), (arc.target, key[0], key[1]), arc, items))
    numbers = {(node, *key): 0 for node, keys in enumerate(states) for key in keys}
    numbers = {state: number for number, state in enumerate(numbers)}
    steps = [_Step(numbers[source], numbers[target], arc, items) for source, target, arc, items in pending]
    return steps, len(numbers)


def _split(text: str) -> list[str]:
    """Returns the words that whitespace has ended, and what is left: "the kit" gives ["the", "kit"]."""
    pieces = text.split()
    return pieces if text and not text[-1].isspace() else [*pieces, ""]
