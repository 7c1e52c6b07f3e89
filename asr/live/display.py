"""Shows what is recognised, as a person or a program reads it: a line a command on a terminal, or JSON lines."""

from __future__ import annotations

import json
import shutil
import unicodedata
from dataclasses import asdict, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from asr.live.session import FellAsleep, Heard, Woke
from asr.recognition.stream import Final, Partial, Rejected, SpeechBegan
from asr.recognizer import Transcription

QUIETEST_DB, METER_WIDTH = -60, 10
LEVEL_SECONDS = 0.1  # between two looks at the level
DIM, PLAIN, TO_END_OF_LINE = "\x1b[2m", "\x1b[0m", "\x1b[K"
NAMES = {SpeechBegan: "speech_began", Partial: "partial", Final: "final", Rejected: "rejected", Woke: "woke"}


@runtime_checkable
class TextOutput(Protocol):
    """A terminal, a file or a pipe, as far as it is needed here."""

    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...


@runtime_checkable
class Display(Protocol):
    """Shows what happens while it happens."""

    def show(self, event: Heard) -> None: ...

    def show_level(self, samples: Float[np.ndarray, " _"], *, sample_rate: int) -> None: ...

    def close(self) -> None: ...


class JSONLines:
    """One object a line for each event, with its kind under `event` and times in seconds from the first sample."""

    def __init__(self, out: TextOutput) -> None:
        self._out = out

    def show(self, event: Heard) -> None:
        print(json.dumps(as_json(event), ensure_ascii=False), file=self._out, flush=True)

    def show_level(self, samples: Float[np.ndarray, " _"], *, sample_rate: int) -> None:
        """Levels are for eyes."""

    def close(self) -> None:
        """Nothing is left open."""


def as_json(event: Heard) -> dict[str, Any]:
    """Returns an event as JSON types, numbers with four digits after the point."""
    kind = {"event": NAMES.get(type(event), "fell_asleep")}
    if not isinstance(event, Final | Rejected):
        return kind | {key: _rounded(value) for key, value in asdict(event).items()}
    found = event.result
    words = [replace(word, start=word.start + event.start, end=word.end + event.start) for word in found.words]
    values = {
        "start": event.start,
        "end": event.end,
        "reason": event.reason,
        "text": found.text,
        "confidence": found.confidence,
        "words": [asdict(word) for word in words],
    }
    command = found.command
    if command is not None:
        values |= {"intent": command.intent, "slots": command.slots, "heard": command.heard}
        values["confidence"] = command.confidence
        values["alternatives"] = [asdict(guess) for guess in command.guesses]
    return kind | _rounded(values)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


class Lines:
    """A line a command; on a terminal also the level and the words so far, in place at its last line."""

    def __init__(self, out: TextOutput) -> None:
        self._out, self._is_terminal = out, out.isatty()
        self._words = ""
        self._level = QUIETEST_DB
        self._num_measured = 0

    def show(self, event: Heard) -> None:
        if isinstance(event, Partial):
            stable, rest = " ".join(event.words[: event.num_stable]), " ".join(event.words[event.num_stable :])
            self._words = f"{stable} {DIM}{rest}{PLAIN}" if rest else stable
        elif isinstance(event, SpeechBegan):
            self._words = "..."
        else:
            self._words = ""
            if line := as_line(event):
                self._erase()
                print(line, file=self._out, flush=True)
        self._show_last_line()

    def show_level(self, samples: Float[np.ndarray, " _"], *, sample_rate: int) -> None:
        self._num_measured += len(samples)
        if not self._is_terminal or self._num_measured < LEVEL_SECONDS * sample_rate or not len(samples):
            return
        self._num_measured = 0
        self._level = decibels(samples)
        self._show_last_line()

    def close(self) -> None:
        self._erase()

    def _erase(self) -> None:
        if self._is_terminal:
            print(f"\r{TO_END_OF_LINE}", end="", file=self._out, flush=True)

    def _show_last_line(self) -> None:
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            text = cut_to(f"{meter(self._level)} {self._words.strip()}", columns - 1)
            print(f"\r{text}{PLAIN}{TO_END_OF_LINE}", end="", file=self._out, flush=True)


def as_line(event: Heard) -> str:
    """Returns what a person reads of an event; empty where there is nothing to say."""
    if isinstance(event, Woke):
        return f"{event.phrase}: yes?"
    if isinstance(event, FellAsleep):
        return "(no command followed)"
    if not isinstance(event, Final | Rejected):
        return ""
    found = event.result
    if found.command is None:
        return f"{found.text}  ({found.confidence:.2f})" if found.text else ""
    if isinstance(event, Final):
        return f"{_meaning(found)}  ({found.command.confidence:.2f})  {found.text}"
    nearest = f"; the nearest is: {found.command.guesses[0].text}" if found.command.guesses else ""
    return f"not understood: {found.command.heard or '(no words)'}{nearest}"


def _meaning(found: Transcription) -> str:
    assert found.command is not None
    slots = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in found.command.slots.items())
    return f"{found.command.intent} {slots}".strip()


def decibels(samples: Float[np.ndarray, " _"]) -> int:
    """Returns the level of samples, in decibels of a full-scale square wave, at least QUIETEST_DB."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    return max(QUIETEST_DB, round(10 * np.log10(max(power, 1e-12))))


def meter(level: int) -> str:
    """Returns a level as a bar: [######    ] -24 dB."""
    filled = min(METER_WIDTH, max(0, round(METER_WIDTH * (1 - level / QUIETEST_DB))))
    return f"[{'#' * filled}{' ' * (METER_WIDTH - filled)}] {level:3} dB"


def cut_to(text: str, columns: int) -> str:
    """Returns what fits on a line of a terminal; what colours it takes no room, and wide letters take two columns."""
    shown, place, room = "", 0, columns
    while place < len(text) and room > 0:
        if text[place] == "\x1b":
            end = text.index("m", place) + 1
        else:
            end = place + 1
            room -= 2 if unicodedata.east_asian_width(text[place]) in "WF" else 1
        shown, place = shown + text[place:end], end
    return shown
