"""Channels of a recording, such as both sides of a call, as one conversation: who said what, and when.

channel 0   hello      how are you          good
channel 1        hi there        fine thanks
turns       hello | hi there | how are you | fine thanks | good      who speaks at once with another keeps the turn
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asr.transcript import Transcript, Word

PAUSE = 0.5  # seconds without a word of the speaker, in which another may take the turn
LONGEST_PAUSE = 3.0  # seconds; a turn does not go on after a longer one


@dataclass(frozen=True)
class Turn:
    """Holds what one speaker said without giving way."""

    channel: int  # counted from 0; each has its own speaker
    words: tuple[Word, ...]  # at least one; their times are from the beginning of the recording

    @property
    def speaker(self) -> str:
        return f"channel {self.channel}"

    @property
    def start(self) -> float:
        """Returns seconds from the beginning of the recording."""
        return self.words[0].start

    @property
    def end(self) -> float:
        return max(word.end for word in self.words)

    @property
    def text(self) -> str:
        return " ".join(word.word for word in self.words)

    @property
    def confidence(self) -> float:
        """Returns the mean of its words', 0 to 1."""
        return sum(word.confidence for word in self.words) / len(self.words)


@dataclass(frozen=True)
class Conversation:
    """The turns of all channels, in the order in which they begin."""

    turns: tuple[Turn, ...]
    duration: float  # seconds of the longest channel
    warnings: tuple[str, ...] = ()  # what is the matter with channels

    @property
    def pred_text(self) -> str:
        """Returns the words of all turns, one turn after the other."""
        return " ".join(turn.text for turn in self.turns)

    @property
    def confidence(self) -> float:
        """Returns the mean of all words', 0 to 1; 0 where nothing was said."""
        words = [word for turn in self.turns for word in turn.words]
        return sum(word.confidence for word in words) / max(len(words), 1)


def merge(channels: Sequence[Transcript]) -> Conversation:
    """Returns the conversation of the transcripts of a recording's channels.

    A channel is cut where its speaker pauses for PAUSE seconds. What is cut is put in the order of its beginnings, and
    joined again where no other channel begins in between, unless the pause is longer than LONGEST_PAUSE. So a turn that
    is spoken over stays whole, and both are there with their times.
    """
    stretches = [stretch for transcript in channels for stretch in _stretches(transcript)]
    turns: list[Turn] = []
    for stretch in sorted(stretches, key=lambda each: (each.start, each.channel)):
        last = turns[-1] if turns else None
        if last and last.channel == stretch.channel and stretch.start - last.end <= LONGEST_PAUSE:
            turns[-1] = Turn(last.channel, last.words + stretch.words)
        else:
            turns.append(stretch)
    warnings = tuple(each.warning for each in channels if each.warning is not None)
    return Conversation(tuple(turns), max((each.duration for each in channels), default=0.0), warnings)


def _stretches(transcript: Transcript) -> list[Turn]:
    """Returns the words of one channel, cut at its pauses."""
    groups: list[list[Word]] = []
    for word in transcript.words:
        if groups and word.start - groups[-1][-1].end < PAUSE:
            groups[-1].append(word)
        else:
            groups.append([word])
    return [Turn(transcript.channel or 0, tuple(group)) for group in groups]


def turn_values(turn: Turn) -> dict[str, Any]:
    """Returns the turn as JSON types."""
    return {
        "speaker": turn.speaker,
        "channel": turn.channel,
        "start": round(turn.start, 3),
        "end": round(turn.end, 3),
        "text": turn.text,
        "confidence": round(turn.confidence, 4),
        "words": [
            {
                "word": word.word,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in turn.words
        ],
    }
