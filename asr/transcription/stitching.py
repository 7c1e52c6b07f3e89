"""Transcripts of the pieces of a recording, put together so that no word is lost or doubled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asr.transcript import Transcript, Word

APART = 0.5  # seconds between two hearings of a word that weigh as much as not to have heard it
UNLIKE = 0.7  # what two words weigh that are heard at one time, but not alike; not to have heard one weighs 1


@dataclass(frozen=True)
class Piece:
    """Holds what was recognised in a segment of a recording."""

    start: float  # seconds from the beginning of the recording
    overlap: float  # seconds at its beginning that the piece before it holds too
    transcript: Transcript  # its times are from the beginning of the piece


def join(pieces: Iterable[Piece], *, duration: float) -> Transcript:
    """Returns the transcript of a recording of so many seconds, of pieces in their order.

    A command's recording of one piece has that command; of several, `command` names each in `commands`, with `start`
    and `end` in seconds.
    """
    words: list[Word] = []
    commands: list[dict[str, Any]] = []
    for piece in pieces:
        heard = [_shifted(word, piece.start) for word in piece.transcript.words]
        if piece.overlap:
            words = stitch(words, heard, start=piece.start, end=piece.start + piece.overlap)
        else:
            words += heard
        if piece.transcript.command is not None:
            commands.append(_placed(piece.transcript.command, piece))
    following = [word.start for word in words[1:]] + [duration]
    # The windows' ideas of where a word ends may differ a little.
    words = [replace(word, end=max(word.start, min(word.end, limit))) for word, limit in zip(words, following)]
    return Transcript(
        pred_text=" ".join(word.word for word in words),
        confidence=round(sum(word.confidence for word in words) / max(len(words), 1), 4),
        words=tuple(words),
        duration=duration,
        command=_joined(commands),
    )


def stitch(before: Sequence[Word], after: Sequence[Word], *, start: float, end: float) -> list[Word]:
    """Returns the words of two windows whose overlap is from `start` to `end`, in seconds.

    A window hears badly what its edge cuts through. So the words of the overlap are aligned by time and spelling, and
    the first window's are taken up to a word near the middle, on which both agree where there is one, and the second's
    from there on:

        before   turn the light on pl
        after          he light on please now
                            ^ cut
    """
    known = sum(1 for word in before if word.end <= start)
    late = sum(1 for word in after if word.start < end)
    left, right = before[known:], after[:late]
    columns = _align(left, right)
    cut = min(range(len(columns) + 1), key=lambda place: _unsureness(columns, place, start=start, end=end))
    return [
        *before[:known],
        *(one for one, _ in columns[:cut] if one is not None),
        *(other for _, other in columns[cut:] if other is not None),
        *after[late:],
    ]


Column = tuple[Word | None, Word | None]  # a word as both windows heard it, or one of them


def _align(left: Sequence[Word], right: Sequence[Word]) -> list[Column]:
    """Returns the cheapest way to pair the words of two windows or to leave them alone, in order (Wagner and Fischer
    1974). Words that are left alone stand in the order of their times, whichever window heard them.
    """
    costs = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    moves: list[list[tuple[int, int]]] = [[(0, 0)] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) + 1):
        for j in range(len(right) + 1):
            ways = []
            if i and j:
                ways.append((costs[i - 1][j - 1] + _distance(left[i - 1], right[j - 1]), -math.inf, (1, 1)))
            if i:
                ways.append((costs[i - 1][j] + 1.0, -_middle(left[i - 1]), (1, 0)))
            if j:
                ways.append((costs[i][j - 1] + 1.0, -_middle(right[j - 1]), (0, 1)))
            if ways:
                costs[i][j], _, moves[i][j] = min(ways)  # of equal ones that which ends with the later word
    columns: list[Column] = []
    i, j = len(left), len(right)
    while i or j:
        from_left, from_right = moves[i][j]
        columns.append((left[i - 1] if from_left else None, right[j - 1] if from_right else None))
        i, j = i - from_left, j - from_right
    return columns[::-1]


def _distance(one: Word, other: Word) -> float:
    return abs(_middle(one) - _middle(other)) / APART + UNLIKE * (one.word != other.word)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _unsureness(columns: Sequence[Column], place: int, *, start: float, end: float) -> float:
    """Returns how bad it is to go over to the second window before this column."""
    beside = [columns[number] for number in (place - 1, place) if 0 <= number < len(columns)]
    times = [_middle(word) for column in beside for word in column if word is not None]
    time = sum(times) / len(times) if times else (start + end) / 2
    doubtful = sum(1 for one, other in beside if one is None or other is None or one.word != other.word)
    return abs(2 * time - start - end) / (end - start) + 0.5 * doubtful + 0.5 * (2 - len(beside))


def _shifted(word: Word, seconds: float) -> Word:
    return replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))


def _placed(command: dict[str, Any], piece: Piece) -> dict[str, Any]:
    """Returns a command with its place in the recording."""
    words = [
        {**word, "start": round(word["start"] + piece.start, 3), "end": round(word["end"] + piece.start, 3)}
        for word in command["words"]
    ]
    end = round(piece.start + piece.transcript.duration, 3)
    return {**command, "words": words, "start": round(piece.start, 3), "end": end}


def _joined(commands: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if len(commands) < 2:
        return commands[0] if commands else None
    understood = [each for each in commands if each["understood"]]
    return {
        "understood": bool(understood),
        "text": " ".join(each["text"] for each in understood),
        "intent": None,
        "slots": {},
        "commands": list(commands),
    }
