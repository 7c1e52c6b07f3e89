"""The best sentences of a grammar, exactly: token passing over the states that CTC has on a graph of tokens."""

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.grammar.word_graph import Graph
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, Tokenizer
from asr.understanding.token_graph import TokenStates, spell, token_states

NUM_NEAR = 4  # tokens before a change within which another one may depend on it

Scores = Float32[np.ndarray, "time vocabulary"]


class GrammarSearch:
    """Finds the sentence of a graph of words that the best path of a CTC head spells.

    Each token passes on its score once a frame (Young, Russell and Thornton 1989, Token passing), from every state to
    all that follow it; nothing is pruned. A hypothesis' score is the natural-log probability of its best path, plus
    the weight of its sentence in the graph. Each utterance is searched for itself.
    """

    def __init__(self, graph: Graph[str], tokenizer: Tokenizer, *, where: str = "grammar") -> None:
        """Raises SpellingError for words that the tokenizer cannot spell; no model is needed to change the grammar."""
        self.vocabulary_size = tokenizer.vocabulary_size
        self.states = token_states(spell(graph, tokenizer, where=where))
        self._network = _Network(self.states)

    @torch.inference_mode()
    def __call__(
        self, head: CTCHead, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        """The best sentence of each; no tokens and a score of minus infinity where no sentence fits the frames."""
        scores = head(encodings).cpu().numpy()
        found = [self.search(scores[row, :length], num_best=1) for row, length in enumerate(lengths.tolist())]
        return [best[0] if best else Hypothesis((), (), -np.inf) for best in found]

    def search(self, scores: Scores, *, num_best: int = 1) -> list[Hypothesis]:
        """The `num_best` best sentences of one utterance, best first; fewer where the graph has no more that fit.

        `scores` are the log-probabilities of a CTC head, one row for each encoding. Raises ValueError where they are
        not of the tokenizer that spelled the grammar.
        """
        if scores.shape[1] != self.vocabulary_size:
            raise ValueError(
                f"grammar: scores of {scores.shape[1]} tokens; expected {self.vocabulary_size}, as many as the "
                f"tokenizer has that spelled the grammar: give both of the same run"
            )
        history = self._network.pass_tokens(scores)
        best = self._network.trace(history, scores)
        if best is None:
            return []
        if num_best == 1:
            return [best]
        return [best, *_Runners(self._network, history, scores).best(num_best)[1:]]

    def search_beginning(self, scores: Scores) -> tuple[int, ...]:
        """The tokens of the best beginning of a sentence, whole or not: what was said so far."""
        history = self._network.pass_tokens(scores)
        state = int(np.maximum(history.token[-1], history.blank[-1]).argmax())
        says = bool(history.token[-1, state] > history.blank[-1, state])
        states, _ = self._network.follow(history, state, len(scores), says=says)
        return tuple(int(self.states.tokens[each]) for each in states)

    def search_kinds(
        self, scores: Scores, *, num_best: int, kind_of: Callable[[tuple[int, ...]], Hashable], max_sentences: int = 200
    ) -> list[tuple[Hypothesis, Hashable]]:
        """The `num_best` best sentences of different kinds, best first, each with its kind, such as a meaning.

        Each sentence is left at every one of its tokens for the best sentence that ends like it from there on; what
        comes next best is looked at next. A sentence of a known kind is left no further: else the many spellings of
        the best one (so many to the power of their number) would have to be passed before another kind is met. So the
        first is exact, and a later one may be missed only where two of its tokens, each for itself a spelling of a
        known kind and a change of kind, go together. The search ends after `max_sentences`.
        """
        history = self._network.pass_tokens(scores)
        best = self._network.trace(history, scores)
        if best is None:
            return []
        runners = _Runners(self._network, history, scores)
        return runners.best_kinds(num_best, kind_of, max_sentences=max_sentences)


def best_path(scores: Scores) -> Float32[np.ndarray, " time"]:
    """The score of the most likely label of each frame: what speech outside of any grammar would get, the filler."""
    return scores.max(axis=1, initial=-np.inf)


@dataclass(frozen=True)
class _History:
    """The score of every state after each number of frames: its token just said, or a blank after it."""

    token: Float32[np.ndarray, "times state"]
    blank: Float32[np.ndarray, "times state"]

    def either(self, state: int) -> Float32[np.ndarray, " times"]:
        return np.maximum(self.token[:, state], self.blank[:, state])


class _Network:
    """The arrays that one frame's step needs.

    A token can follow another of its kind only after a blank. So a state is entered either from `either` (the better
    of token and blank, at 0..n-1) or from `blank` (at n..2n-1) of the states before it.
    """

    def __init__(self, states: TokenStates) -> None:
        self.states = states
        num_states = states.num_states
        own = np.repeat(np.arange(1, num_states), np.diff(states.offsets))
        same = states.tokens[own] == states.tokens[states.sources]
        self.entries = states.sources + num_states * same
        lengths = np.diff(states.offsets)
        self._num_many = int((lengths > 1).sum())  # states with several entries come first
        self._first_single = int(states.offsets[self._num_many])
        self._many_offsets = states.offsets[: self._num_many]
        self._is_weighted = bool(states.weights.any())

    def pass_tokens(self, scores: Scores) -> _History:
        num_frames, num_states = len(scores), self.states.num_states
        history = np.full((num_frames + 1, 2, num_states), -np.inf, dtype=np.float32)
        history[0, 1, 0] = self.states.weight  # as if a blank had been before the first frame
        blanks = np.ascontiguousarray(scores[:, BLANK_ID])
        spoken = self.states.tokens[1:]
        passed = np.empty((2, num_states), dtype=np.float32)
        both, either, after_blank = passed.reshape(-1), passed[0], passed[1]
        gathered = np.empty(len(self.entries), dtype=np.float32)
        many, single = gathered[: self._first_single], gathered[self._first_single :]
        entered = np.empty(num_states - 1, dtype=np.float32)
        emitted = np.empty(num_states - 1, dtype=np.float32)
        for frame in range(num_frames):
            before, now = history[frame], history[frame + 1]
            np.maximum(before[0], before[1], out=either)
            after_blank[:] = before[1]
            np.take(both, self.entries, out=gathered, mode="clip")
            if self._is_weighted:
                gathered += self.states.weights
            if self._num_many:
                np.maximum.reduceat(many, self._many_offsets, out=entered[: self._num_many])
            entered[self._num_many :] = single
            np.maximum(entered, before[0, 1:], out=entered)
            np.take(scores[frame], spoken, out=emitted, mode="clip")
            np.add(entered, emitted, out=now[0, 1:])
            np.add(either, blanks[frame], out=now[1])
        return _History(history[:, 0], history[:, 1])

    def trace(self, history: _History, scores: Scores) -> Hypothesis | None:
        """The best path, followed backwards; None where none reaches an end."""
        ends = np.maximum(history.token[-1], history.blank[-1]) + self.states.final_weights
        state = int(ends.argmax())
        score = float(ends[state])
        if not np.isfinite(score):
            return None
        # Is the last frame a token or a blank?
        says = bool(history.token[-1, state] > history.blank[-1, state])
        states, frames = self.follow(history, state, len(scores), says=says)
        return Hypothesis(tuple(int(self.states.tokens[state]) for state in states), tuple(frames), score)

    def follow(self, history: _History, state: int, time: int, *, says: bool) -> tuple[list[int], list[int]]:
        """The states of the best path to a state after so many frames, and the frame where each begins, in order.

        `says`: whether the last of these frames is the state's token, in the place of a blank after it.
        """
        passed, frames = [], []
        for frame in range(time - 1, -1, -1):
            token, blank = history.token[frame], history.blank[frame]
            if not says:
                says = bool(token[state] > blank[state])
                continue
            where = self.states.entries(state)
            sources = self.states.sources[where]
            only_blank = self.entries[where] >= self.states.num_states
            entering = np.where(only_blank, blank[sources], np.maximum(token[sources], blank[sources]))
            entering = entering + self.states.weights[where]
            best = int(entering.argmax())
            if token[state] >= entering[best]:
                continue
            passed.append(state)
            frames.append(frame)
            state = int(sources[best])
            says = bool(not only_blank[best] and token[state] > blank[state])
        return passed[::-1], frames[::-1]


class _Runners:
    """The best sentences one after another, by a search from the end that knows the exact best beginning of each end.

    A partial sentence is its last tokens and, for each frame, the best score of saying them from there on; with the
    history, which has the best score up to there, its best completion is known exactly. So the first that comes out
    complete is the best, then the second: A* (Soong and Huang 1991, A tree-trellis based fast search).
    """

    def __init__(self, network: _Network, history: _History, scores: Scores) -> None:
        self._network, self._history, self._scores = network, history, scores
        self._sums_of: dict[int, Float64[np.ndarray, " times"]] = {}
        self._blanks = self._sums(BLANK_ID)
        self._ways: dict[int, Float32[np.ndarray, " times"]] = {}

    def best(self, number: int) -> list[Hypothesis]:
        self._start()
        found: list[Hypothesis] = []
        while self._queue and len(found) < number:
            score, _, partial = heapq.heappop(self._queue)
            if partial.state == 0:
                found.append(self._hypothesis(partial, -score))
                continue
            for before in self._entering(partial):
                self._push(before)
        return found

    def best_kinds(
        self, number: int, kind_of: Callable[[tuple[int, ...]], Hashable], *, max_sentences: int
    ) -> list[tuple[Hypothesis, Hashable]]:
        """The best sentences of different kinds; see `GrammarSearch.search_kinds`."""
        self._start()
        found: dict[Hashable, Hypothesis] = {}
        for _ in range(max_sentences):
            if not self._queue or len(found) == number:
                break
            score, _, partial = heapq.heappop(self._queue)
            beginning, frames = self._beginning(partial)
            tokens = tuple(int(self._network.states.tokens[state]) for state in (*beginning, *partial.later_states))
            beginning = [0, *beginning[:-1]] if beginning else []  # where each of its states is entered from
            kind = kind_of(tokens)
            if kind not in found:
                rest = self._hypothesis(partial, -score)
                found[kind] = replace(rest, tokens=tokens, frames=(*frames, *rest.frames))
                self._leave(partial, beginning, is_known=False)
            elif not partial.is_known:
                self._leave(partial, beginning[-NUM_NEAR:], is_known=True)
        return [(hypothesis, kind) for kind, hypothesis in found.items()]

    def _start(self) -> None:
        """Queue the ends of all sentences."""
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Any]] = []
        final_weights = self._network.states.final_weights
        for state in np.flatnonzero(np.isfinite(final_weights)).tolist():
            rest = np.full(len(self._scores) + 1, -np.inf)
            rest[-1] = final_weights[state]
            self._push(_Partial(state, False, rest, None))

    def _entering(self, partial: "_Partial") -> Iterator["_Partial"]:
        """The partial with one token more before it, in every way."""
        rest, states = self._before(partial), self._network.states
        where = states.entries(partial.state)
        for place in range(where.start, where.stop):
            source, weight = int(states.sources[place]), float(states.weights[place])
            needs_blank = bool(self._network.entries[place] >= states.num_states)
            yield _Partial(source, needs_blank, rest + weight, partial)

    def _push(self, partial: "_Partial") -> None:
        score = float((self._way(partial) + partial.rest).max())
        if np.isfinite(score):
            heapq.heappush(self._queue, (-score, next(self._order), partial))

    def _beginning(self, partial: "_Partial") -> tuple[list[int], list[int]]:
        """The states of the best way to the partial, its own the last, and the frames where they begin."""
        time = int((self._way(partial) + partial.rest).argmax())
        token, blank = (part[time, partial.state] for part in (self._history.token, self._history.blank))
        return self._network.follow(
            self._history, partial.state, time, says=bool(not partial.needs_blank and token > blank)
        )

    def _leave(self, partial: "_Partial", beginning: list[int], *, is_known: bool) -> None:
        """Queue the best sentences that leave this one before its partial: one for each token and way to leave it.

        `is_known`: whether a sentence of the same kind was left before.
        """
        for source in reversed(beginning):
            stays = None
            for before in self._entering(partial):
                if before.state == source:
                    stays = before
                else:
                    self._push(replace(before, is_known=is_known))
            assert stays is not None, "the best way enters each of its states from the one before"
            partial = stays

    def _way(self, partial: "_Partial") -> Float32[np.ndarray, " times"]:
        """The best score up to each frame of having just said the partial's state."""
        if partial.needs_blank or partial.state == 0:
            return self._history.blank[:, partial.state]
        if partial.state not in self._ways:
            self._ways[partial.state] = self._history.either(partial.state)
        return self._ways[partial.state]

    def _sums(self, token: int) -> Float64[np.ndarray, " times"]:
        """sums[b] - sums[a] is the score of this label on all frames from a to before b."""
        if token not in self._sums_of:
            self._sums_of[token] = np.concatenate(([0.0], np.cumsum(self._scores[:, token], dtype=np.float64)))
        return self._sums_of[token]

    def _before(self, partial: "_Partial") -> Float64[np.ndarray, " times"]:
        """Returns for each frame the best score of saying the partial's first token from there, and then all
        after it.
        """
        return _best_later(self._sums(int(self._network.states.tokens[partial.state])), self._blanks_before(partial))

    def _blanks_before(self, partial: "_Partial") -> Float64[np.ndarray, " times"]:
        """`rest`, with any number of blanks before it; with one at least where the same token follows."""
        blanks = _best_later(self._blanks, partial.rest)
        return blanks if partial.needs_blank else np.maximum(partial.rest, blanks)

    def _hypothesis(self, partial: "_Partial", score: float) -> Hypothesis:
        """The tokens and, followed from the front, the frames where they start."""
        time = int((self._way(partial) + partial.rest).argmax())
        tokens, frames = [], []
        following = partial.following
        while following is not None:
            token = int(self._network.states.tokens[following.state])
            tokens.append(token)
            frames.append(time)
            end = time + 1 + int((self._sums(token) + self._blanks_before(following))[time + 1 :].argmax())
            first = end + following.needs_blank
            time = first + int((self._blanks + following.rest)[first:].argmax())
            following = following.following
        return Hypothesis(tuple(tokens), tuple(frames), score)


@dataclass(frozen=True)
class _Partial:
    """The end of a sentence: its tokens are those of the states from here to the last."""

    state: int
    needs_blank: bool  # between this state's token and the next, as they are the same
    rest: Float64[np.ndarray, " times"]  # the best score of all after this state's token and blanks, from each frame on
    following: "_Partial | None"
    is_known: bool = False  # it leaves a sentence that was itself a spelling of a known kind

    @property
    def later_states(self) -> Iterator[int]:
        """Yields the states after this one, in order."""
        partial = self.following
        while partial is not None:
            yield partial.state
            partial = partial.following


def _best_later(
    sums: Float64[np.ndarray, " times"], rest: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """max over b > a of sums[b] - sums[a] + rest[b], for each a: one label on frames a to b, at least one."""
    later = np.maximum.accumulate((sums + rest)[::-1])[::-1]
    best = np.empty_like(later)  # np.append takes half of the time of all this
    best[-1] = -np.inf
    np.subtract(later[1:], sums[:-1], out=best[:-1])
    return best
