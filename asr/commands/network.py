"""A grammar's network with whole words on its arcs, from which the graph to search and the parser are made."""

from __future__ import annotations

from dataclasses import dataclass

from asr.commands.grammar_file import GrammarError
from asr.commands.templates import Arc, Grammar, Mark
from asr.decoding.word_graph import Edge, Graph, build_graph
from asr.text import normalize_transcript


@dataclass(frozen=True, slots=True)
class Step:
    """An arc whose words are whole: "light" + "s on" says nothing yet, then "lights"."""

    target: int
    words: tuple[str, ...]  # that are ended by this step
    mark: Mark | None
    weight: float  # natural logarithm


def unfold(grammar: Grammar) -> list[list[Step]]:
    """The steps from each state, which is a node and the piece of a word before it; in the last, a sentence ends."""
    end = len(grammar.arcs)
    arcs = [*grammar.arcs[:-1], (Arc(end, " "),)]  # the space ends the last word
    pieces: list[dict[str, list[tuple[Arc, tuple[str, ...], str]]]] = [{} for _ in range(end + 1)]
    pieces[0][""] = []
    for node, node_arcs in enumerate(arcs):
        for piece, found in pieces[node].items():
            for arc in node_arcs:
                whole, rest = _split(piece + arc.text)
                words = tuple(normalize_transcript(whole).split())
                found.append((arc, words, rest))
                pieces[arc.target].setdefault(rest, [])
    states = [(node, piece) for node, known in enumerate(pieces) for piece in known]
    numbers = {state: number for number, state in enumerate(states)}
    return [
        [Step(numbers[arc.target, rest], words, arc.mark, arc.weight) for arc, words, rest in pieces[node][piece]]
        for node, piece in states
    ]


def _split(text: str) -> tuple[str, str]:
    """What whitespace has ended, and the piece after it: "the  kit" is "the  " and "kit"."""
    cut = len(text)
    while cut and not text[cut - 1].isspace():
        cut -= 1
    return text[:cut], text[cut:]


def word_graph(grammar: Grammar) -> Graph[str]:
    """The grammar's sentences as words; GrammarError where one of them has none."""
    steps = unfold(grammar)
    edges: list[list[Edge[str]]] = [[] for _ in steps]
    for state, leaving in enumerate(steps):
        for step in leaving:
            source, *between = step.words or (None,)
            start = state
            for word, following in zip((source, *between), (*between, None)):
                target = step.target
                if following is not None:
                    edges.append([])
                    target = len(edges) - 1
                edges[start].append((word, target, step.weight if start == state else 0.0))
                start = target
    graph = build_graph(edges, {len(steps) - 1: 0.0})
    if 0 in graph.finals:
        raise GrammarError(
            f"{grammar.path}: it has a sentence without words; expected one word at least; a template cannot be "
            f"optional as a whole"
        )
    return graph
