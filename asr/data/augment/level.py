"""Changes how loud an utterance is, what a recorder does when it is too loud, and the silence around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pad

from asr.data.augment.base import Probability, check_range, happens, integer, uniform
from asr.data.features import FeatureConfig
from asr.section import Section


class GainConfig(Section):
    """Makes the utterance louder or softer."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["gain"] = "gain"
    low_db: float = Field(-10.0, ge=-120, le=120, description="softest, decibels")
    high_db: float = Field(10.0, ge=-120, le=120, description="loudest, decibels")

    @model_validator(mode="after")
    def _check(self) -> GainConfig:
        check_range("db", self.low_db, self.high_db)
        return self

    def build(self, features: FeatureConfig) -> Gain:
        return Gain(self)


@dataclass(frozen=True)
class Gain:
    """Multiplies by a gain drawn evenly in decibels; it does not clip."""

    config: GainConfig

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        return samples * 10 ** (uniform(generator, self.config.low_db, self.config.high_db) / 20)


class ClippingConfig(Section):
    """Cuts off the peaks, as a recorder does that is set too loud."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["clipping"] = "clipping"
    low_level: float = Field(0.1, gt=0, le=1, description="most that is cut: what is left, as a share of the peak")
    high_level: float = Field(0.7, gt=0, le=1, description="least that is cut: what is left, as a share of the peak")
    probability: Probability = Field(0.1, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> ClippingConfig:
        check_range("level", self.low_level, self.high_level)
        return self

    def build(self, features: FeatureConfig) -> Clipping:
        return Clipping(self)


@dataclass(frozen=True)
class Clipping:
    """Cuts at a level drawn evenly, and leaves the rest as loud as it was."""

    config: ClippingConfig

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        level = float(samples.abs().max()) * uniform(generator, self.config.low_level, self.config.high_level)
        return samples.clamp(-level, level)


class SilenceConfig(Section):
    """Puts silence before and after the utterance; noise that comes later in the list fills it."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["silence"] = "silence"
    max_before_ms: float = Field(500.0, ge=0, le=60_000, description="longest before, milliseconds")
    max_after_ms: float = Field(500.0, ge=0, le=60_000, description="longest after, milliseconds")
    probability: Probability = Field(0.5, description="share of utterances changed")

    def build(self, features: FeatureConfig) -> Silence:
        return Silence(self, features.sample_rate)


@dataclass(frozen=True)
class Silence:
    """Adds zeros at both ends, each as many as drawn evenly up to its longest."""

    config: SilenceConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        longest = (self.config.max_before_ms, self.config.max_after_ms)
        before, after = (integer(generator, round(self.sample_rate * ms / 1000) + 1) for ms in longest)
        return pad(samples, (before, after))
