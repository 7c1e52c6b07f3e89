"""An n-gram model over the tokens of a tokenizer, as a network of contexts: a batch of rows a step, in tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.language_models.table import END_SYMBOL, START_SYMBOL, UNKNOWN_SYMBOL, NGramTable
from asr.text import BOS_ID, EOS_ID, NUM_SPECIAL, UNKNOWN_ID, WORD_START, Tokenizer

NEVER = -1000.0  # log-probability of what a model never predicts; finite, so that no weight makes it a NaN


class NGramError(ValueError):
    """An n-gram model that does not fit the tokenizer, or holds together badly."""


def token_symbols(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns how tokens are written in a table, with their ids; a space, which ARPA cannot hold, as "▁"."""
    pieces = tokenizer.pieces[NUM_SPECIAL:]
    symbols = {piece.replace(" ", WORD_START): place for place, piece in enumerate(pieces, NUM_SPECIAL)}
    if len(symbols) < len(pieces):
        raise NGramError(f"tokenizer: both ' ' and '{WORD_START}' are tokens; an n-gram model writes them alike")
    return {UNKNOWN_SYMBOL: UNKNOWN_ID, START_SYMBOL: BOS_ID, END_SYMBOL: EOS_ID, **symbols}


class NGramScorer:
    """The log-probability of every next token, for many contexts at once (Scorer).

    A state is a context: the longest end of what was said that is an n-gram of the model. From state `h` an arc leads
    for each n-gram `h v` to the state of the longest end of `h v`; what has no arc is looked up in the state of `h`
    without its first token, at the price of the backoff weight (Katz 1987).
    """

    def __init__(self, table: NGramTable, tokenizer: Tokenizer) -> None:
        """Raises NGramError for a table over other symbols, or that lacks an n-gram's context."""
        ids = token_symbols(tokenizer)
        others, missing = sorted(set(table.symbols) - ids.keys()), sorted(ids.keys() - set(table.symbols))
        if others or missing:
            raise NGramError(
                f"n-gram model: it is not over the tokens of this tokenizer: {_some('it has', others)}"
                f"{_some('it lacks', missing)}; train one with tokenizer: {{kind: run, run: RUN}}"
            )
        self.vocabulary_size = tokenizer.vocabulary_size
        self._network = NGramNetwork.of(
            table, np.array([ids[symbol] for symbol in table.symbols]), self.vocabulary_size
        )

    def start(self, num_rows: int, device: torch.device) -> tuple[Tensor, ...]:
        """Returns the state before a sentence: the empty context."""
        self._network = self._network.to(device)
        return (torch.zeros(num_rows, dtype=torch.int64, device=device),)

    def step(
        self, tokens: Int[Tensor, " row"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "row vocabulary"], tuple[Tensor, ...]]:
        """Returns the log-probabilities of what follows after one more token, and the new state."""
        _, context = self._network.follow(state[0], tokens)
        return self._network.rows(context), (context,)


@dataclass(frozen=True)
class NGramNetwork:
    """The contexts of a table as states, for tokens of any numbering."""

    keys: Int[Tensor, " arc"]  # source state * vocabulary size + token, rising
    log_probs: Float[Tensor, " arc"]
    targets: Int[Tensor, " arc"]  # states
    offsets: Int[Tensor, " states"]  # one for each state and one more: where its arcs begin
    backoff_states: Int[Tensor, " state"]  # of state 0, which has no tokens, itself
    backoff_weights: Float[Tensor, " state"]
    root: Float[Tensor, " vocabulary"]  # log-probabilities in state 0
    order: int

    @classmethod
    def of(cls, table: NGramTable, ids: np.ndarray, vocabulary_size: int) -> "NGramNetwork":
        """`ids` are the tokens of the table's symbols. Raises NGramError where an n-gram's context is missing."""
        return cls(**_build_network(table, ids, vocabulary_size), order=len(table.orders))

    def to(self, device: torch.device) -> "NGramNetwork":
        if self.keys.device == device:
            return self
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return NGramNetwork(**moved, order=self.order)

    def follow(self, states: Int[Tensor, " row"], tokens: Int[Tensor, " row"]) -> tuple[Tensor, Tensor]:
        """Returns the log-probability of a token in each state, and where it leads."""
        scores, targets = torch.zeros_like(self.root[tokens]), torch.zeros_like(states)
        open_rows = torch.ones_like(states, dtype=torch.bool)
        for _ in range(self.order):
            wanted = states * len(self.root) + tokens
            place = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
            found = open_rows & (self.keys[place] == wanted)
            scores = torch.where(found, scores + self.log_probs[place], scores)
            targets = torch.where(found, self.targets[place], targets)
            open_rows = open_rows & ~found
            scores = torch.where(open_rows, scores + self.backoff_weights[states], scores)
            states = self.backoff_states[states]
        return torch.where(open_rows, NEVER, scores), targets

    def score_sentences(self, sentences: Sequence[Sequence[int]], *, start: int) -> list[Float[Tensor, " token"]]:
        """Returns the log-probability of each token of each sentence after those before it, the first after `start`."""
        lengths = torch.tensor([len(sentence) for sentence in sentences])
        padded = torch.full((len(sentences), int(lengths.max())), start)
        for row, sentence in enumerate(sentences):
            padded[row, : len(sentence)] = torch.tensor(sentence)
        states, scores = torch.zeros(len(sentences), dtype=torch.int64), []
        _, states = self.follow(states, torch.full_like(states, start))
        for tokens in padded.unbind(1):
            score, states = self.follow(states, tokens)
            scores.append(score)
        return [row[:length] for row, length in zip(torch.stack(scores, dim=1), lengths.tolist(), strict=True)]

    def rows(self, states: Int[Tensor, " row"]) -> Float[Tensor, "row vocabulary"]:
        """Returns the log-probabilities of all tokens: those of the shortest context, overwritten by ever
        longer ones.
        """
        chain = [states]
        while len(chain) < self.order:
            chain.append(self.backoff_states[chain[-1]])
        rows = self.root.repeat(len(states), 1)
        for context in reversed(chain):
            rows += self.backoff_weights[context][:, None]
            starts = self.offsets[context]
            counts = torch.where(context == 0, 0, self.offsets[context + 1] - starts)
            row = torch.repeat_interleave(counts)
            arcs = torch.arange(len(row), device=row.device) + (starts - counts.cumsum(0) + counts)[row]
            rows[row, self.keys[arcs] - context[row] * len(self.root)] = self.log_probs[arcs]
        return rows


def _build_network(table: NGramTable, ids: np.ndarray, vocabulary_size: int) -> dict[str, Tensor]:
    grams = [ids[order.grams] for order in table.orders]
    sizes = [1, *(len(order.grams) for order in table.orders[:-1])]
    first = np.cumsum(sizes)  # the state of the first n-gram of each length; state 0 is the empty context
    index = _Index(grams, vocabulary_size, first)
    sources = [index.states(gram[:, :-1]) for gram in grams]
    if any((source < 0).any() for source in sources):
        n = next(n for n, source in enumerate(sources, 1) if (source < 0).any())
        raise NGramError(
            f"n-gram model: a {n}-gram whose first {n - 1} symbols are no {n - 1}-gram; its file is damaged"
        )
    targets = [index.longest_end(gram if n < len(grams) else gram[:, 1:]) for n, gram in enumerate(grams, 1)]
    keys = np.concatenate([source * vocabulary_size + gram[:, -1] for source, gram in zip(sources, grams)])
    log_probs = np.concatenate([order.log_probs for order in table.orders])
    by_key = np.argsort(keys, kind="stable")
    offsets = np.searchsorted(keys[by_key], np.arange(first[-1] + 1) * vocabulary_size)
    backoffs = [order.backoffs for order in table.orders[:-1]]
    root = np.full(vocabulary_size, NEVER)
    root[ids] = np.maximum(table.orders[0].log_probs, NEVER)
    arrays = {
        "keys": keys[by_key],
        "log_probs": np.maximum(log_probs[by_key], NEVER).astype(np.float32),
        "targets": np.concatenate(targets)[by_key],
        "offsets": offsets,
        "backoff_states": np.concatenate([[0], *(index.longest_end(gram[:, 1:]) for gram in grams[:-1])]),
        "backoff_weights": np.concatenate([[0.0], *backoffs]).astype(np.float32),
        "root": root.astype(np.float32),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Index:
    """The states of contexts, many at a time; of n-grams as arrays of token ids."""

    def __init__(self, grams: list[np.ndarray], vocabulary_size: int, first: np.ndarray) -> None:
        self._size, self._first = vocabulary_size, first
        self._keys: list[np.ndarray] = []  # of each length but the longest, sorted: state of all but the last, last
        self._places: list[np.ndarray] = []  # and of which n-gram
        for gram in grams[:-1]:
            keys = self.states(gram[:, :-1]) * vocabulary_size + gram[:, -1]
            self._places.append(np.argsort(keys, kind="stable"))
            self._keys.append(keys[self._places[-1]])

    def states(self, contexts: np.ndarray) -> np.ndarray:
        """Returns the state of each context [context, symbol], -1 where it is no n-gram of the model."""
        found = np.zeros(len(contexts), np.int64)
        for n in range(contexts.shape[1]):
            wanted = np.where(found < 0, -1, found * self._size + contexts[:, n])
            place = np.searchsorted(self._keys[n], wanted)
            place = np.minimum(place, len(self._keys[n]) - 1)
            found = np.where(self._keys[n][place] == wanted, self._first[n] + self._places[n][place], -1)
        return found

    def longest_end(self, contexts: np.ndarray) -> np.ndarray:
        """Returns the state of the longest end of each context that is one; of the empty one where none is."""
        found = self.states(contexts)
        for shorter in range(1, contexts.shape[1] + 1):
            found = np.where(found < 0, self.states(contexts[:, shorter:]), found)
        return found


def _some(verb: str, symbols: list[str]) -> str:
    return f"{verb} {', '.join(map(repr, symbols[:5]))}{' ...' if len(symbols) > 5 else ''}; " if symbols else ""
