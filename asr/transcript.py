"""Holds what was recognised in a recording, as output formats write it: text, words with their times, and how sure they
are.

This is what the batch job carries from the recogniser to the writers, and what its journal keeps:

    Recognizer.transcripts(samples: Sequence[Float[ndarray, "sample"]]) -> list[Transcript]   one batch, own sample rate
    asr.transcription.segmentation    blocks of samples of one long recording -> Transcript
    asr.transcription.formats    Transcript -> txt, srt, TextGrid, ...
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word of a transcript, with its place in what was transcribed."""

    word: str
    start: float  # seconds from the beginning of what was transcribed
    end: float  # seconds; never before start, never after the transcript's duration
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Transcript:
    """Holds what was recognised in one channel of a recording, or of a stretch of it."""

    pred_text: str  # the words with single spaces; empty where none was heard
    confidence: float  # 0 to 1, of the whole; 0 where nothing was heard
    words: tuple[Word, ...]
    duration: float  # seconds of audio transcribed
    channel: int | None = None  # counted from 0; None: the mean of all channels
    command: dict[str, Any] | None = None  # what it means (CommandResult.to_dict), where the recogniser has commands
    warning: str | None = None  # what is the matter with the signal, where something is

    def with_channel(self, channel: int | None) -> Transcript:
        return replace(self, channel=channel)

    def to_dict(self) -> dict[str, Any]:
        """Returns the transcript as JSON types; `from_dict` gives it back."""
        words = [vars(word).copy() for word in self.words]  # asdict takes 20 times as long
        return {**vars(self), "words": words}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transcript:
        """Returns what `to_dict` gave, after a journey through JSON too."""
        words = tuple(Word(**word) for word in values["words"])
        return cls(**{**values, "words": words})
