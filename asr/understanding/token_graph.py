"""A graph of words spelled in tokens, and laid out as the states that CTC passes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from asr.grammar.word_graph import Edge, Graph, build_graph
from asr.text import Tokenizer
from asr.text.special import unspellable

MAX_NAMED = 20


class SpellingError(ValueError):
    """Words that the tokenizer cannot spell."""


def spell(graph: Graph[str], tokenizer: Tokenizer, *, where: str = "grammar") -> Graph[int]:
    """The same sentences in tokens; words that begin alike share their first tokens, those that end alike their last.

    Raises SpellingError that names the words the tokenizer cannot spell, and `where` they come from.
    """
    if missing := unspellable(graph.symbols, tokenizer):
        named = ", ".join(f"'{word}' ({characters})" for word, characters in list(missing.items())[:MAX_NAMED])
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise SpellingError(
            f"{where}: {len(missing)} words that the model cannot spell: {named}{more}; expected words of the "
            f"characters (of phonemes, the sounds) it was trained with; respell them, or train on transcripts that "
            f"have these"
        )
    edges: list[list[Edge[int]]] = [[] for _ in graph.edges]
    for state, leaving in enumerate(graph.edges):
        for word, (target, weight) in leaving.items():
            for tokens in tokenizer.spellings(word, is_first=state == 0):
                _add_path(edges, tokens, source=state, target=target, weight=weight)
    spelled = build_graph(edges, graph.finals)
    return Graph(spelled.edges, spelled.finals, spelled.weight + graph.weight)


def _add_path(edges: list[list[Edge[int]]], tokens: list[int], *, source: int, target: int, weight: float) -> None:
    """Lead from a state to another by these tokens, through new states; the first one bears the weight."""
    for token in tokens[:-1]:
        edges.append([])
        edges[source].append((token, len(edges) - 1, weight))
        source, weight = len(edges) - 1, 0.0
    edges[source].append((tokens[-1], target, weight))


@dataclass(frozen=True)
class SpelledWord:
    """A word of a sentence of the graph, and where in the sentence's tokens it stands."""

    text: str
    start: int  # of its first token, a boundary before the word left out
    end: int  # after its last token


class WordReader:
    """Reads the words of a graph's sentences back from their tokens: the inverse of `spell`."""

    def __init__(self, graph: Graph[str], tokenizer: Tokenizer) -> None:
        self._graph, self._tokenizer = graph, tokenizer
        self._ways_of: dict[int, _Ways] = {}  # of each state that was ever met

    def read(self, tokens: Sequence[int]) -> list[SpelledWord]:
        """The words of the graph's heaviest sentence that these tokens spell.

        Tokens alone may not tell: phonemes of "four" are those of "for", and only one of them has its place in a graph.
        Raises SpellingError where no sentence of the graph is spelled so.
        """
        spelled, length = tuple(tokens), len(tokens)
        best: dict[tuple[int, int], tuple[float, list[SpelledWord]] | None] = {}

        def rest(state: int, place: int) -> tuple[float, list[SpelledWord]] | None:
            if place == length:
                return (self._graph.finals[state], []) if state in self._graph.finals else None
            if (state, place) not in best:
                found = None
                for written, num_plain, word, target, weight in self._ways(state).get(spelled[place], ()):
                    end = place + len(written)
                    if spelled[place:end] == written and (following := rest(target, end)):
                        total = weight + following[0]
                        if found is None or total > found[0]:
                            found = (total, [SpelledWord(word, end - num_plain, end), *following[1]])
                best[state, place] = found
            return best[state, place]

        sentence = rest(0, 0)
        if sentence is None:
            text = self._tokenizer.decode(spelled)
            raise SpellingError(f"grammar: no sentence is spelled {text!r}; expected one of its graph")
        return sentence[1]

    def read_beginning(self, tokens: Sequence[int]) -> tuple[tuple[str, ...], frozenset[int]]:
        """Returns the words that are whole in the beginning of a sentence, and the graph's states that they lead to.

        There are several states where words are spelled alike, and none where the tokens end inside a word. Raises
        SpellingError where no sentence of the graph begins so.
        """
        spelled, length = tuple(tokens), len(tokens)
        reached: dict[int, dict[int, tuple[float, tuple[str, ...]]]] = {0: {0: (0.0, ())}}
        inside: tuple[tuple[str, ...], frozenset[int]] | None = None
        for place in range(length):
            for state, (weight, words) in reached.get(place, {}).items():
                for written, _, word, target, step in self._ways(state).get(spelled[place], ()):
                    end, said = place + len(written), spelled[place : place + len(written)]
                    if said == written:
                        found = reached.setdefault(end, {})
                        if target not in found or weight + step > found[target][0]:
                            found[target] = (weight + step, (*words, word))
                    elif end > length and written[: length - place] == said:
                        is_boundary = not self._tokenizer.decode(said).strip()
                        inside = (words, frozenset([state]) if is_boundary else frozenset())
        if length in reached:
            _, words = max(reached[length].values())
            return words, frozenset(reached[length])
        if inside is None:
            text = self._tokenizer.decode(spelled)
            raise SpellingError(f"grammar: no sentence begins {text!r}; expected one of its graph to")
        return inside

    def _ways(self, state: int) -> _Ways:
        """The spellings of the words that leave a state, by their first token."""
        if state not in self._ways_of:
            ways: _Ways = {}
            for word, (target, weight) in self._graph.edges[state].items():
                alone = self._tokenizer.spellings(word, is_first=True)
                for written in self._tokenizer.spellings(word, is_first=state == 0):
                    # What the word has alone is what it has at its end; a piece may hold the boundary too.
                    ends = [len(plain) for plain in alone if written[-len(plain) :] == plain]
                    num_plain = max(ends, default=len(alone[0]))
                    ways.setdefault(written[0], []).append((tuple(written), num_plain, word, target, weight))
            self._ways_of[state] = ways
        return self._ways_of[state]


_Ways = dict[int, list[tuple[tuple[int, ...], int, str, int, float]]]  # tokens, those of the word alone, word, ...


@dataclass(frozen=True)
class TokenStates:
    """The states of CTC over a graph of tokens: state k means that token k was the last one said.

    Two edges with the same token to the same state of the graph are one state here. State 0 is the start, before any
    token. Each state is entered from `sources`, those of state k at offsets[k - 1]:offsets[k], with the weights beside.
    """

    tokens: Int[np.ndarray, " state"]  # token id of each; 0 of the start
    sources: Int[np.ndarray, " entry"]
    weights: Float32[np.ndarray, " entry"]
    offsets: Int[np.ndarray, " states"]  # one for each state: where the entries of the next one begin
    final_weights: Float32[np.ndarray, " state"]  # minus infinity where no sentence ends
    weight: float  # of the start

    @property
    def num_states(self) -> int:
        return len(self.tokens)

    def entries(self, state: int) -> slice:
        return slice(int(self.offsets[state - 1]), int(self.offsets[state]))


def token_states(graph: Graph[int]) -> TokenStates:
    """Lay out a graph of tokens; states that are entered from one other only come last."""
    entries: dict[tuple[int, int], list[tuple[int, float]]] = {}  # (token, target) to (source in the graph, weight)
    for source, leaving in enumerate(graph.edges):
        for token, (target, weight) in leaving.items():
            entries.setdefault((token, target), []).append((source, weight))
    into: dict[int, list[tuple[int, int]]] = {}
    for token, target in entries:
        into.setdefault(target, []).append((token, target))
    # From each state of the graph come those token states that enter it; from its first, the start.
    spread = {
        key: [(before, weight) for source, weight in found for before in (into.get(source) or [None])]
        for key, found in entries.items()
    }
    order = sorted(spread, key=lambda key: (-len(spread[key]), key[1], key[0]))
    numbers: dict[tuple[int, int] | None, int] = {None: 0, **{key: number for number, key in enumerate(order, 1)}}
    sources = [numbers[before] for key in order for before, _ in spread[key]]
    weights = [weight for key in order for _, weight in spread[key]]
    lengths = [len(spread[key]) for key in order]
    finals = [-np.inf, *(graph.finals.get(target, -np.inf) for _, target in order)]
    return TokenStates(
        tokens=np.array([0, *(token for token, _ in order)], dtype=np.int64),
        sources=np.array(sources, dtype=np.int64),
        weights=np.array(weights, dtype=np.float32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        final_weights=np.array(finals, dtype=np.float32),
        weight=graph.weight,
    )
