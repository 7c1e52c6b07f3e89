"""Passes an utterance through a call or a codec."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import soundfile
import torch
from jaxtyping import Float, Float32
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pad

from asr.audio.reading import resample
from asr.data.augment.base import Probability, as_loud, check_range, happens, integer, uniform
from asr.data.augment.spectrum import below, filtered
from asr.data.features import FeatureConfig
from asr.section import Section

TELEPHONE_RATE = 8000
TELEPHONE_BAND = (300.0, 3400.0)  # hertz; ITU-T G.712
RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
    "vorbis": None,  # any
}
SUBTYPES = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "vorbis": ("OGG", "VORBIS")}


class TelephoneConfig(Section):
    """A call: 300 to 3400 Hz, 8000 samples a second, in eight bits or through the codec of mobile phones."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["telephone"] = "telephone"
    codecs: tuple[Literal["mu_law", "gsm"], ...] = Field(
        ("mu_law", "gsm"), min_length=1, description="one is drawn: ITU-T G.711's, or GSM 06.10's"
    )
    probability: Probability = Field(0.1, description="share of utterances changed")

    def build(self, features: FeatureConfig) -> Telephone:
        return Telephone(self, features.sample_rate)


@dataclass(frozen=True)
class Telephone:
    """Filters, resamples, encodes and back; as long and as loud as before. 1 ms a second by mu-law, 4 ms by GSM."""

    config: TelephoneConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        codec = self.config.codecs[integer(generator, len(self.config.codecs))]
        narrow = torch.from_numpy(resample(samples.numpy(), from_rate=self.sample_rate, to_rate=TELEPHONE_RATE))
        narrow = filtered(narrow, TELEPHONE_RATE, _telephone_band)
        peak = narrow.abs().max().clamp(min=1e-9)
        narrow = 0.9 / peak * narrow
        if codec == "mu_law":
            from torchaudio.functional import mu_law_decoding, mu_law_encoding  # only who augments waits for it

            decoded = mu_law_decoding(mu_law_encoding(narrow, 256), 256)
        else:
            decoded = torch.from_numpy(_through_file(narrow.numpy(), TELEPHONE_RATE, "WAV", "GSM610"))
        wide = torch.from_numpy(resample(decoded.numpy(), from_rate=TELEPHONE_RATE, to_rate=self.sample_rate))
        return as_loud(_as_long(wide, samples.shape[0]), samples)


def _telephone_band(bins: Float[Tensor, " bin"]) -> Float[Tensor, " bin"]:
    low_hz, high_hz = TELEPHONE_BAND
    return below(bins, 1.1 * high_hz) * (1 - below(bins, low_hz))


def _as_long(samples: Float[Tensor, " sample"], num_samples: int) -> Float[Tensor, " {num_samples}"]:
    """Cut, or filled with zeros, at the end."""
    return pad(samples[:num_samples], (0, max(0, num_samples - samples.shape[0])))


def _through_file(
    samples: Float32[np.ndarray, " sample"], sample_rate: int, container: str, subtype: str, **settings: float
) -> Float32[np.ndarray, " decoded_sample"]:
    """Encoded and decoded by libsndfile, in memory."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=container, subtype=subtype, **settings)  # type: ignore
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


class CodecConfig(Section):
    """Encodes and decodes, at a quality drawn, as recordings that came over the net."""

    domain: ClassVar[Literal["samples"]] = "samples"
    kind: Literal["codec"] = "codec"
    formats: tuple[Literal["mp3", "vorbis", "opus"], ...] = Field(
        ("mp3", "vorbis"), min_length=1, description="one is drawn; opus takes four times as long"
    )
    low_compression: float = Field(0.3, ge=0, le=1, description="best quality; 0 is the best there is")
    high_compression: float = Field(0.99, ge=0, le=1, description="worst quality; 1 is the worst there is")
    probability: Probability = Field(0.1, description="share of utterances changed")

    @model_validator(mode="after")
    def _check(self) -> CodecConfig:
        check_range("compression", self.low_compression, self.high_compression)
        return self

    def build(self, features: FeatureConfig) -> Codec:
        """Raises ValueError where a format does not know the sample rate."""
        for name in self.formats:
            rates = RATES[name]
            if rates is not None and features.sample_rate not in rates:
                raise ValueError(
                    f"augment: codec: formats: {name} at {features.sample_rate} Hz; expected one of {rates}, or vorbis"
                )
        return Codec(self, features.sample_rate)


@dataclass(frozen=True)
class Codec:
    """One format, one quality; as long as before. A second takes 4 ms by Vorbis, 5 by MP3, 20 by Opus."""

    config: CodecConfig
    sample_rate: int

    def __call__(
        self, samples: Float[Tensor, " sample"], generator: torch.Generator
    ) -> Float[Tensor, " augmented_sample"]:
        if not happens(generator, self.config.probability):
            return samples
        container, subtype = SUBTYPES[self.config.formats[integer(generator, len(self.config.formats))]]
        compression = uniform(generator, self.config.low_compression, self.config.high_compression)
        peak = samples.abs().max().clamp(min=1e-9)
        encoded = (0.9 / peak * samples).numpy()
        decoded = _through_file(encoded, self.sample_rate, container, subtype, compression_level=compression)
        return _as_long(torch.from_numpy(decoded) * (peak / 0.9), samples.shape[0])
