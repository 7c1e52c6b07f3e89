"""Defines what every search asks: how likely each next token is after the tokens so far."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

ScorerState = tuple[Tensor, ...]
"""All that a scorer knows of the tokens so far, each part [row, ...]; a search picks rows by indexing every part."""


@runtime_checkable
class Scorer(Protocol):
    """A language model, hotwords, a bonus: scores that are added to a hypothesis as it grows.

    Rows are independent hypotheses; nothing is remembered between calls but the state that is passed.
    """

    vocabulary_size: int

    def start(self, num_rows: int, device: torch.device) -> ScorerState:
        """Returns the state before any token; the first `step` of a sentence is over BOS_ID."""
        ...

    def step(
        self, tokens: Int[Tensor, " row"], state: ScorerState
    ) -> tuple[Float[Tensor, "row vocabulary"], ScorerState]:
        """Take one more token of each row: scores (natural logarithms) of what may follow, and the new state.

        The score of EOS_ID is that of ending here.
        """
        ...
