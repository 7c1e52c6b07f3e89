"""Noises of a household made up on the spot, for those whose recorded noises are few, and beside those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from asr.data.augment.base import Probability, add_at_snr, check_range, happens, integer, uniform
from asr.data.augment.sounds import SOUNDS
from asr.data.features import FeatureConfig
from asr.section import Section

SOFTEST_DB = -12.0  # of a second or third noise, beside the first


class HouseholdNoiseConfig(Section):
    """Adds one or more noises made up on the spot, at a signal-to-noise ratio of their sum."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["household_noise"] = "household_noise"
    sounds: tuple[Literal["clatter", "water", "hum", "fan", "music", "barks", "beeps"], ...] = Field(
        ("clatter", "water", "hum", "fan", "music", "barks", "beeps"),
        min_length=1,
        description="one is drawn for each noise; one that stands here twice is twice as likely",
    )
    most_at_once: int = Field(3, ge=1, le=16, description="noises that are heard together, at most")
    low_snr_db: float = Field(-10.0, ge=-60, le=120, description="noisiest, decibels")
    high_snr_db: float = Field(20.0, ge=-60, le=120, description="cleanest, decibels")
    probability: Probability = Field(0.3, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> HouseholdNoiseConfig:
        check_range("snr_db", self.low_snr_db, self.high_snr_db)
        return self

    def build(self, features: FeatureConfig) -> HouseholdNoise:
        return HouseholdNoise(self, features.sample_rate)


@dataclass(frozen=True)
class HouseholdNoise:
    """Draws how many noises there are, each one's kind and level, and their ratio; 1.1 ms a second, on average.

    The ratio is of whole energies, so what strikes seldom strikes hard.
    """

    config: HouseholdNoiseConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        rng = np.random.default_rng(integer(generator, 1 << 62))  # its draws of many numbers are the faster ones
        noise = np.zeros(samples.shape[0], np.float32)
        for number in range(1 + integer(generator, self.config.most_at_once)):
            make = SOUNDS[self.config.sounds[integer(generator, len(self.config.sounds))]]
            sound = make(samples.shape[0], self.sample_rate, rng)
            level_db = uniform(generator, SOFTEST_DB, 0.0) if number else 0.0
            noise += sound * (10 ** (level_db / 20) / np.sqrt(max(1e-12, np.mean(sound * sound))))
        snr_db = uniform(generator, self.config.low_snr_db, self.config.high_snr_db)
        return add_at_snr(samples, torch.from_numpy(noise), snr_db)
