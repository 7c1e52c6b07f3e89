"""A stretch of a recording: what manifests, jobs, workers, decoders and recognisers name when they speak of audio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """One channel of a part of a recording; small enough to travel between processes and machines."""

    path: str
    offset: float = 0.0  # seconds
    duration: float | None = None  # seconds; None: to the end
    channel: int | None = None  # counted from 0; None: the mean of all
