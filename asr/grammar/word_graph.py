"""Sentences as a graph: one state for all beginnings that can go on alike, however many sentences there are.

A graph has no circle and is deterministic: from a state, a symbol leads to one state only. It is the smallest that
accepts its sentences, so two graphs of the same sentences (and weights) are equal.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

Symbol = TypeVar("Symbol", bound=Hashable)
Edge = tuple[Symbol | None, int, float]  # symbol (None: nothing is said), target, weight

DECIMALS = 9  # weights that differ by less are the same
MAX_STEPS = 3_000_000  # that the subset construction may take: some seconds


class GraphError(ValueError):
    """Sentences of which no graph can be made in time."""


@dataclass
class _Budget:
    """Steps that are left of MAX_STEPS."""

    left: int = MAX_STEPS

    def take(self, number: int) -> None:
        self.left -= number
        if self.left < 0:
            raise GraphError(
                f"not done after {MAX_STEPS:,} steps; expected fewer sentences that begin alike and go on differently"
            )


@dataclass(frozen=True)
class Graph(Generic[Symbol]):
    """The smallest deterministic graph of some sentences; it starts in state 0, and edges lead to higher states.

    Weights are natural logarithms, added along a sentence; the best continuation from any state weighs 0.
    """

    edges: tuple[dict[Symbol, tuple[int, float]], ...]  # of each state: symbol to target and weight, sorted by symbol
    finals: dict[int, float]  # where a sentence can end, and what ending there weighs
    weight: float  # of the best sentence

    @property
    def num_states(self) -> int:
        return len(self.edges)

    @property
    def num_edges(self) -> int:
        return sum(map(len, self.edges))

    @cached_property
    def num_sentences(self) -> int:
        """Returns how many different sentences there are, exactly."""
        counts = [0] * self.num_states
        for state in range(self.num_states - 1, -1, -1):
            following = sum(counts[target] for target, _ in self.edges[state].values())
            counts[state] = following + (state in self.finals)
        return counts[0]

    @property
    def symbols(self) -> set[Symbol]:
        return {symbol for edges in self.edges for symbol in edges}

    def sentences(self) -> Iterator[tuple[tuple[Symbol, ...], float]]:
        """Yields every sentence with its weight; only for graphs of few."""
        stack: list[tuple[int, tuple[Symbol, ...], float]] = [(0, (), self.weight)]
        while stack:
            state, said, weight = stack.pop()
            if state in self.finals:
                yield said, weight + self.finals[state]
            for symbol, (target, step) in reversed(self.edges[state].items()):
                stack.append((target, (*said, symbol), weight + step))

    def weigh(self, sentence: Iterable[Symbol]) -> float:
        """Returns the weight of a sentence; minus infinity where it is not one of the graph's."""
        state, weight = 0, self.weight
        for symbol in sentence:
            if symbol not in self.edges[state]:
                return -math.inf
            state, step = self.edges[state][symbol]
            weight += step
        return weight + self.finals.get(state, -math.inf)


def build_graph(edges: Sequence[Iterable[Edge[Symbol]]], finals: Mapping[int, float]) -> Graph[Symbol]:
    """Returns the smallest deterministic graph of a network that starts in state 0 and has no circle.

    Of several ways to the same sentence the heaviest counts. The subset construction with what is left of each weight
    (Mohri 1997, Finite-state transducers in language and speech processing, section 3.3), weights moved forward to
    where they are first known (section 3.7), equal states merged from the end (Revuz 1992, Minimisation of acyclic
    deterministic automata in linear time).
    """
    merged, ends = _merge_equal(edges, finals)
    rows, ends = _determinize(merged, ends)
    rows, ends, weight = _push(rows, ends)
    smallest, ends = _merge_equal([[(symbol, *step) for symbol, step in row.items()] for row in rows], ends)
    return _number(smallest, ends, weight)


def _order(edges: Sequence[Iterable[Edge[Symbol]]]) -> list[int]:
    """Returns the states that can be reached, each after all that it leads to."""
    done: list[int] = []
    seen = {0}
    stack = [(0, iter([target for _, target, _ in edges[0]]))]
    while stack:
        state, targets = stack[-1]
        target = next(targets, None)
        if target is None:
            done.append(state)
            stack.pop()
        elif target not in seen:
            seen.add(target)
            stack.append((target, iter([further for _, further, _ in edges[target]])))
    return done


def _merge_equal(
    edges: Sequence[Iterable[Edge[Symbol]]], finals: Mapping[int, float]
) -> tuple[list[list[Edge[Symbol]]], dict[int, float]]:
    """Returns one state for all that go on alike, state 0 the first; what leads to no end is left out."""
    known: dict[Hashable, int] = {}
    stands_for: dict[int, int | None] = {}
    rows: list[list[Edge[Symbol]]] = []
    ends: dict[int, float] = {}
    for state in _order(edges):
        steps: dict[tuple[Symbol | None, int], float] = {}
        for symbol, target, weight in edges[state]:
            number = stands_for[target]
            if number is not None:
                steps[symbol, number] = max(round(weight, DECIMALS), steps.get((symbol, number), -math.inf))
        end = round(finals[state], DECIMALS) if state in finals else None
        if not steps and end is None and state != 0:
            stands_for[state] = None
            continue
        signature = (end, frozenset(steps.items()))
        if signature not in known:
            known[signature] = len(rows)
            rows.append([(symbol, target, weight) for (symbol, target), weight in steps.items()])
            if end is not None:
                ends[len(rows) - 1] = end
        stands_for[state] = known[signature]
    first = stands_for[0]
    assert first is not None
    places = {number: len(rows) - 1 - number for number in range(len(rows))}
    assert places[first] == 0, "state 0 is the last in the order, and equal to no other: a graph has no circle"
    turned = [[(symbol, places[target], weight) for symbol, target, weight in row] for row in reversed(rows)]
    return turned, {places[number]: weight for number, weight in ends.items()}


def _determinize(
    edges: Sequence[Sequence[Edge[Symbol]]], finals: Mapping[int, float]
) -> tuple[list[dict[Symbol, tuple[int, float]]], dict[int, float]]:
    """States become sets of states, each with the weight still owed to the sentences that pass it."""
    budget = _Budget()
    first = _closure({0: 0.0}, edges, finals, budget)
    subsets = {_key(first): 0}
    rows: list[dict[Symbol, tuple[int, float]]] = []
    ends: dict[int, float] = {}
    pending = [first]
    for subset in pending:  # grows while it is read
        reached: dict[Symbol, dict[int, float]] = {}
        for state, owed in subset.items():
            budget.take(1 + len(edges[state]))
            for symbol, target, weight in edges[state]:
                if symbol is not None:
                    targets = reached.setdefault(symbol, {})
                    targets[target] = max(owed + weight, targets.get(target, -math.inf))
        row: dict[Symbol, tuple[int, float]] = {}
        for symbol, targets in reached.items():
            best = max(targets.values())
            following = _closure({target: owed - best for target, owed in targets.items()}, edges, finals, budget)
            number = subsets.setdefault(_key(following), len(subsets))
            if number == len(pending):
                pending.append(following)
            row[symbol] = (number, best)
        owed_at_end = [owed + finals[state] for state, owed in subset.items() if state in finals]
        if owed_at_end:
            ends[len(rows)] = max(owed_at_end)
        rows.append(row)
    return rows, ends


def _closure(
    subset: dict[int, float],
    edges: Sequence[Sequence[Edge[Symbol]]],
    finals: Mapping[int, float],
    budget: _Budget,
) -> dict[int, float]:
    """Adds all states that are reached without a symbol, and leaves out those that only pass on."""
    found = dict(subset)
    stack = list(subset)
    while stack:
        state = stack.pop()
        budget.take(1 + len(edges[state]))
        for symbol, target, weight in edges[state]:
            owed = found[state] + weight
            if symbol is None and owed > found.get(target, -math.inf):
                found[target] = owed
                stack.append(target)
    return {
        state: owed
        for state, owed in found.items()
        if state in finals or any(symbol is not None for symbol, _, _ in edges[state])
    }


def _key(subset: dict[int, float]) -> frozenset[tuple[int, float]]:
    return frozenset((state, round(owed, DECIMALS)) for state, owed in subset.items())


def _push(
    rows: list[dict[Symbol, tuple[int, float]]], finals: dict[int, float]
) -> tuple[list[dict[Symbol, tuple[int, float]]], dict[int, float], float]:
    """Weights as early as possible: the best way on from each state then weighs 0."""
    best = [0.0] * len(rows)
    edges = [[(symbol, *step) for symbol, step in row.items()] for row in rows]
    for state in _order(edges):
        ways = [weight + best[target] for target, weight in rows[state].values()]
        if state in finals:
            ways.append(finals[state])
        best[state] = max(ways, default=0.0)
    pushed = [
        {symbol: (target, weight + best[target] - best[state]) for symbol, (target, weight) in row.items()}
        for state, row in enumerate(rows)
    ]
    return pushed, {state: weight - best[state] for state, weight in finals.items()}, best[0]


def _number(rows: list[list[Edge[Symbol]]], finals: dict[int, float], weight: float) -> Graph[Symbol]:
    """Numbers that follow from the sentences alone."""
    ordered = [sorted(row, key=lambda edge: edge[0]) for row in rows]  # type: ignore[arg-type,return-value]
    backwards = _order([row[::-1] for row in ordered])
    numbers = {state: number for number, state in enumerate(reversed(backwards))}
    edges = tuple(
        {symbol: (numbers[target], step) for symbol, target, step in ordered[state] if symbol is not None}
        for state in reversed(backwards)
    )
    return Graph(edges, {numbers[state]: end for state, end in sorted(finals.items())}, round(weight, DECIMALS))
