"""Defines augmentations, which draw from a generator that is passed, never from a global one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

Probability = Annotated[float, Field(ge=0, le=1)]


class SampleAugmentation(Protocol):
    """Changes the waveform of one utterance."""

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]: ...


class FeatureAugmentation(Protocol):
    """Changes the normalised features of one utterance; never how many frames there are."""

    def __call__(
        self, features: Float[Tensor, "frame mel"], generator: torch.Generator
    ) -> Float[Tensor, "frame mel"]: ...


@dataclass(frozen=True)
class Draws:
    """Holds what the augmentations of one view of an utterance draw from."""

    moving: torch.Generator  # for those that move words in time: of equal draws in all views
    others: torch.Generator


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw evenly from `low` to `high`."""
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def happens(generator: torch.Generator, probability: float) -> bool:
    """Draw whether something of that probability is so."""
    return uniform(generator, 0.0, 1.0) < probability


def integer(generator: torch.Generator, end: int) -> int:
    """Draw one of 0 ... end - 1."""
    return int(torch.randint(end, (), generator=generator).item())


def check_range(name: str, low: float, high: float) -> None:
    """Raise ValueError where the config's low_<name> is above its high_<name>."""
    if low > high:
        raise ValueError(f"low_{name}: {low:g}; expected at most high_{name}, {high:g}")


def as_loud(changed: Float[Tensor, " sample"], samples: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
    """Scaled to the same root mean square."""
    level, changed_level = samples.square().mean(), changed.square().mean()
    return changed * (level / changed_level).sqrt() if changed_level > 0 else changed


def add_at_snr(
    samples: Float[Tensor, " sample"], noise: Float[Tensor, " sample"], snr_db: float
) -> Float[Tensor, " sample"]:
    """Adds noise at a ratio of the energies of the whole utterance and of the whole noise, in decibels.

    Digital silence, of the noise or of the utterance, has no ratio: the utterance stays as it is.
    """
    if not noise.any():
        return samples
    from torchaudio.functional import add_noise  # only who augments waits for it

    return add_noise(samples, noise, torch.tensor(snr_db, dtype=samples.dtype))
