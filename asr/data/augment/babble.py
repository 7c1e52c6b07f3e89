"""Other people who talk at the same time, mixed from the utterances of manifests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from asr.audio.reading import read_stretch
from asr.data.augment.base import Probability, add_at_snr, check_range, happens, integer, uniform
from asr.data.augment.recorded import go_round
from asr.data.features import FeatureConfig
from asr.data.manifest import Manifest, ManifestError
from asr.section import Section

SHORTEST_READ = 0.1  # seconds; a stretch of less than one sample of the recording would be none
LEVELS_DB = 6.0  # from the loudest talker to the softest


class BabbleConfig(Section):
    """Adds people who talk at the same time, at a signal-to-noise ratio of their sum."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["babble"] = "babble"
    manifest: str | tuple[str, ...] = Field(
        description="JSON lines of the utterances that are mixed, or a list of such files; each utterance is as likely"
    )
    low_talkers: int = Field(3, ge=1, le=100, description="fewest who talk at the same time; 1: one other voice")
    high_talkers: int = Field(8, ge=1, le=100, description="most who talk at the same time")
    low_snr_db: float = Field(0.0, ge=-60, le=120, description="noisiest, decibels")
    high_snr_db: float = Field(20.0, ge=-60, le=120, description="cleanest, decibels")
    probability: Probability = Field(0.2, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> BabbleConfig:
        check_range("talkers", self.low_talkers, self.high_talkers)
        check_range("snr_db", self.low_snr_db, self.high_snr_db)
        if not self.manifest:
            raise ValueError("manifest: nothing; expected a manifest, or a list of one or more")
        return self

    def build(self, features: FeatureConfig) -> Babble:
        """Reads the manifests; raises ManifestError where one is not there or not as it should be."""
        paths = (self.manifest,) if isinstance(self.manifest, str) else self.manifest
        try:
            manifests = tuple(Manifest.read(path) for path in paths)
        except ManifestError as error:
            raise ManifestError(f"augment: babble: manifest: {error}") from error
        return Babble(self, manifests, features.sample_rate)


@dataclass(frozen=True)
class Babble:
    """Adds the sum of utterances drawn, each from a place drawn in it and going round, and about as loud as the others.

    An utterance shorter than the one that is changed comes again, one that is longer is read as far as it is needed.
    1.6 ms a second for each talker in Opus.
    """

    config: BabbleConfig
    manifests: tuple[Manifest, ...]
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        num_talkers = self.config.low_talkers + integer(
            generator, self.config.high_talkers - self.config.low_talkers + 1
        )
        noise = torch.zeros_like(samples)
        for _ in range(num_talkers):
            noise += self._talker(samples.shape[0], generator)
        return add_at_snr(samples, noise, uniform(generator, self.config.low_snr_db, self.config.high_snr_db))

    def _talker(self, num_samples: int, generator: torch.Generator) -> Float[Tensor, " {num_samples}"]:
        """One voice, of a level drawn; a silent recording stays silent."""
        ends = np.cumsum([len(manifest) for manifest in self.manifests])
        index = integer(generator, int(ends[-1]))
        number = int(np.searchsorted(ends, index, side="right"))
        utterance = self.manifests[number][index - int(ends[number])]  # from the end, as a manifest counts too
        stretch, needed = utterance.stretch, max(SHORTEST_READ, num_samples / self.sample_rate)
        if utterance.duration > needed:
            start = uniform(generator, 0.0, utterance.duration - needed)
            stretch = replace(stretch, offset=stretch.offset + start, duration=needed)
        voice = torch.from_numpy(read_stretch(stretch, sample_rate=self.sample_rate))
        voice = go_round(voice, integer(generator, voice.shape[0]), num_samples)
        level = 10 ** (-uniform(generator, 0.0, LEVELS_DB) / 20)
        return voice * (level / voice.square().mean().sqrt()) if voice.any() else voice
