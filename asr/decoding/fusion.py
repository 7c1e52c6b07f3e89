"""Adds a language model, bonuses and hotwords to the scores of a head (shallow fusion)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from asr.decoding.hotwords import HotwordScorer, WordEdges
from asr.decoding.scorer import Scorer, ScorerState
from asr.section import Section
from asr.text import EOS_ID, Tokenizer


class FusionConfig(Section):
    """Shallow fusion (Gulcehre et al. 2015, arXiv:1503.03535, section 4.1): a weighted sum of log-probabilities."""

    asks_for: ClassVar[Literal["tokens", "words"]] = "tokens"  # of what the language model is to be
    language_model: str | None = Field(None, description="run folder of a language model, or a file of n-grams")
    weight: float = Field(0.5, ge=0.0, description="of the language model's log-probabilities")
    token_bonus: float = Field(0.0, description="added for each token; a language model alone prefers few")
    word_bonus: float = Field(0.0, description="added for each word")
    hotwords: tuple[str, ...] = Field((), description="words and phrases to hear rather than others")
    hotword_boost: float = Field(1.0, ge=0.0, description="added for each token of a hotword")

    @model_validator(mode="after")
    def _hotwords_are_boosted(self) -> "FusionConfig":
        if self.hotwords and not self.hotword_boost:
            raise ValueError("hotword_boost: 0 with hotwords; expected more than 0, or no hotwords")
        return self

    def build(self, tokenizer: Tokenizer, language_model: Scorer | None = None) -> Scorer | None:
        """Returns everything as one scorer, or None; `language_model` is the loaded one. Raises HotwordError."""
        parts: list[tuple[Scorer, float]] = []
        if language_model is not None and self.weight:
            parts.append((language_model, self.weight))
        if self.token_bonus or self.word_bonus:
            parts.append((BonusScorer(tokenizer, token_bonus=self.token_bonus, word_bonus=self.word_bonus), 1.0))
        if self.hotwords:
            parts.append((HotwordScorer(self.hotwords, tokenizer, boost=self.hotword_boost), 1.0))
        return WeightedScorers(parts) if parts else None


class WeightedScorers:
    """The weighted sum of several scorers' scores (Scorer)."""

    def __init__(self, parts: Sequence[tuple[Scorer, float]]) -> None:
        self.vocabulary_size = parts[0][0].vocabulary_size
        self._scorers, self._weights = zip(*parts, strict=True)
        self._sizes = [len(scorer.start(0, torch.device("cpu"))) for scorer in self._scorers]

    def start(self, num_rows: int, device: torch.device) -> ScorerState:
        return tuple(part for scorer in self._scorers for part in scorer.start(num_rows, device))

    def step(
        self, tokens: Int[Tensor, " row"], state: ScorerState
    ) -> tuple[Float[Tensor, "row vocabulary"], ScorerState]:
        total, after, first = torch.zeros(1, device=tokens.device), [], 0
        for scorer, weight, size in zip(self._scorers, self._weights, self._sizes, strict=True):
            scores, new = scorer.step(tokens, state[first : first + size])
            total = total + weight * scores
            after += new
            first += size
        return total, tuple(after)


class BonusScorer:
    """A bonus for each token and for each word, where it begins; none for the end (Scorer)."""

    def __init__(self, tokenizer: Tokenizer, *, token_bonus: float, word_bonus: float) -> None:
        edges = WordEdges.of(tokenizer)
        self.vocabulary_size = tokenizer.vocabulary_size
        says, opens = torch.tensor(edges.says), torch.tensor(edges.opens)
        self._closes = torch.tensor(edges.closes)
        each = torch.full((self.vocabulary_size,), token_bonus)
        each[EOS_ID] = 0.0
        # Inside of a word, and where one may begin.
        self._scores = torch.stack((each + word_bonus * (says & opens), each + word_bonus * says))

    def start(self, num_rows: int, device: torch.device) -> ScorerState:
        self._closes, self._scores = self._closes.to(device), self._scores.to(device)
        return (torch.zeros(num_rows, dtype=torch.int64, device=device),)

    def step(
        self, tokens: Int[Tensor, " row"], state: ScorerState
    ) -> tuple[Float[Tensor, "row vocabulary"], ScorerState]:
        """The state is how many tokens there were, <bos> counted: a word may begin at the first, or after a space."""
        may_begin = (state[0] == 0) | self._closes[tokens]
        return self._scores[may_begin.long()], (state[0] + 1,)
