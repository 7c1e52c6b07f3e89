"""Speech is what is louder than the noise around it: nothing to install, nothing to learn."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import Field

from asr.audio.voice_activity.band_levels import FRAME_SECONDS, BandLevels
from asr.section import Section

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
        self._around = max(1, round(config.around / FRAME_SECONDS))
        self._meter = BandLevels(sample_rate)
        self._levels = np.zeros(0, np.float32)  # of the frames from `_first` on
        self._first = 0
        self._num_told = 0

    @property
    def hop(self) -> float:
        return self._meter.hop

    def push(self, samples: Float[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]:
        self._levels = np.concatenate((self._levels, self._meter.push(samples)))
        # A step can be told when all that is around it is there.
        num_known = self._first + len(self._levels) - self._around
        return self._tell(num_known // STEP * STEP)

    def finish(self) -> Bool[np.ndarray, " frame"]:
        self._levels = np.concatenate((self._levels, self._meter.finish()))
        return self._tell(self._first + len(self._levels))

    def _tell(self, until: int) -> Bool[np.ndarray, " frame"]:
        """Returns whether the frames up to this one are speech."""
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
