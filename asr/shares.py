"""What a job gives its workers, and what comes back: small enough to travel between processes and machines."""

from dataclasses import dataclass

from asr.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Item:
    """A recording to transcribe."""

    number: int  # in the job
    path: str
    offset: float = 0.0  # seconds
    duration: float | None = None  # seconds; None: to its end


@dataclass(frozen=True, slots=True)
class Share:
    """What a worker is given at a time, and what is done again where a worker dies."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording: a transcript of each channel asked for, or why there is none."""

    number: int  # in the job
    sha256: str = ""  # of the file's bytes
    size: int = 0  # bytes of the file
    seconds: float = 0.0  # of a worker's time
    transcripts: tuple[Transcript, ...] = ()
    error: str | None = None
    error_kind: str | None = None
