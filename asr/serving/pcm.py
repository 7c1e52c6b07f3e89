"""Samples without a header, as streams send them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from asr.audio.reading import resample
from asr.serving.refusal import Refusal

RATES = range(8_000, 192_001)  # hertz
WIDTHS = {2: "<i2", 4: "<i4"}  # bytes of a sample: integers, the low byte first
MOST_CHANNELS = 2


@dataclass(frozen=True)
class PCMFormat:
    """Says what the bytes are."""

    sample_rate: int  # hertz
    width: int = 2  # bytes of a sample
    num_channels: int = 1

    @classmethod
    def checked(cls, sample_rate: object, *, width: object = 2, num_channels: object = 1) -> PCMFormat:
        """Returns the format that a client names. Raises Refusal where it is none of those that are read here."""
        if type(sample_rate) is not int or sample_rate not in RATES:
            raise _fault("rate", sample_rate, f"{RATES.start:,} to {RATES.stop - 1:,} Hz")
        if type(width) is not int or width not in WIDTHS:
            raise _fault("width", width, " or ".join(map(str, WIDTHS)) + " bytes a sample")
        if type(num_channels) is not int or not 1 <= num_channels <= MOST_CHANNELS:
            raise _fault("channels", num_channels, f"1 to {MOST_CHANNELS}; mix them first")
        return cls(sample_rate, width, num_channels)

    @property
    def bytes_per_second(self) -> int:
        return self.sample_rate * self.width * self.num_channels

    def check_same(self, other: PCMFormat) -> None:
        """Raise Refusal where audio goes on in another format than it began in."""
        if other != self:
            raise Refusal(422, f"audio: {other}, after {self}; expected the same throughout", code="invalid_value")

    def __str__(self) -> str:
        return f"{self.sample_rate} Hz, {8 * self.width} bits, channels: {self.num_channels}"

    def samples(self, content: bytes, *, sample_rate: int) -> Float32[np.ndarray, " sample"]:
        """The samples [sample] at another rate, in hertz, as one whole. Raises as `values`."""
        mono = self.values(content)
        return resample(mono, from_rate=self.sample_rate, to_rate=sample_rate) if len(mono) else mono

    def values(self, content: bytes) -> Float32[np.ndarray, " sample"]:
        """The samples [sample] at the rate that they have, the mean of all channels.

        Raises Refusal where the bytes are no whole number of samples.
        """
        frame = self.width * self.num_channels
        if len(content) % frame:
            raise Refusal(
                422,
                f"audio: {len(content):,} bytes, which are no whole number of samples of {frame}; expected {self}",
                code="invalid_value",
            )
        values = np.frombuffer(content, WIDTHS[self.width]).astype(np.float32) / float(1 << (8 * self.width - 1))
        return values.reshape(-1, self.num_channels).mean(axis=1) if self.num_channels > 1 else values


def _fault(name: str, found: object, expected: str) -> Refusal:
    shown = "none" if found is None else str(found)[:40]
    return Refusal(422, f"{name}: {shown}; expected {expected}", code="invalid_value")
