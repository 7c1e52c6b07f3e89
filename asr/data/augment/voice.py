"""Other voices saying the same: faster and slower, higher and lower, with a longer or shorter vocal tract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float64
from pydantic import Field, model_validator
from torch import Tensor

from asr.audio.reading import resample
from asr.data.augment.base import Probability, check_range, happens, integer, uniform
from asr.data.features import FeatureConfig, mel_centers
from asr.section import Section

HIGHEST_FORMANT_HZ = 4800.0  # Jaitly and Hinton's: what is below is scaled, what is above is squeezed into the rest
SHORTEST_MS = 100.0  # what is shorter has no pitch to shift


class SpeedConfig(Section):
    """Plays the utterance faster or slower, pitch and all (Ko et al. 2015, "Audio augmentation for ASR", section 2)."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["speed"] = "speed"
    factors: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = Field(
        (0.9, 1.0, 1.1), min_length=1, description="one is drawn; 1.1 is ten per cent faster and that much shorter"
    )
    probability: Probability = Field(1.0, description="share of utterances changed")

    def build(self, features: FeatureConfig) -> SpeedChange:
        return SpeedChange(self, features.sample_rate)


@dataclass(frozen=True)
class SpeedChange:
    """Resamples by a factor drawn from the config's; 0.2 ms a second of speech."""

    config: SpeedConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        played_rate = round(self.sample_rate * self.config.factors[integer(generator, len(self.config.factors))])
        if played_rate == self.sample_rate:
            return samples
        return torch.from_numpy(resample(samples.numpy(), from_rate=played_rate, to_rate=self.sample_rate))


class PitchConfig(Section):
    """Makes the voice higher or lower at the same speed, formants and all; with `vocal_tract`, each on its own."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["pitch"] = "pitch"
    low_semitones: float = Field(-3.0, ge=-12, le=12, description="lowest, semitones")
    high_semitones: float = Field(3.0, ge=-12, le=12, description="highest, semitones")
    probability: Probability = Field(0.3, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> PitchConfig:
        check_range("semitones", self.low_semitones, self.high_semitones)
        return self

    def build(self, features: FeatureConfig) -> Pitch:
        """Raises ValueError where the package python-stretch is not installed."""
        try:
            import python_stretch  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "augment: pitch: the package python-stretch is not installed; pip install 'earshot[pitch]'"
            ) from error
        return Pitch(self, features.sample_rate)


@dataclass(frozen=True)
class Pitch:
    """Shifts the pitch by Signalsmith Stretch, a phase vocoder; 2.5 ms a second of what is shifted.

    What is shorter than 0.1 s stays as it is.
    """

    config: PitchConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        from python_stretch.Signalsmith import Stretch

        if not happens(generator, self.config.probability):
            return samples
        semitones = uniform(generator, self.config.low_semitones, self.config.high_semitones)
        stretch = Stretch(integer(generator, 1 << 31))
        if samples.shape[0] < SHORTEST_MS / 1000 * self.sample_rate:
            return samples
        stretch.preset(1, self.sample_rate, cheaper=True)
        stretch.setTransposeSemitones(semitones)
        return torch.from_numpy(stretch.process(samples.numpy()[None])[0])  # type: ignore


class VocalTractConfig(Section):
    """Moves the formants, as a longer or shorter vocal tract does, by warping the mel axis: children, women, men.

    Jaitly and Hinton 2013, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", equation 1.
    """

    domain: ClassVar[Literal["features"]] = "features"
    kind: Literal["vocal_tract"] = "vocal_tract"
    low_factor: float = Field(0.88, ge=0.5, le=2, description="lowest formants, as a share of where they were")
    high_factor: float = Field(1.12, ge=0.5, le=2, description="highest formants, as a share of where they were")
    probability: Probability = Field(0.5, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> VocalTractConfig:
        check_range("factor", self.low_factor, self.high_factor)
        return self

    def build(self, features: FeatureConfig) -> VocalTract:
        return VocalTract(self, mel_centers(features), features.sample_rate / 2)


@dataclass(frozen=True)
class VocalTract:
    """Takes each mel's values from where the warp comes from, between two mels in proportion; 0.02 ms a second.

    It warps normalised features: the average spectrum, which the normalisation took away, stays.
    """

    config: VocalTractConfig
    centers: Float64[Tensor, " mel"]  # hertz
    nyquist: float

    def __call__(self, features: Float[Tensor, "frame mel"], generator: torch.Generator) -> Float[Tensor, "frame mel"]:
        if not happens(generator, self.config.probability):
            return features
        factor = uniform(generator, self.config.low_factor, self.config.high_factor)
        sources = _unwarped(self.centers, self.nyquist, factor)
        lower = (torch.searchsorted(self.centers, sources, right=True) - 1).clamp(0, len(self.centers) - 2)
        low, high = self.centers[lower], self.centers[lower + 1]
        share = ((sources - low) / (high - low)).clamp(0, 1).to(features.dtype)
        return torch.lerp(features[:, lower], features[:, lower + 1], share)


def _unwarped(hertz: Float64[Tensor, " mel"], nyquist: float, factor: float) -> Float64[Tensor, " mel"]:
    """Returns where the warp brings each frequency from: `factor` lower, but half the rate stays where it is."""
    inverse = 1 / factor
    highest = min(HIGHEST_FORMANT_HZ, 0.6 * nyquist) * min(inverse, 1)  # where it comes from, at the most
    slope = (nyquist - highest) / (nyquist - highest * factor)
    return torch.where(hertz <= highest * factor, hertz * inverse, nyquist - slope * (nyquist - hertz))
