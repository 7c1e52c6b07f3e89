"""Makes log-mel features of samples: framing, the mel filter bank, and normalisation."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Float64
from pydantic import Field, model_validator
from torch import Tensor

from asr.data.pcen import PCENConfig, pcen
from asr.data.statistics import FeatureStatistics
from asr.section import Section

# Real speech spreads 1 to 4 (natural log) in every mel; a still band (digital silence, 8 kHz audio brought to 16 kHz)
# spreads almost nothing, and dividing by that would blow its rounding noise up to the size of speech.
STD_FLOOR = 0.1

# Frames transformed at a time: a block stays in a core's cache, and below the size at which the C library fetches fresh
# pages from the kernel for each allocation (at 256 frames some lengths take 3 times as long for that alone).
FRAMES_PER_BLOCK = 128

LARGEST_FILTERS = 1 << 24  # samples of a window times mels; speech takes 32,000

# Slaney's mel scale (Auditory Toolbox, 1998): even up to 1 kHz, then 27 mels to each factor of 6.4.
_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200 / 3
_MELS_PER_LOG_HZ = 27 / math.log(6.4)


class FeatureConfig(Section):
    """Says what a frame of features is; it is stored with shards and with trained runs, which refuse any other."""

    sample_rate: int = Field(
        16000, ge=1000, le=1_000_000, description="hertz; recordings at another rate are resampled to it"
    )
    num_mels: int = Field(80, ge=1, le=1024, description="mel filters a frame")
    window_ms: float = Field(
        25.0, gt=0, le=10_000, description="milliseconds of samples in a frame, under a Hann window"
    )
    hop_ms: float = Field(10.0, gt=0, le=10_000, description="milliseconds from one frame's start to the next")
    low_hz: float = Field(20.0, ge=0, description="lower edge of the first filter, hertz")
    high_hz: float | None = Field(None, gt=0, description="upper edge of the last filter, hertz; null: half the rate")
    log_floor: float = Field(
        1e-10, gt=0, description="smallest mel power before the logarithm; smaller is raised to it"
    )
    dynamic_range_db: float | None = Field(
        None, gt=0, description="decibels below the utterance's loudest mel where log-mels end; null: log_floor alone"
    )
    pcen: PCENConfig | None = Field(
        None, description="each mel beside its own recent level, {} for the usual settings; null: log-mels as they are"
    )
    normalization: Literal["global", "utterance", "none"] = Field(
        "utterance", description="mean and deviation of each mel: of the training split, of the utterance, or untouched"
    )

    @model_validator(mode="after")
    def _check(self) -> FeatureConfig:
        nyquist = self.sample_rate / 2
        high_hz = nyquist if self.high_hz is None else self.high_hz
        if high_hz > nyquist:
            raise ValueError(f"high_hz: {high_hz:g} hertz; expected at most half of sample_rate, {nyquist:g}")
        if self.low_hz >= high_hz:
            raise ValueError(f"low_hz: {self.low_hz:g} hertz; expected below the upper edge, {high_hz:g}")
        if self.hop_samples < 1:
            raise ValueError(f"hop_ms: {self.hop_ms:g} is less than one sample at {self.sample_rate} hertz")
        if self.window_samples < 2:
            raise ValueError(f"window_ms: {self.window_ms:g} is less than two samples at {self.sample_rate} hertz")
        if self.window_samples * self.num_mels > LARGEST_FILTERS:
            raise ValueError(
                f"window_ms: {self.window_samples:,} samples and {self.num_mels} mels would fill the memory with "
                f"filters; expected a product of at most {LARGEST_FILTERS:,}"
            )
        return self

    @property
    def window_samples(self) -> int:
        """Samples in a frame, rounded to whole ones."""
        return round(self.window_ms * self.sample_rate / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame's start to the next, rounded to whole ones."""
        return round(self.hop_ms * self.sample_rate / 1000)


class LogMel:
    """Un-normalised log-mel features of one utterance: `log(max(mel filters @ |FFT(window * frame)|^2, log_floor))`.

    The logarithm is natural; the filters are librosa's defaults (Slaney's scale and area normalisation, Auditory
    Toolbox 1998), the window a periodic Hann. Frame i covers the samples [i * hop, i * hop + window), nothing else:

        samples  |------------------------------------------|      no centring, no reflection; what is left at
        frame 0  [ window ]                                         the end and fills no whole window is dropped
        frame 1      [ window ]
                  hop

    The transform is in float64. In float32 a quiet mel beside a loud one is off by up to 9e-4 on real recordings, by an
    amount that depends on the machine; in float64 every machine, and librosa, give the same to about 1e-6.
    Raises ValueError where a filter is so narrow that no FFT bin falls into it.
    """

    def __init__(self, config: FeatureConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self._window_samples, self._hop_samples = config.window_samples, config.hop_samples
        self._fft_size = 1 << (self._window_samples - 1).bit_length()
        self._window = torch.hann_window(self._window_samples, periodic=True, dtype=torch.float64, device=self.device)
        # float32 is exact enough for sums of positive numbers, but a GPU may be set to multiply it with 10 bits (TF32)
        self._dtype = torch.float32 if self.device.type == "cpu" else torch.float64
        self._filters = _mel_filters(config, self._fft_size).to(self.device, self._dtype)

    def num_frames(self, num_samples: int) -> int:
        """Frames that `num_samples` samples give; never less than one."""
        return 1 + max(0, num_samples - self._window_samples) // self._hop_samples

    @torch.no_grad()
    def __call__(self, samples: Float[Tensor, " sample"]) -> Float[Tensor, "frame mel"]:
        """Features of the samples; fewer than one window of them are padded with zeros at their end."""
        samples = samples.to(self.device)
        if samples.shape[0] < self._window_samples:
            samples = torch.nn.functional.pad(samples, (0, self._window_samples - samples.shape[0]))
        frames = samples.unfold(0, self._window_samples, self._hop_samples)
        mel = torch.empty(frames.shape[0], self.config.num_mels, device=self.device)
        block_size = min(frames.shape[0], FRAMES_PER_BLOCK) if self.device.type == "cpu" else frames.shape[0]
        # The zeros after each window are put there once: rfft(n=...) would copy every block to add them.
        padded = torch.zeros(block_size, self._fft_size, dtype=torch.float64, device=self.device)
        for block, mel_block in zip(frames.split(block_size), mel.split(block_size)):
            rows = padded[: block.shape[0]]
            torch.mul(block, self._window, out=rows[:, : self._window_samples])
            spectrum = torch.fft.rfft(rows)
            power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)  # 3 times faster than abs() ** 2
            mel_block.copy_(power.to(self._dtype) @ self._filters)
        return mel.clamp_(min=self.config.log_floor).log_()


def _mel_filters(config: FeatureConfig, fft_size: int) -> Float[Tensor, "bin mel"]:
    """Triangles of equal width in mels, each of unit area: torchaudio's melscale_fbanks, but in float64.

    In float32 the feet of the triangles move by 1e-5 of their height, which shows beside a loud tone.
    """
    corners = _corners(config)
    bins = torch.linspace(0, config.sample_rate / 2, fft_size // 2 + 1, dtype=torch.float64)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    filters = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0.0)
    empty = (filters.sum(dim=0) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"features.num_mels: {config.num_mels} filters over {fft_size // 2 + 1} FFT bins leave filter {empty[0]} "
            f"without a bin ({len(empty)} in all); use fewer filters or a longer window_ms"
        )
    return filters * 2 / (high - low)


def mel_centers(config: FeatureConfig) -> Float64[Tensor, " mel"]:
    """Returns the frequency at which each mel filter is highest, in hertz."""
    return _corners(config)[1:-1]


def _corners(config: FeatureConfig) -> Float64[Tensor, " corner"]:
    """Returns the corners in hertz: filter i rises from corner i to i + 1 and falls to i + 2."""
    high_hz = config.sample_rate / 2 if config.high_hz is None else config.high_hz
    mels = torch.linspace(_to_mel(config.low_hz), _to_mel(high_hz), config.num_mels + 2, dtype=torch.float64)
    corners = mels * _HZ_PER_MEL
    logarithmic = mels > _BREAK_HZ / _HZ_PER_MEL
    corners[logarithmic] = _BREAK_HZ * torch.exp((mels[logarithmic] - _BREAK_HZ / _HZ_PER_MEL) / _MELS_PER_LOG_HZ)
    return corners


def _to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_HZ / _HZ_PER_MEL + math.log(hz / _BREAK_HZ) * _MELS_PER_LOG_HZ


@torch.no_grad()
def limit_range(features: Float[Tensor, "frame mel"], *, config: FeatureConfig) -> Float[Tensor, "frame mel"]:
    """Returns nothing below `dynamic_range_db` under the utterance's loudest mel, so that all silences are alike.

    Microphones with a noise gate and synthesizers give digital silence, log_floor in every mel, which rules the mean
    and deviation of an utterance; a room's noise, 40 dB under the speech, gives quite other features of the same words.
    """
    if config.dynamic_range_db is None or features.numel() == 0:
        return features
    return features.clamp(min=features.max() - config.dynamic_range_db * math.log(10) / 10)


def unnormalized(features: Float[Tensor, "frame mel"], *, config: FeatureConfig) -> Float[Tensor, "frame mel"]:
    """Returns what a normalisation is of: log-mels of limited range, or their PCEN."""
    limited = limit_range(features, config=config)
    return limited if config.pcen is None else pcen(limited, config.pcen)


def normalize(
    features: Float[Tensor, "frame mel"], *, config: FeatureConfig, statistics: FeatureStatistics | None
) -> Float[Tensor, "frame mel"]:
    """Returns each mel of `unnormalized`, less its mean, over its deviation (at least STD_FLOOR), by
    `config.normalization`.

    `utterance` takes both over the utterance's own frames (the deviation is the population's, so one frame gives
    zeros), `global` takes them from `statistics`. Raises ValueError where the statistics needed are not there or fit
    another number of mels.
    """
    features = unnormalized(features, config=config)
    if config.normalization == "none":
        return features
    if config.normalization == "utterance":
        centred = features - features.mean(dim=0)
        std = centred.square().mean(dim=0).sqrt_()  # 7 times faster than torch.std_mean along this dimension
        return centred / std.clamp_(min=STD_FLOOR)
    if statistics is None:
        raise ValueError("features.normalization: 'global' needs feature statistics of the training split; none given")
    if statistics.mean.shape[0] != features.shape[1]:
        raise ValueError(
            f"feature statistics: {statistics.mean.shape[0]} mels; expected {features.shape[1]}, as the features have"
        )
    mean, std = statistics.mean.to(features.device), statistics.std.to(features.device)
    return (features - mean) / std.clamp(min=STD_FLOOR)
