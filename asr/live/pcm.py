"""Raw samples of 16 bits, as recorders give them, to blocks of floating-point samples at the model's rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import soxr
from jaxtyping import Float32

BLOCK_SECONDS = 0.02  # of samples that are read together: no more than that is waited for
SMALLEST_RATE, LARGEST_RATE = 1000, 1_000_000  # hertz


class SourceError(ValueError):
    """Audio that cannot be had, or does not come any more."""


@runtime_checkable
class Readable(Protocol):
    """A file or a pipe of bytes."""

    def read(self, size: int, /) -> bytes: ...


class Resampler:
    """Brings a stream of samples to another rate, in pieces of any size."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Raises SourceError for rates that no recording has."""
        if not SMALLEST_RATE <= from_rate <= LARGEST_RATE:
            raise SourceError(
                f"sample rate: {from_rate} hertz; expected {SMALLEST_RATE} to {LARGEST_RATE}, as the samples were taken"
            )
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")

    def push(self, samples: Float32[np.ndarray, " sample"], *, is_last: bool = False) -> Float32[np.ndarray, " _"]:
        return samples if self._stream is None else self._stream.resample_chunk(samples, last=is_last)


def read_pcm(stream: Readable, *, from_rate: int, to_rate: int) -> Iterator[Float32[np.ndarray, " sample"]]:
    """Yields what a stream of signed 16-bit samples of one channel, low byte first, holds, as soon as it comes.

    Half a sample at its end is left out: what wrote it was ended between two bytes.
    """
    resampler = Resampler(from_rate, to_rate)
    size = 2 * max(1, math.ceil(BLOCK_SECONDS * from_rate))
    read = getattr(stream, "read1", stream.read)  # what is there, and not only a whole block
    rest = b""
    while data := read(size):
        data = rest + data
        whole = len(data) - len(data) % 2
        rest = data[whole:]
        yield resampler.push(from_int16(data[:whole]))
    yield resampler.push(np.zeros(0, np.float32), is_last=True)


def from_int16(data: bytes) -> Float32[np.ndarray, " sample"]:
    """Returns samples in -1..1."""
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768
