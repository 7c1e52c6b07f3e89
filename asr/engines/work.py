"""Defines what a job gives its workers and gets back: small enough to travel between processes and machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from asr.audio.stretch import Stretch
from asr.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Item:
    """A recording to transcribe."""

    number: int  # in the job
    stretch: Stretch


@dataclass(frozen=True, slots=True)
class Share:
    """Holds what a worker is given at a time, and what is done again where a worker dies."""

    items: tuple[Item, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as JSON types; `from_dict` gives it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Share:
        return cls(tuple(Item(item["number"], Stretch(**item["stretch"])) for item in values["items"]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Says what became of one recording: a transcript of each channel asked for, or why there is none."""

    number: int  # in the job
    sha256: str = ""  # of the file's bytes
    size: int = 0  # bytes of the file
    seconds: float = 0.0  # of a worker's time
    transcripts: tuple[Transcript, ...] = ()
    error: str | None = None
    error_kind: str | None = None
    sample_rate: int = 0  # hertz, the file's own

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as JSON types; `from_dict` gives it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Outcome:
        transcripts = tuple(Transcript.from_dict(each) for each in values["transcripts"])
        return cls(**{**values, "transcripts": transcripts})
