"""A grammar's network with whole words on its arcs, from which the graph to search and the parser are made."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from asr.grammar.file import GrammarError
from asr.grammar.grammar import Arc, Grammar, Mark
from asr.grammar.prior import share_choices
from asr.grammar.word_graph import Edge, Graph, GraphError, build_graph
from asr.text.normalization import normalize_transcript

SKIP_WEIGHT = -1e-6  # of two ways to read a sentence, that which skips fewer words counts


@dataclass(frozen=True, slots=True)
class Step:
    """An arc whose words are whole: "light" + "s on" says nothing yet, then "lights"."""

    target: int
    words: tuple[str, ...]  # that are ended by this step
    mark: Mark | None
    weight: float  # natural logarithm


def unfold(grammar: Grammar) -> list[list[Step]]:
    """Returns the steps from each state, which is a node and the piece of a word before it; in the last, a sentence
    ends.
    """
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
    """Returns what whitespace has ended, and the piece after it: "the kit" is "the " and "kit"."""
    cut = len(text)
    while cut and not text[cut - 1].isspace():
        cut -= 1
    return text[:cut], text[cut:]


def one_word_steps(steps: list[list[Step]]) -> list[list[Step]]:
    """Returns the same network with states in between, so that each step ends one word at most; the last state is the
    end.
    """
    rows: list[list[Step]] = [[] for _ in steps]
    between: list[list[Step]] = []
    for state, leaving in enumerate(steps):
        for step in leaving:
            row, first, weight, mark = rows[state], step.words[:1], step.weight, step.mark
            for word in step.words[1:]:
                following: list[Step] = []
                between.append(following)
                row.append(Step(-len(between), first, mark, weight))
                row, first, weight, mark = following, (word,), 0.0, None
            row.append(Step(step.target, first, mark, weight))
    end, num_between = len(rows) - 1, len(between)
    # The states between come before the end: -1 is the first of them.
    places = {-number: end + number - 1 for number in range(1, num_between + 1)} | {end: end + num_between}
    ordered = [*rows[:-1], *between, rows[-1]]
    return [[replace(step, target=places.get(step.target, step.target)) for step in row] for row in ordered]


def with_skipped(steps: list[list[Step]], skip_words: tuple[tuple[str, ...], ...]) -> list[list[Step]]:
    """Returns the same network, each step of one word at most, in which one entry of `skip_words` may precede each
    word.

    One may end the sentence too. Each state that goes on with words gets a second one, reached by what is skipped,
    from which only the words lead on: state 2n is the old state n, 2n + 1 the one after what is skipped.
    """
    if not skip_words:
        return steps
    doubled: list[list[Step]] = []
    for state, leaving in enumerate(steps):
        row = [replace(step, target=2 * step.target) for step in leaving]
        is_end = state == len(steps) - 1
        skipped = [Step(2 * state + 1, words, None, SKIP_WEIGHT) for words in skip_words]
        with_words = [step for step in row if step.words]
        doubled.append(row + skipped if with_words or is_end else row)
        doubled.append(with_words)
    doubled[-2].append(Step(len(doubled) - 1, (), None, 0.0))
    return one_word_steps(doubled)


def word_steps(grammar: Grammar) -> list[list[Step]]:
    """Returns the grammar's network, each step of one word at most, with its skip words."""
    return with_skipped(one_word_steps(unfold(grammar)), grammar.skip_words)


def word_graph(grammar: Grammar, *, skipping: bool = True) -> Graph[str]:
    """Returns the grammar's sentences as words, with its skip words unless told otherwise.

    Sentences weigh what the file says, and what `prior` makes of their choices. GrammarError where that takes too much,
    which names the template that has most nodes.
    """
    if grammar.prior:
        grammar = replace(grammar, arcs=share_choices(grammar.arcs, scale=grammar.prior))
    steps = word_steps(grammar) if skipping else one_word_steps(unfold(grammar))
    edges: list[list[Edge[str]]] = [
        [(step.words[0] if step.words else None, step.target, step.weight) for step in leaving] for leaving in steps
    ]
    try:
        graph = build_graph(edges, {len(steps) - 1: 0.0})
    except GraphError as error:
        raise GrammarError(
            f"{_largest(grammar)}: a template that makes the search too large ({error}); expected fewer optional parts "
            f"and alternatives that begin alike"
        ) from error
    assert 0 not in graph.finals, "load_grammar refuses sentences without words"
    return graph


def _largest(grammar: Grammar) -> str:
    """Returns where the template with most nodes stands; each template's nodes follow its first."""
    firsts = [
        (arc.target, (arc.mark.name, arc.mark.number))
        for arcs in grammar.arcs
        for arc in arcs
        if arc.mark is not None and arc.mark.kind == "template"
    ]
    ordered = [*sorted(firsts), (len(grammar.arcs), ("", 0))]
    _, key = max((after - first, key) for (first, key), (after, _) in itertools.pairwise(ordered))
    return grammar.templates[key].place
