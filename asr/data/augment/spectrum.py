"""Changes of the spectrum: other microphones, narrow bands, and noise made up on the spot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import interpolate

from asr.data.augment.base import Probability, add_at_snr, as_loud, check_range, happens, uniform
from asr.data.features import FeatureConfig
from asr.section import Section

RINGING = 1024  # samples of zeros after the utterance, into which filters ring before they come round to its start
LOWEST_HZ = 20.0  # below it noise does not grow
CURVE_POINTS = 257  # frequencies at which an equaliser's curve is made, from 0 to half the rate

Gains = Callable[[Float[Tensor, " bin"]], Float[Tensor, " bin"]]


def filtered(samples: Float[Tensor, " sample"], sample_rate: int, gains: Gains) -> Float[Tensor, " sample"]:
    """Filter without moving anything in time, by a gain for each frequency in hertz."""
    from scipy.fft import irfft, next_fast_len, rfft  # only who augments waits for it

    size = next_fast_len(samples.shape[0] + RINGING, real=True)
    spectrum = rfft(samples.numpy(), size) * gains(_frequencies(size, sample_rate)).numpy()  # type: ignore
    return torch.from_numpy(irfft(spectrum, size)[: samples.shape[0]])


def _frequencies(size: int, sample_rate: int) -> Float[Tensor, " bin"]:
    """Returns the frequencies in hertz of a transform of `size` samples."""
    return torch.arange(size // 2 + 1) * (sample_rate / size)


class EqualizerConfig(Section):
    """Another microphone, or another place of it: a smooth random curve of gains over frequency, and a tilt."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["equalizer"] = "equalizer"
    max_db: float = Field(6.0, ge=0, le=40, description="most that the gain of a point differs from the tilt, decibels")
    max_tilt_db: float = Field(10.0, ge=0, le=80, description="steepest: lowest to highest frequency, decibels")
    num_points: int = Field(8, ge=2, le=64, description="of the curve, evenly in octaves from 60 Hz to half the rate")
    probability: Probability = Field(0.5, description="share of utterances changed")

    def build(self, features: FeatureConfig) -> Equalizer:
        return Equalizer(self, features.sample_rate)


@dataclass(frozen=True)
class Equalizer:
    """Multiplies the spectrum by the curve, straight in decibels between its points, as loud in all as before.

    0.5 ms a second of what is changed.
    """

    config: EqualizerConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        tilt_db = uniform(generator, -self.config.max_tilt_db, self.config.max_tilt_db)
        points_db = (2 * torch.rand(self.config.num_points, generator=generator) - 1) * self.config.max_db
        points_db += torch.linspace(-tilt_db / 2, tilt_db / 2, self.config.num_points)
        curve = 10 ** (_curve_db(points_db, self.sample_rate) / 20)
        return as_loud(filtered(samples, self.sample_rate, lambda bins: _spread(curve, bins.shape[0])), samples)


def _curve_db(points_db: Float[Tensor, " point"], sample_rate: int) -> Float[Tensor, " frequency"]:
    """The points, which are even in octaves, at frequencies that are even in hertz."""
    low_hz, nyquist = min(60.0, sample_rate / 4), sample_rate / 2
    hertz = torch.linspace(0, nyquist, CURVE_POINTS).clamp(min=low_hz)
    places = torch.log(hertz / low_hz) / math.log(nyquist / low_hz) * (points_db.shape[0] - 1)
    lower = places.long().clamp(0, points_db.shape[0] - 2)
    return torch.lerp(points_db[lower], points_db[lower + 1], places - lower)


def _spread(curve: Float[Tensor, " frequency"], num_bins: int) -> Float[Tensor, " bin"]:
    return interpolate(curve[None, None], size=num_bins, mode="linear", align_corners=True)[0, 0]


class TiltConfig(Section):
    """A dull or a shrill recording: what is above a frequency drawn falls or rises by so much an octave."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["tilt"] = "tilt"
    low_db: float = Field(-9.0, ge=-40, le=40, description="dullest: change an octave, decibels")
    high_db: float = Field(3.0, ge=-40, le=40, description="most shrill: change an octave, decibels")
    low_hz: float = Field(250.0, gt=0, description="lowest frequency from which it tilts, hertz")
    high_hz: float = Field(2000.0, gt=0, description="highest frequency from which it tilts, hertz")
    probability: Probability = Field(0.3, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> TiltConfig:
        check_range("db", self.low_db, self.high_db)
        check_range("hz", self.low_hz, self.high_hz)
        return self

    def build(self, features: FeatureConfig) -> Tilt:
        return Tilt(self, features.sample_rate)


@dataclass(frozen=True)
class Tilt:
    """Draws the slope evenly and its start evenly in octaves; as loud in all as before. 0.3 ms a second."""

    config: TiltConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        slope_db = uniform(generator, self.config.low_db, self.config.high_db)
        start = math.exp(uniform(generator, math.log(self.config.low_hz), math.log(self.config.high_hz)))
        # 10 ** (slope_db * log2(ratio) / 20) is a power of the ratio of frequencies.
        exponent = slope_db * math.log2(10) / 20
        return as_loud(
            filtered(samples, self.sample_rate, lambda bins: (bins / start).clamp(min=1) ** exponent), samples
        )


class LowPassConfig(Section):
    """A narrow band, as codecs and cheap recorders leave: nothing above a frequency drawn."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["low_pass"] = "low_pass"
    low_hz: float = Field(3000.0, gt=0, description="narrowest band, hertz")
    high_hz: float = Field(8000.0, gt=0, description="widest band, hertz; at half the rate and above nothing is cut")
    probability: Probability = Field(0.2, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> LowPassConfig:
        check_range("hz", self.low_hz, self.high_hz)
        return self

    def build(self, features: FeatureConfig) -> LowPass:
        return LowPass(self, features.sample_rate)


@dataclass(frozen=True)
class LowPass:
    """Cuts above a frequency drawn evenly in octaves, over a slope of a tenth of it; 0.5 ms a second of what is cut."""

    config: LowPassConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        cutoff = math.exp(uniform(generator, math.log(self.config.low_hz), math.log(self.config.high_hz)))
        return filtered(samples, self.sample_rate, lambda bins: below(bins, cutoff))


def below(bins: Float[Tensor, " bin"], cutoff: float) -> Float[Tensor, " bin"]:
    """1 up to a tenth below the cutoff, 0 from it on, half a cosine between."""
    return 0.5 + 0.5 * torch.cos(torch.pi * ((bins - 0.9 * cutoff) / (0.1 * cutoff)).clamp(0, 1))


class ColoredNoiseConfig(Section):
    """Adds steady noise made up on the spot, from hiss to rumble, at a signal-to-noise ratio."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["colored_noise"] = "colored_noise"
    low_snr_db: float = Field(5.0, ge=-60, le=120, description="noisiest, decibels")
    high_snr_db: float = Field(40.0, ge=-60, le=120, description="cleanest, decibels")
    low_exponent: float = Field(0.0, ge=-2, le=4, description="brightest: power falls as 1 / frequency^this; 0: white")
    high_exponent: float = Field(2.0, ge=-2, le=4, description="darkest; 1: pink, 2: brown")
    probability: Probability = Field(0.3, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> ColoredNoiseConfig:
        check_range("snr_db", self.low_snr_db, self.high_snr_db)
        check_range("exponent", self.low_exponent, self.high_exponent)
        return self

    def build(self, features: FeatureConfig) -> ColoredNoise:
        return ColoredNoise(self, features.sample_rate)


@dataclass(frozen=True)
class ColoredNoise:
    """Draws a spectrum of that slope, flat at the lowest; the ratio is of whole energies. 0.4 ms a second of noise."""

    config: ColoredNoiseConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        from scipy.fft import irfft, next_fast_len

        snr_db = uniform(generator, self.config.low_snr_db, self.config.high_snr_db)
        exponent = uniform(generator, self.config.low_exponent, self.config.high_exponent)
        size = next_fast_len(samples.shape[0], real=True)
        spectrum = torch.view_as_complex(torch.randn(size // 2 + 1, 2, generator=generator))  # type: ignore
        spectrum *= _frequencies(size, self.sample_rate).clamp(min=LOWEST_HZ) ** (-exponent / 2)  # type: ignore
        noise = torch.from_numpy(irfft(spectrum.numpy(), size)[: samples.shape[0]])
        return add_at_snr(samples, noise, snr_db)
