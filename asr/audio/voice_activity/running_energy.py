"""Speech is what is louder than the noise so far: for somebody who speaks now, where nothing later is known."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import Field

from asr.audio.voice_activity.band_levels import FRAME_SECONDS, BandLevels
from asr.section import Section

NOISE_PERCENT, SPEECH_PERCENT = 10, 95  # percentiles of the levels so far
STEP = 5  # frames for which the levels so far are judged once: 0.1 s


class RunningEnergyConfig(Section):
    kind: Literal["running_energy"] = "running_energy"
    margin_db: float = Field(8.0, gt=0, description="speech is at least so much louder than the noise so far")
    share: float = Field(
        0.25, ge=0, le=1, description="and at least so far from the noise to the loudest, of their distance in decibels"
    )
    memory: float = Field(4.0, gt=0, description="seconds by which noise and loudest are judged")
    first_db: float = Field(
        -35.0, ge=-80, le=0, description="decibels of full scale; the first tenth of a second is speech above these"
    )
    quietest_db: float = Field(
        -65.0, ge=-80, le=0, description="decibels of full scale; the noise counts as no quieter than this"
    )

    def build(self, sample_rate: int) -> RunningEnergyDetector:
        return RunningEnergyDetector(self, sample_rate)


class RunningEnergyDetector:
    """Frames whose level between 150 and 3800 Hz is above a threshold that follows noise and speech.

    It is the detector `energy` without the future: each frame is told at once, by the frames before it. The noise is
    the level that a tenth of them stay below, so a noise that begins is taken for speech for as long as `memory`, at
    most.
    """

    def __init__(self, config: RunningEnergyConfig, sample_rate: int) -> None:
        self._config, self._meter = config, BandLevels(sample_rate)
        self._memory = max(1, round(config.memory / FRAME_SECONDS))
        self._past = np.zeros(0, np.float32)  # levels of the last frames
        self._num_told = 0
        self._threshold = config.first_db

    @property
    def hop(self) -> float:
        return self._meter.hop

    def push(self, samples: Float[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]:
        return self._tell(self._meter.push(samples))

    def finish(self) -> Bool[np.ndarray, " frame"]:
        return self._tell(self._meter.finish())

    def _tell(self, levels: Float32[np.ndarray, " frame"]) -> Bool[np.ndarray, " frame"]:
        told = np.zeros(len(levels), dtype=bool)
        start = 0
        while start < len(levels):
            end = min(len(levels), start + STEP - self._num_told % STEP)
            told[start:end] = levels[start:end] > self._threshold
            self._past = np.concatenate((self._past, levels[start:end]))[-self._memory :]
            self._num_told += end - start
            if self._num_told % STEP == 0:
                self._judge()
            start = end
        return told

    def _judge(self) -> None:
        """Set the threshold for the frames to come."""
        noise, loudest = np.percentile(self._past, [NOISE_PERCENT, SPEECH_PERCENT])
        noise = max(noise, self._config.quietest_db)
        self._threshold = noise + max(self._config.margin_db, self._config.share * (loudest - noise))
