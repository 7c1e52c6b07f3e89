"""Measures how loud the channels of a recording are, and their mean: channels that cancel each other leave nothing to
recognise.

levels = ChannelLevels(2)
levels.add(block)                  # [sample, channel], block after block
levels.warning(channel="mix")      # "the channels cancel each other ...", or None
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32

CANCELLED = 0.05  # of the power that the mean of unlike channels has: 13 dB less
DEAD = 1e-6  # of the loudest channel's power: 60 dB less
SILENT = 2.0**-32  # mean square, about that of digital silence: half a step of 16 bits
SILENCE = 2.0**-16  # digital silence: every sample is below half a step of 16 bits
REMEDY = "transcribe each channel by itself: --channel each"


class ChannelLevels:
    """Power of each channel and of their mean, without a constant part."""

    def __init__(self, num_channels: int) -> None:
        self.num_channels = num_channels
        self._num_samples = 0
        self._sums = np.zeros(num_channels + 1)  # of the channels, and of their mean
        self._squares = np.zeros(num_channels + 1)

    def add(self, block: Float32[np.ndarray, "sample channel"]) -> None:
        values = block.astype(np.float64)
        with np.errstate(all="ignore"):  # samples that are not finite are refused elsewhere
            values = np.concatenate((values, values.mean(axis=1, keepdims=True)), axis=1)
            self._num_samples += len(values)
            self._sums += values.sum(axis=0)
            self._squares += np.einsum("sc,sc->c", values, values)

    def warning(self, *, channel: int | Literal["mix"]) -> str | None:
        """Returns what a user should know of the channel that was asked for, or of the mean; None where all is well."""
        if not self._num_samples:
            return None
        means = self._sums / self._num_samples
        power = np.maximum(self._squares / self._num_samples - means**2, 0.0)
        channels, mean = power[:-1], float(power[-1])
        loudest = float(channels.max())
        if not loudest > SILENT:
            return "silence: there is no sound in the recording"
        dead = [number for number, value in enumerate(channels) if value <= DEAD * loudest]
        if channel != "mix":
            live = next(number for number in range(self.num_channels) if number not in dead)
            return f"channel {channel} is silent, and channel {live} is not" if channel in dead else None
        if mean < CANCELLED * float(channels.sum()) / self.num_channels**2:
            return f"the channels cancel each other (opposite phase), and little is left of their mean; {REMEDY}"
        if dead:
            return f"silent channels ({', '.join(map(str, dead))}) make the mean of all weaker; {REMEDY}"
        return None
