"""Measures how loud a recording is, frame by frame, in the band of speech: what detectors by energy compare."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

FRAME_SECONDS = 0.02
WINDOW_FRAMES = 2  # that a window spans: 40 ms
LOW_HZ, HIGH_HZ = 150.0, 3800.0  # between the hum and rumble of rooms and the hiss of microphones
QUIETEST_DB = -80.0  # of full scale; digital silence is no quieter than this, or any sound would be loud beside it


class BandLevels:
    """Levels of one recording in decibels of full scale, however its samples come in blocks.

    Frame f is measured over the 40 ms from sample f * hop on, and known as soon as they are there.
    """

    def __init__(self, sample_rate: int) -> None:
        self.hop = max(1, round(FRAME_SECONDS * sample_rate))
        self._window = WINDOW_FRAMES * self.hop
        self._size = 1 << (self._window - 1).bit_length()
        self._shape = np.hanning(self._window).astype(np.float32)
        hertz = np.fft.rfftfreq(self._size, 1 / sample_rate)
        self._band = (hertz >= LOW_HZ) & (hertz <= HIGH_HZ)
        self._samples = np.zeros(0, np.float32)  # that are in no whole window yet, or in later ones too

    def push(self, samples: Float[np.ndarray, " sample"]) -> Float32[np.ndarray, " frame"]:
        """Returns the levels of the frames that these samples complete."""
        self._samples = np.concatenate((self._samples, samples.astype(np.float32, copy=False)))
        return self._measure((len(self._samples) - self._window) // self.hop + 1)

    def finish(self) -> Float32[np.ndarray, " frame"]:
        """Returns the levels of the last frames, as if silence followed."""
        num_frames = -(-len(self._samples) // self.hop)
        self._samples = np.concatenate((self._samples, np.zeros(self._window, np.float32)))
        return self._measure(num_frames)

    def _measure(self, num_frames: int) -> Float32[np.ndarray, " frame"]:
        if num_frames <= 0:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window)[:: self.hop][:num_frames]
        if self._samples.any():
            spectra = np.fft.rfft(windows * self._shape, n=self._size)[:, self._band]
            # A sine of full scale gives the square of half the sum of the window's shape, whatever its frequency.
            power = (spectra.real**2 + spectra.imag**2).sum(axis=1) / (self._shape.sum() / 2) ** 2
            levels = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10)))
        else:  # hours of it fit in a megabyte, and should cost no more than that
            levels = np.full(num_frames, QUIETEST_DB)
        self._samples = self._samples[num_frames * self.hop :]
        return levels.astype(np.float32)
