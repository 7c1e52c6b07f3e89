"""The nouns of corpus preparation: what a reader gives, what is left out, what is asked of an utterance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPLITS = ("train", "dev", "test")
TWO_TRANSCRIPTS = "listed with different transcripts"
# What somebody has to mend in the corpus: the program goes on, names it at the end, and ends with exit code 4.
BAD_FILE_REASONS = ("no such file", "unreadable", TWO_TRANSCRIPTS)


class CorpusError(ValueError):
    """A corpus, or options for it, that no manifests can be made from."""


class DownloadError(ValueError):
    """An archive that could not be fetched or extracted whole; the message starts with its address or file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Holds what a corpus says of an utterance, before its recording was looked at."""

    id: str
    audio: Path
    text: str
    speaker: str | None = None
    offset: float = 0.0  # seconds into the recording
    duration: float | None = None  # seconds; None: to the end of the recording
    extra: dict[str, Any] = field(default_factory=dict)
    place: str = ""  # where the corpus says so: "t.csv:3"


@dataclass(frozen=True, slots=True)
class Dropped:
    """An utterance that is left out, and why."""

    id: str
    audio: str
    reason: str  # the same words for all that share it
    detail: str = ""  # what was found in this one


@dataclass(frozen=True)
class Corpus:
    """The entries of each split, and what the reader itself left out."""

    splits: Mapping[str, list[Entry]]
    dropped: tuple[Dropped, ...] = ()
    shares_speakers: bool = False  # a speaker may be in two splits, by the corpus's own design
    notes: tuple[str, ...] = ()  # what the summary says beside its tables


@dataclass(frozen=True)
class Checks:
    """Says what an utterance must satisfy to be kept."""

    characters: str | None  # allowed in a transcript, beside the space
    keep_text: bool  # transcripts as they are, not normalised
    shortest: float  # seconds
    longest: float  # seconds
    lowest_rate: int  # hertz
    sample_rate: int | None  # hertz; None: any from `lowest_rate` up
    decode: bool  # read every sample, not only headers
    num_workers: int
    language: str | None = None  # of the numbers that are written out; None: digits stay
    root: Path | None = None  # the folder that no recording may be outside of, wherever links lead


@dataclass(frozen=True)
class Splitting:
    """Says how a corpus that comes in one piece is split."""

    by: str  # speaker, text or id: what stays together
    dev_share: float  # from 0 to below 1
    test_share: float
    language: str | None  # of the numbers that are written out; None: digits stay


@dataclass(frozen=True)
class Preparation:
    """Says where a corpus comes from, where its manifests go, and what is asked of its utterances."""

    corpus_dir: Path
    output_dir: Path
    checks: Checks
    allow_shared_speakers: bool
