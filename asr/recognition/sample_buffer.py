"""The last samples of a stream: appended at the end, forgotten at the beginning, read without a copy of them all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

SMALLEST = 1 << 14  # samples that there is always room for


class SampleBuffer:
    """Samples by their numbers in the stream; its room is at most about eight times what is kept."""

    def __init__(self) -> None:
        self._room = np.zeros(SMALLEST, np.float32)
        self._start = 0  # number of the first sample that is kept
        self._place = 0  # of that sample in the room
        self._size = 0

    @property
    def start(self) -> int:
        """Returns the number of the first sample that is kept."""
        return self._start

    @property
    def end(self) -> int:
        """Returns the number of the sample that comes next."""
        return self._start + self._size

    def append(self, samples: Float[np.ndarray, " _"]) -> None:
        needed = self._size + len(samples)
        is_wide = len(self._room) > max(SMALLEST, 8 * needed)
        if is_wide or self._place + needed > len(self._room):
            room = self._room
            if is_wide or needed > len(room) // 2:
                room = np.zeros(max(SMALLEST, 2 * needed), np.float32)
            # Within one room the two places may overlap, which NumPy sees to.
            room[: self._size] = self._room[self._place : self._place + self._size]
            self._room, self._place = room, 0
        end = self._place + self._size
        self._room[end : end + len(samples)] = samples
        self._size = needed

    def view(self, start: int, end: int) -> Float32[np.ndarray, " sample"]:
        """Returns samples `start` to before `end`, which change with the next `append`."""
        assert self._start <= start <= end <= self.end, "only what is kept can be read"
        first = self._place + start - self._start
        return self._room[first : first + end - start]

    def forget(self, until: int) -> None:
        """Let go of the samples before `until`."""
        dropped = min(max(0, until - self._start), self._size)
        self._start, self._place, self._size = self._start + dropped, self._place + dropped, self._size - dropped
