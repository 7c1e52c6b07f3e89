"""Recordings of noise added, and rooms put around the utterance by recordings of their impulse response."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from asr.audio.reading import AudioError, find_recordings, read_audio
from asr.data.augment.base import Probability, add_at_snr, as_loud, check_range, happens, integer, uniform
from asr.data.features import FeatureConfig
from asr.section import Section

# Recordings of noise kept in memory by one process, in samples (400 MB of floats); beyond it they are read each time.
MAX_CACHED_SAMPLES = 100_000_000


@dataclass(frozen=True)
class _Recordings:
    """A folder's recordings at one rate, listed when made and read when first drawn."""

    paths: tuple[Path, ...]
    sample_rate: int
    channel: int | Literal["mix"]
    _cache: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_folder(cls, kind: str, folder: str, sample_rate: int, *, channel: int | Literal["mix"]) -> _Recordings:
        try:
            paths = find_recordings(folder)
        except AudioError as error:
            raise AudioError(f"augment: {kind}: folder: {error}") from error
        if not paths:
            raise AudioError(f"augment: {kind}: folder: {folder}: no recordings in it; expected one or more")
        return cls(tuple(paths), sample_rate, channel)

    def draw(self, generator: torch.Generator) -> Float[Tensor, " sample"]:
        """The samples of one recording drawn; raises AudioError, naming the file, where it cannot be read."""
        index = integer(generator, len(self.paths))
        if index in self._cache:
            return self._cache[index]
        samples = torch.from_numpy(read_audio(self.paths[index], sample_rate=self.sample_rate, channel=self.channel))
        if sum(cached.shape[0] for cached in self._cache.values()) + samples.shape[0] <= MAX_CACHED_SAMPLES:
            self._cache[index] = samples
        return samples


class NoiseConfig(Section):
    """Adds a stretch of recorded noise at a signal-to-noise ratio."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["noise"] = "noise"
    folder: str = Field(description="folder of noise recordings; those in its folders count too")
    low_snr_db: float = Field(5.0, ge=-60, le=120, description="noisiest, decibels")
    high_snr_db: float = Field(20.0, ge=-60, le=120, description="cleanest, decibels")
    probability: Probability = Field(0.5, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> NoiseConfig:
        check_range("snr_db", self.low_snr_db, self.high_snr_db)
        return self

    def build(self, features: FeatureConfig) -> Noise:
        """Lists the folder; raises AudioError where it does not exist or holds no recordings."""
        return Noise(self, _Recordings.of_folder(self.kind, self.folder, features.sample_rate, channel="mix"))


@dataclass(frozen=True)
class Noise:
    """Adds noise from a place drawn in a recording drawn, going round to its beginning where it ends too soon.

    A stretch of digital silence leaves the utterance as it is.
    """

    config: NoiseConfig
    recordings: _Recordings

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        recording = self.recordings.draw(generator)
        noise = go_round(recording, integer(generator, recording.shape[0]), samples.shape[0])
        snr_db = uniform(generator, self.config.low_snr_db, self.config.high_snr_db)
        return add_at_snr(samples, noise, snr_db)


def go_round(recording: Float[Tensor, " sample"], start: int, num_samples: int) -> Float[Tensor, " stretch_sample"]:
    """`num_samples` samples from `start` on, round and round."""
    head = recording[start : start + num_samples]
    if head.shape[0] == num_samples:
        return head
    missing = num_samples - head.shape[0]
    return torch.cat([head, recording.repeat(-(-missing // recording.shape[0]))[:missing]])


class ReverbConfig(Section):
    """Puts the utterance into a room, by a recorded impulse response of it."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["reverb"] = "reverb"
    folder: str = Field(description="folder of impulse responses, of which the first channel is used")
    probability: Probability = Field(0.5, description="share of utterances changed")

    def build(self, features: FeatureConfig) -> Reverb:
        """Lists the folder; raises AudioError where it does not exist or holds no recordings."""
        return Reverb(self, _Recordings.of_folder(self.kind, self.folder, features.sample_rate, channel=0))


@dataclass(frozen=True)
class Reverb:
    """Convolves with an impulse response drawn; the words stay where they were, and as loud as they were.

    The response's peak, taken for the direct path, becomes its sample 0, so that speech keeps its place in time; what
    rings on past the utterance's end is cut; the result is scaled to the utterance's root mean square.
    """

    config: ReverbConfig
    recordings: _Recordings

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        from scipy.fft import irfft, next_fast_len, rfft  # 2 to 3 times faster than torch.fft

        response = self.recordings.draw(generator)
        direct = int(response.abs().argmax())
        size = next_fast_len(samples.shape[0] + response.shape[0] - 1, real=True)
        spectrum = rfft(samples.numpy(), size) * rfft(response.numpy(), size)  # type: ignore
        wet = torch.from_numpy(irfft(spectrum, size)[direct : direct + samples.shape[0]])
        return as_loud(wet, samples) if wet.square().mean() > 0 else samples
