"""Graphs of words: the sentences that were put in, in as few states as there can be."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.grammar.file import GrammarError
from asr.grammar.network import word_graph
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.grammar.word_graph import Graph, build_graph
from asr.text import CharTokenizerConfig
from asr.understanding.token_graph import spell, token_states
from tests.grammar.test_templates import SMALL, write_grammar

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"

NETWORKS = st.integers(2, 7).flatmap(
    lambda size: st.lists(
        st.tuples(
            st.integers(0, size - 2),
            st.integers(1, size - 1),
            st.sampled_from(["a", "b", None]),
            st.sampled_from([0.0, 0.5, -1.25]),
        ).filter(lambda edge: edge[0] < edge[1]),
        min_size=1,
        max_size=14,
    ).map(lambda edges: (size, edges))
)


def paths(size: int, edges: list, finals: dict[int, float]) -> dict[tuple[str, ...], float]:
    """Every sentence of a network with its best weight, by walking all ways."""
    found: dict[tuple[str, ...], float] = {}
    stack: list[tuple[int, tuple[str, ...], float]] = [(0, (), 0.0)]
    while stack:
        state, said, weight = stack.pop()
        if state in finals:
            found[said] = max(weight + finals[state], found.get(said, -math.inf))
        stack += [
            (target, (*said, symbol) if symbol else said, weight + step)
            for source, target, symbol, step in edges
            if source == state
        ]
    return found


def distinct_endings(sentences: dict[tuple[str, ...], float]) -> int:
    """States of the smallest graph, by definition: beginnings differ where what can follow does (Myhill-Nerode)."""
    beginnings = {said[:cut] for said in sentences for cut in range(len(said) + 1)}
    endings = set()
    for beginning in beginnings:
        rest = {said[len(beginning) :]: w for said, w in sentences.items() if said[: len(beginning)] == beginning}
        best = max(rest.values())
        endings.add(frozenset((ending, round(weight - best, 6)) for ending, weight in rest.items()))
    return len(endings)


@settings(max_examples=40, deadline=None)
@given(NETWORKS, st.booleans())
def test_the_same_sentences_in_the_fewest_states(network: tuple[int, list], weighted: bool) -> None:
    size, edges = network
    edges = [(source, target, symbol, weight * weighted) for source, target, symbol, weight in edges]
    finals = {size - 1: 0.0, size // 2: -0.5 * weighted}
    expected = paths(size, edges, finals)
    rows: list[list] = [[] for _ in range(size)]
    for source, target, symbol, weight in edges:
        rows[source].append((symbol, target, weight))
    graph = build_graph(rows, finals)
    assert dict(graph.sentences()) == pytest.approx(expected)
    assert (graph.num_sentences, graph.num_states) == (len(expected), max(1, distinct_endings(expected)))
    assert all(graph.weigh(said) == pytest.approx(weight) for said, weight in expected.items())
    assert graph.weigh(["c"]) == -math.inf
    assert all(target > state for state, row in enumerate(graph.edges) for target, _ in row.values())


def test_equal_languages_are_equal_graphs() -> None:
    one = build_graph([[("a", 1, 0.0), ("b", 1, 0.0)], [("c", 2, 0.0)], []], {2: 0.0})
    other = build_graph([[("b", 1, 0.0), ("a", 2, 0.0)], [("c", 3, 0.0)], [("c", 4, 0.0)], [], []], {3: 0.0, 4: 0.0})
    assert one == other
    assert one.num_states == 3


def test_millions_of_sentences_stay_small() -> None:
    """Ten choices of four ways, each written out anew as templates do."""
    values = [f"{first} {second}" for first in ("red", "green") for second in ("lamp", "light")]
    edges: list[list] = [[]]
    ends = [0]
    for _ in range(10):
        edges.append([])
        joint = len(edges) - 1
        for value in values:
            edges.append([])
            begin = len(edges) - 1
            first, second = value.split()
            edges[begin] += [(first, len(edges), 0.0)]
            edges.append([(second, joint, 0.0)])
            for end in ends:
                edges[end].append((None, begin, 0.0))
        ends = [joint]
    graph = build_graph(edges, {ends[0]: 0.0})
    assert graph.num_sentences == 4**10
    assert (graph.num_states, graph.num_edges) == (21, 40)
    # "red " and "green " differ; " lamp" and " light" share their first letters
    assert spell(graph, CharTokenizerConfig().train(["red green lamp light"])).num_states < 21 * 8


@pytest.mark.parametrize("text", [SMALL, (COMMANDS / "demo.yaml").read_text()], ids=["small", "demo"])
def test_the_words_are_those_of_the_templates(tmp_path: Path, text: str) -> None:
    grammar = load_grammar(write_grammar(tmp_path, text))
    graph = word_graph(grammar)
    assert {" ".join(words) for words, _ in graph.sentences()} == {
        each.text for each in Sampler(grammar).all_commands()
    }


def test_weights_of_blocks_and_values_reach_the_sentences(tmp_path: Path) -> None:
    text = """
language: en
intents:
  A: {data: [{sentences: ["go {x}"], metadata: {weight: 3}}, {sentences: ["go up [again]", "(go|run) up"]}]}
lists:
  x: {values: [up, {in: "(down|under)", metadata: {weight: 0.5}}]}
"""
    weights = dict(word_graph(load_grammar(write_grammar(tmp_path, text))).sentences())
    assert {" ".join(words): round(math.exp(weight), 6) for words, weight in weights.items()} == {
        "go up": 3.0,
        "go down": 1.5,
        "go under": 1.5,
        "go up again": 1.0,
        "run up": 1.0,
    }


@pytest.mark.parametrize("weight", ["0", "-1", "true", "much", ".inf"])
def test_weights_that_are_none_are_refused(tmp_path: Path, weight: str) -> None:
    text = f"language: en\nintents: {{A: {{data: [{{sentences: [go], metadata: {{weight: {weight}}}}}]}}}}"
    with pytest.raises(GrammarError, match=r"yaml:2: .*weight.*; expected a (number above 0|finite number)"):
        load_grammar(write_grammar(tmp_path, text))


def test_states_know_all_ways_into_them() -> None:
    """Against the graph itself: each token may follow exactly what the edges say."""
    characters = CharTokenizerConfig().train(["abn o"])
    texts = ["an", "on", "noo", "no on", "bab"]
    rows: list[list] = [[]]
    for text in texts:
        state = 0
        for word in text.split():
            rows.append([])
            rows[state].append((word, len(rows) - 1, 0.0))
            state = len(rows) - 1
        rows[state].append((None, 1_000, 0.0))
    rows = [[(symbol, min(target, len(rows)), weight) for symbol, target, weight in row] for row in rows] + [[]]
    states = token_states(spell(build_graph(rows, {len(rows) - 1: 0.0}), characters))
    spelled: set[str] = set()
    stack = [(state, "") for state in np.flatnonzero(np.isfinite(states.final_weights))]
    while stack:
        state, text = stack.pop()
        if state == 0:
            spelled.add(text)
            continue
        text = characters.decode([int(states.tokens[state])]) + text
        stack += [(int(source), text) for source in states.sources[states.entries(int(state))]]
    assert spelled == set(texts)
    lengths = np.diff(states.offsets)
    assert list(lengths) == sorted(lengths, reverse=True)


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_grammars_stay_small(path: Path) -> None:
    assert word_graph(load_grammar(path)).num_states < 1000


def test_graphs_say_how_large_they_are() -> None:
    graph: Graph[str] = build_graph([[("a", 1, 0.0), ("b", 1, 0.0)], []], {1: 0.0})
    assert (graph.num_states, graph.num_edges, graph.symbols) == (2, 2, {"a", "b"})
