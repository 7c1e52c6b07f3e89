"""Hotwords: names and terms that a search shall rather write than what sounds like them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.decoding.scorer import ScorerState
from asr.text import BOS_ID, EOS_ID, NUM_SPECIAL, UNKNOWN_ID, UNKNOWN_TEXT, WORD_START, Tokenizer
from asr.text.normalization import normalize_transcript
from asr.text.special import unspellable

_INSIDE, _BETWEEN = 0, 1  # states outside of any hotword: in the middle of a word, and where one may begin


class HotwordError(ValueError):
    """A hotword that the model cannot write."""


@dataclass(frozen=True)
class WordEdges:
    """Says where words begin and end in a tokenizer's pieces: " " parts words, "▁turn" begins one."""

    opens: Sequence[bool]  # the piece begins with a space
    closes: Sequence[bool]  # it ends with one
    says: Sequence[bool]  # it holds something else

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "WordEdges":
        special = ["" for _ in range(NUM_SPECIAL)]
        special[UNKNOWN_ID] = UNKNOWN_TEXT
        texts = [*special, *(piece.replace(WORD_START, " ") for piece in tokenizer.pieces[NUM_SPECIAL:])]
        return cls(
            opens=[text.startswith(" ") for text in texts],
            closes=[text.endswith(" ") for text in texts],
            says=[bool(text.strip()) for text in texts],
        )


class HotwordScorer:
    """Adds `boost` for each token of a hotword, and takes it back where the hotword is not said to its end (Scorer).

    A hotword counts as whole words only: "art" is none in "start" or "arts". The states are those of a trie of the
    hotwords' tokens; a mismatch leads to the longest other beginning that the last words still spell, as in Aho and
    Corasick 1975. So a hypothesis has in the end the boost of the hotwords it says, and of nothing else.
    """

    def __init__(self, hotwords: Sequence[str], tokenizer: Tokenizer, *, boost: float) -> None:
        """Raises HotwordError for one that the tokenizer cannot write."""
        check_hotwords(hotwords, tokenizer)
        self.vocabulary_size = tokenizer.vocabulary_size
        trie = _Trie(WordEdges.of(tokenizer))
        for hotword in hotwords:
            trie.add(hotword, tokenizer)
        rows = [trie.row(state) for state in range(trie.num_states)]
        self._targets = torch.stack([targets for targets, _ in rows])
        self._scores = boost * torch.stack([steps for _, steps in rows]).float()

    def start(self, num_rows: int, device: torch.device) -> ScorerState:
        self._targets, self._scores = self._targets.to(device), self._scores.to(device)
        return (torch.full((num_rows,), _BETWEEN, device=device),)

    def step(
        self, tokens: Int[Tensor, " row"], state: ScorerState
    ) -> tuple[Float[Tensor, "row vocabulary"], ScorerState]:
        after = self._targets[state[0], tokens]
        return self._scores[after], (after,)


def check_hotwords(hotwords: Sequence[str], tokenizer: Tokenizer) -> None:
    """Raise HotwordError for the first that is empty or that the tokenizer cannot write."""
    for hotword in hotwords:
        missing = "".join(sorted(set("".join(unspellable(set(hotword.split()), tokenizer).values()))))
        if hotword.split() and not missing:
            continue
        usual = normalize_transcript(hotword)
        could = bool(usual) and not unspellable(set(usual.split()), tokenizer)
        remedy = f"did you mean {usual!r}?" if could else "write it with those, or train on transcripts that have it"
        raise HotwordError(
            f"fusion.hotwords: {hotword!r}: "
            + (f"the model cannot write {missing!r}; " if missing else "no word in it; ")
            + f"expected words of the characters it was trained with: {remedy}"
        )


class _Trie:
    """The beginnings of all hotwords, as sequences of tokens; two states more are outside of them."""

    def __init__(self, edges: WordEdges) -> None:
        self._edges = edges
        self._paths: list[tuple[int, ...]] = [(), ()]  # of each state
        self._states: dict[tuple[int, ...], int] = {}
        self._following: dict[tuple[int, ...], set[int]] = {}  # the tokens that go on with a path
        self._ends: set[tuple[int, ...]] = set()
        self._closes = torch.tensor(edges.closes)
        self._ends_word = torch.tensor(edges.opens).index_fill(0, torch.tensor([EOS_ID]), True)

    @property
    def num_states(self) -> int:
        return len(self._paths)

    def add(self, hotword: str, tokenizer: Tokenizer) -> None:
        """Adds all ways to spell it."""
        spelled: list[tuple[int, ...]] = [()]
        for number, word in enumerate(hotword.split()):
            spellings = tokenizer.spellings(word, is_first=number == 0)
            spelled = [(*before, *spelling) for before in spelled for spelling in spellings]
        for path in spelled:
            for length in range(1, len(path) + 1):
                self._following.setdefault(path[: length - 1], set()).add(path[length - 1])
                if path[:length] not in self._states:
                    self._states[path[:length]] = len(self._paths)
                    self._paths.append(path[:length])
            self._ends.add(path)

    def row(self, state: int) -> tuple[Int[Tensor, " vocabulary"], Int[Tensor, " vocabulary"]]:
        """Returns where each token leads, and how many tokens of hotwords more it says, or fewer."""
        path = self._paths[state]
        lost = len(path) - torch.where(self._ends_word, self._kept(path, ends=True), self._kept(path, ends=False))
        targets, steps = torch.where(self._closes, _BETWEEN, _INSIDE), -lost
        targets[BOS_ID] = _BETWEEN
        # The last words may be the beginning of another hotword; the longest such comes last and so counts.
        for start in range(len(path), -1, -1):
            is_between = self._edges.closes[path[start - 1]] if start else state == _BETWEEN
            for token in self._following.get(path[start:], ()):
                rest = (*path[start:], token)
                if (path and not start) or is_between or self._edges.opens[rest[0]]:
                    targets[token] = self._states[rest]
                    steps[token] = len(rest) - (lost[token] if start else len(path))
        return targets, steps

    def _kept(self, path: tuple[int, ...], *, ends: bool) -> int:
        """Returns how many tokens of a path are a whole hotword, where it breaks off at a token that ends a word, or
        not.
        """
        for length in range(len(path), 0, -1):
            is_word = ends if length == len(path) else bool(self._ends_word[path[length]])
            if path[:length] in self._ends and is_word:
                return length
        return 0
