"""Examples are what batches are made of, whether they are utterances of a corpus or sentences of a text."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Example:
    """One utterance, ready to be put into a batch."""

    id: str
    index: int
    features: Float[Tensor, "time mel"]
    tokens: list[int]
    audio_seconds: float


@runtime_checkable
class Examples(Protocol):
    """Gives what batches are made of: the utterances of a corpus, or the sentences of a text."""

    @property
    def sizes(self) -> np.ndarray:
        """Returns what sorts and cuts them into batches, of each: seconds of a recording, or tokens of a sentence."""
        ...

    def __len__(self) -> int: ...

    def tokens(self, index: int) -> list[int]: ...

    def example(self, index: int, epoch: int | None = None) -> Example:
        """One of them; with an epoch, as that epoch of a training has it."""
        ...

    def views(self, index: int, epoch: int) -> list[Example]:
        """The same as often as the model is to see it in a step, each time augmented otherwise."""
        ...
