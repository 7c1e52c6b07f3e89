"""Measures of a recording's sound that do not need a model: level, clipping, bandwidth, noise."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

FRAME_SECONDS = 0.02
NEAR_PEAK = 0.995  # of the largest sample; clipped samples lie above it, one after the other
CLIPPED_RUN = 3  # samples in a row
LOUD_PEAK = 0.2  # a quiet recording is seldom clipped, and its few steps look flat
EDGE_DB = 60.0  # what a low-pass leaves lies this far below the loudest band
NUM_BANDS = 64
SMALLEST = 1e-12  # of a power


@dataclass(frozen=True)
class Acoustics:
    """Describes one utterance's samples."""

    digest: str  # of the samples in 16 bits: equal where the same sound was recorded once and listed twice
    level_db: float  # root of the mean square, decibels below full scale
    clipped: float  # share of the samples that lie in flat tops
    bandwidth_hz: float  # up to where there is sound
    snr_db: float  # loud frames over quiet ones: blind, so an estimate


def measure_sound(samples: Float32[np.ndarray, " sample"], *, sample_rate: int) -> Acoustics:
    """Returns the measures of an utterance; of one without samples those of silence."""
    values = samples.astype(np.float64)
    size = max(1, round(FRAME_SECONDS * sample_rate))
    whole = values[: len(values) // size * size].reshape(-1, size)
    if not len(whole):
        whole = np.zeros((1, size))
    powers = np.maximum((whole**2).mean(axis=1), SMALLEST)
    quiet, loud = np.quantile(powers, (0.1, 0.95))
    return Acoustics(
        digest=hashlib.sha256(np.round(values * 32767).astype("<i2").tobytes()).hexdigest(),
        level_db=float(10 * np.log10(max(float((values**2).mean()) if len(values) else 0.0, SMALLEST))),
        clipped=_clipped_share(values),
        bandwidth_hz=_bandwidth(whole, sample_rate),
        snr_db=float(10 * np.log10(loud / quiet)),
    )


def _clipped_share(values: np.ndarray) -> float:
    """Returns the share of the samples that are at the peak with their neighbours: a flat top, not a round one."""
    peak = float(np.abs(values).max()) if len(values) else 0.0
    if peak < LOUD_PEAK:
        return 0.0
    at_top = np.abs(values) >= NEAR_PEAK * peak
    edges = np.flatnonzero(np.diff(np.concatenate(([False], at_top, [False])).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum()) / len(values)


def _bandwidth(frames: np.ndarray, sample_rate: int) -> float:
    """Returns the upper edge in hertz of the highest band that is at most EDGE_DB below the loudest."""
    window = np.hanning(frames.shape[1])
    power = (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).mean(axis=0)
    bands = np.array([part.mean() for part in np.array_split(power, min(NUM_BANDS, len(power)))])
    heard = np.flatnonzero(bands > max(float(bands.max()) * 10 ** (-EDGE_DB / 10), SMALLEST))
    return float(sample_rate / 2 * (heard[-1] + 1) / len(bands)) if len(heard) else 0.0
