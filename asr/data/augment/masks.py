"""Masks over stretches of time and bands of frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from asr.data.augment.base import integer
from asr.data.features import FeatureConfig
from asr.section import Section


class SpecAugmentConfig(Section):
    """Masks stretches of frames and bands of mels (Park et al. 2019, "SpecAugment", section 2, without warping)."""

    domain: ClassVar[Literal["features"]] = "features"
    kind: Literal["spec_augment"] = "spec_augment"
    num_time_masks: int = Field(2, ge=0, description="stretches of frames")
    max_time_frames: int = Field(40, ge=0, description="longest stretch, frames")
    max_time_fraction: float = Field(0.15, ge=0, le=1, description="longest stretch, as a share of the utterance")
    num_frequency_masks: int = Field(2, ge=0, description="bands of mels")
    max_frequency_bins: int = Field(20, ge=0, description="widest band, mels")

    def build(self, features: FeatureConfig) -> SpecAugment:
        return SpecAugment(self)


@dataclass(frozen=True)
class SpecAugment:
    """Sets masks to 0, the mean after normalisation; widths and places are drawn evenly, and masks may overlap."""

    config: SpecAugmentConfig

    def __call__(self, features: Float[Tensor, "frame mel"], generator: torch.Generator) -> Float[Tensor, "frame mel"]:
        features = features.clone()
        num_frames, num_mels = features.shape
        max_frames = min(self.config.max_time_frames, int(self.config.max_time_fraction * num_frames))
        for _ in range(self.config.num_time_masks):
            start, width = _mask(generator, num_frames, max_frames)
            features[start : start + width] = 0
        for _ in range(self.config.num_frequency_masks):
            start, width = _mask(generator, num_mels, min(self.config.max_frequency_bins, num_mels))
            features[:, start : start + width] = 0
        return features


def _mask(generator: torch.Generator, size: int, max_width: int) -> tuple[int, int]:
    """Start and width of a mask within `size`."""
    width = integer(generator, max_width + 1)
    return integer(generator, size - width + 1), width
