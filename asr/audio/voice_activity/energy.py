"""Speech is what is louder than the noise around it: nothing to install, nothing to learn."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import Field

from asr.section import Section

FRAME_SECONDS = 0.02
WINDOW_FRAMES = 2  # that a window spans: 40 ms
LOW_HZ, HIGH_HZ = 150.0, 3800.0  # between the hum and rumble of rooms and the hiss of microphones
QUIETEST_DB = -80.0  # of full scale; digital silence is no quieter than this, or any sound would be loud beside it
NOISE_PERCENT, SPEECH_PERCENT = 10, 95  # percentiles of the levels around a frame
STEP = 50  # frames for which the levels around are measured once: a second


class EnergyConfig(Section):
    kind: Literal["energy"] = "energy"
    margin_db: float = Field(6.0, gt=0, description="speech is at least so much louder than the noise around")
    share: float = Field(
        0.25, ge=0, le=1, description="and at least so far from the noise to the loudest, of their distance in decibels"
    )
    around: float = Field(15.0, gt=0, description="seconds before and after, by which noise and loudest are judged")

    def build(self, sample_rate: int) -> EnergyDetector:
        return EnergyDetector(self, sample_rate)


class EnergyDetector:
    """Frames whose level between 150 and 3800 Hz is above a threshold that follows noise and speech.

    The noise is the level that a tenth of the frames around stay below, the loudest that which one in twenty exceeds;
    both are of the same second for all its frames. So a noise that begins is taken for speech for as long as half of
    what is looked at, at most.
    """

    def __init__(self, config: EnergyConfig, sample_rate: int) -> None:
        self._config = config
        self._hop = max(1, round(FRAME_SECONDS * sample_rate))
        self._around = max(1, round(config.around / FRAME_SECONDS))
        self._window = WINDOW_FRAMES * self._hop
        self._size = 1 << (self._window - 1).bit_length()
        self._shape = np.hanning(self._window).astype(np.float32)
        hertz = np.fft.rfftfreq(self._size, 1 / sample_rate)
        self._band = (hertz >= LOW_HZ) & (hertz <= HIGH_HZ)
        self._samples = np.zeros(0, np.float32)  # that are in no whole window yet, or in later ones too
        self._levels = np.zeros(0, np.float32)  # of the frames from `_first` on
        self._first = 0
        self._num_told = 0

    @property
    def hop(self) -> float:
        return self._hop

    def push(self, samples: Float[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]:
        self._samples = np.concatenate((self._samples, samples.astype(np.float32, copy=False)))
        self._measure((len(self._samples) - self._window) // self._hop + 1)
        # A step can be told when all that is around it is there.
        num_known = self._first + len(self._levels) - self._around
        return self._tell(num_known // STEP * STEP)

    def finish(self) -> Bool[np.ndarray, " frame"]:
        num_frames = -(-len(self._samples) // self._hop)
        self._samples = np.concatenate((self._samples, np.zeros(self._window, np.float32)))
        self._measure(num_frames)
        return self._tell(self._first + len(self._levels))

    def _measure(self, num_frames: int) -> None:
        """The levels of so many further frames, in decibels of full scale."""
        if num_frames <= 0:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window)[:: self._hop][:num_frames]
        if self._samples.any():
            spectra = np.fft.rfft(windows * self._shape, n=self._size)[:, self._band]
            # A sine of full scale gives the square of half the sum of the window's shape, whatever its frequency.
            power = (spectra.real**2 + spectra.imag**2).sum(axis=1) / (self._shape.sum() / 2) ** 2
            levels = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10)))
        else:  # hours of it fit in a megabyte, and should cost no more than that
            levels = np.full(num_frames, QUIETEST_DB)
        self._levels = np.concatenate((self._levels, levels.astype(np.float32)))
        self._samples = self._samples[num_frames * self._hop :]

    def _tell(self, until: int) -> Bool[np.ndarray, " frame"]:
        """Whether the frames up to this one are speech."""
        told = [self._tell_step(start, min(start + STEP, until)) for start in range(self._num_told, until, STEP)]
        self._num_told = max(self._num_told, until)
        drop = max(0, self._num_told - self._around - self._first)
        self._levels, self._first = self._levels[drop:], self._first + drop
        return np.concatenate(told) if told else np.zeros(0, dtype=bool)

    def _tell_step(self, start: int, end: int) -> Bool[np.ndarray, " frame"]:
        before = max(0, start - self._around - self._first)
        around: Float32[np.ndarray, " frame"] = self._levels[before : start + STEP + self._around - self._first]
        noise, loudest = np.percentile(around, [NOISE_PERCENT, SPEECH_PERCENT])
        threshold = noise + max(self._config.margin_db, self._config.share * (loudest - noise))
        return self._levels[start - self._first : end - self._first] > threshold
