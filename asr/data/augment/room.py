"""Rooms made up on the spot, for those who have no recorded impulse responses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from asr.data.augment.base import Probability, as_loud, check_range, happens, uniform
from asr.data.features import FeatureConfig
from asr.section import Section

DECAY_60_DB = 3 * math.log(10)  # an amplitude that falls as exp(-DECAY_60_DB * time / T) has lost 60 dB at time T
LOWEST_GAP_MS, HIGHEST_GAP_MS = 1.0, 10.0  # from the direct sound to what the walls throw back


class RoomConfig(Section):
    """Puts the utterance into a room that is drawn: how long it rings, and how near the speaker is."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["room"] = "room"
    low_decay_ms: float = Field(150.0, gt=0, le=10_000, description="driest: time in which sound falls by 60 dB")
    high_decay_ms: float = Field(700.0, gt=0, le=10_000, description="most ringing")
    low_direct_db: float = Field(-3.0, ge=-60, le=60, description="farthest: direct sound beside that of the walls")
    high_direct_db: float = Field(15.0, ge=-60, le=60, description="nearest")
    probability: Probability = Field(0.3, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> RoomConfig:
        check_range("decay_ms", self.low_decay_ms, self.high_decay_ms)
        check_range("direct_db", self.low_direct_db, self.high_direct_db)
        return self

    def build(self, features: FeatureConfig) -> Room:
        return Room(self, features.sample_rate)


@dataclass(frozen=True)
class Room:
    """Convolves with the direct sound and, after a gap, Gaussian noise that dies away; as loud as before.

    Source: Polack 1988, "La transmission de l'énergie sonore dans les salles": late reverberation is such noise. The
    words stay where they were; what rings on past the utterance's end is cut.
    """

    config: RoomConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        from scipy.fft import irfft, next_fast_len, rfft  # only who augments waits for it

        response = self.response(generator)
        size = next_fast_len(samples.shape[0] + response.shape[0] - 1, real=True)
        spectrum = rfft(samples.numpy(), size) * rfft(response.numpy(), size)  # type: ignore
        return as_loud(torch.from_numpy(irfft(spectrum, size)[: samples.shape[0]]), samples)

    def response(self, generator: torch.Generator) -> Float[Tensor, " response_sample"]:
        """An impulse response drawn; the direct sound is its first sample, 1."""
        decay = uniform(generator, self.config.low_decay_ms, self.config.high_decay_ms) / 1000
        direct_db = uniform(generator, self.config.low_direct_db, self.config.high_direct_db)
        gap = max(1, round(self.sample_rate * uniform(generator, LOWEST_GAP_MS, HIGHEST_GAP_MS) / 1000))
        time = torch.arange(max(1, round(self.sample_rate * decay))) / self.sample_rate
        walls = torch.randn(time.shape[0], generator=generator) * torch.exp(-DECAY_60_DB / decay * time)
        walls *= 10 ** (-direct_db / 20) / walls.square().sum().sqrt().clamp(min=1e-9)
        return torch.cat([torch.ones(1), torch.zeros(gap - 1), walls])
