"""Augmentations of training utterances: speed, gain, noise, reverberation, and masks over the features.

Each is a config that builds a callable. Those of the domain "samples" change a waveform, those of "features" change
normalised log-mels; both draw everything from the generator they are given, so the same generator state gives the
same result. None clips: samples are floats and may leave [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import add_noise, fftconvolve

from asr.audio import AudioError, find_recordings, read_audio, resample
from asr.section import Section

# Recordings of noise kept in memory by one process, in samples (400 MB of floats); beyond it they are read each time.
MAX_CACHED_SAMPLES = 100_000_000

FAST_TRANSFORM = 4096  # samples; Fourier transforms of its multiples are fast

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


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def _happens(generator: torch.Generator, probability: float) -> bool:
    return _uniform(generator, 0.0, 1.0) < probability


def _integer(generator: torch.Generator, end: int) -> int:
    """Draw one of 0 ... end - 1."""
    return int(torch.randint(end, (), generator=generator).item())


def _check_range(name: str, low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low_{name}: {low:g}; expected at most high_{name}, {high:g}")


class SpeedConfig(Section):
    """Plays the utterance faster or slower, pitch and all (Ko et al. 2015, "Audio augmentation for ASR", section 2)."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["speed"] = "speed"
    factors: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = Field(
        (0.9, 1.0, 1.1), min_length=1, description="one is drawn; 1.1 is ten per cent faster and that much shorter"
    )
    probability: Probability = Field(1.0, description="share of utterances changed")

    def build(self, sample_rate: int) -> Speed:
        return Speed(self, sample_rate)


@dataclass(frozen=True)
class Speed:
    """Resamples by a factor drawn from the config's."""

    config: SpeedConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not _happens(generator, self.config.probability):
            return samples
        played_rate = round(self.sample_rate * self.config.factors[_integer(generator, len(self.config.factors))])
        if played_rate == self.sample_rate:
            return samples
        return torch.from_numpy(resample(samples.numpy(), from_rate=played_rate, to_rate=self.sample_rate))


class GainConfig(Section):
    """Makes the utterance louder or softer."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["gain"] = "gain"
    low_db: float = Field(-10.0, ge=-120, le=120, description="softest, decibels")
    high_db: float = Field(10.0, ge=-120, le=120, description="loudest, decibels")

    @model_validator(mode="after")
    def _check(self) -> GainConfig:
        _check_range("db", self.low_db, self.high_db)
        return self

    def build(self, sample_rate: int) -> Gain:
        return Gain(self)


@dataclass(frozen=True)
class Gain:
    """Multiplies by a gain drawn evenly in decibels."""

    config: GainConfig

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        return samples * 10 ** (_uniform(generator, self.config.low_db, self.config.high_db) / 20)


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
        index = _integer(generator, len(self.paths))
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
        _check_range("snr_db", self.low_snr_db, self.high_snr_db)
        return self

    def build(self, sample_rate: int) -> Noise:
        """Lists the folder; raises AudioError where it does not exist or holds no recordings."""
        return Noise(self, _Recordings.of_folder(self.kind, self.folder, sample_rate, channel="mix"))


@dataclass(frozen=True)
class Noise:
    """Adds noise from a place drawn in a recording drawn, going round to its beginning where it ends too soon.

    The ratio is that of the energies of the whole utterance and of the whole stretch. A stretch of digital silence
    has no ratio: the utterance stays as it is.
    """

    config: NoiseConfig
    recordings: _Recordings

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not _happens(generator, self.config.probability):
            return samples
        recording = self.recordings.draw(generator)
        noise = _stretch(recording, _integer(generator, recording.shape[0]), samples.shape[0])
        snr_db = _uniform(generator, self.config.low_snr_db, self.config.high_snr_db)
        if not noise.any():
            return samples
        return add_noise(samples, noise, torch.tensor(snr_db, dtype=samples.dtype))


def _stretch(recording: Float[Tensor, " sample"], start: int, num_samples: int) -> Float[Tensor, " stretch_sample"]:
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

    def build(self, sample_rate: int) -> Reverb:
        """Lists the folder; raises AudioError where it does not exist or holds no recordings."""
        return Reverb(self, _Recordings.of_folder(self.kind, self.folder, sample_rate, channel=0))


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
        if not _happens(generator, self.config.probability):
            return samples
        response = self.recordings.draw(generator)
        direct = int(response.abs().argmax())
        # Zeros bring the transform, as long as both together, to a length without large prime factors (6 times faster).
        response = pad(response, (0, -(samples.shape[0] + response.shape[0] - 1) % FAST_TRANSFORM))
        wet = fftconvolve(samples, response)[direct : direct + samples.shape[0]]
        level, wet_level = samples.square().mean(), wet.square().mean()
        return wet * (level / wet_level).sqrt() if wet_level > 0 else samples


class SpecAugmentConfig(Section):
    """Masks stretches of frames and bands of mels (Park et al. 2019, "SpecAugment", section 2, without warping)."""

    domain: ClassVar[Literal["features"]] = "features"
    kind: Literal["spec_augment"] = "spec_augment"
    num_time_masks: int = Field(2, ge=0, description="stretches of frames")
    max_time_frames: int = Field(40, ge=0, description="longest stretch, frames")
    max_time_fraction: float = Field(0.15, ge=0, le=1, description="longest stretch, as a share of the utterance")
    num_frequency_masks: int = Field(2, ge=0, description="bands of mels")
    max_frequency_bins: int = Field(20, ge=0, description="widest band, mels")

    def build(self, sample_rate: int) -> SpecAugment:
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
    width = _integer(generator, max_width + 1)
    return _integer(generator, size - width + 1), width


AugmentationConfig = Annotated[
    SpeedConfig | GainConfig | NoiseConfig | ReverbConfig | SpecAugmentConfig, Field(discriminator="kind")
]
