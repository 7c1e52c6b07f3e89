"""A stream that is listened to, with a phrase to say first where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.grammar.importers import import_phrases, write_grammar_file
from asr.live.config import ListenConfig
from asr.recognition.stream import Event, Final, Rejected, SpeechBegan
from asr.recognizer import Recognizer, Transcription
from asr.runs.recognizer import open_run
from asr.understanding.result import CommandSearch

# Seconds without speech that end what may be a phrase: else it would have to be said into a long silence.
WAKE_SILENCES = {"silence_after_command": 0.2, "silence": 0.3, "silence_inside_command": 0.3}


@dataclass(frozen=True)
class Woke:
    """A phrase was said, and a command may follow."""

    phrase: str
    end: float  # seconds from the beginning, as in all events


@dataclass(frozen=True)
class FellAsleep:
    """No command followed the phrase in time."""

    end: float


Heard = Event[Transcription] | Woke | FellAsleep


class Session:
    """Recognises a source, piece by piece: everything, or what follows a phrase."""

    def __init__(self, recognizer: Recognizer, config: ListenConfig, *, wake: Recognizer | None = None) -> None:
        """`wake` is the same recogniser with the phrases for commands."""
        self._recognizer, self._wake, self._wake_seconds = recognizer, wake, config.wake_seconds
        self._awake_config = config.stream
        self._asleep_config = config.stream.model_copy(update=WAKE_SILENCES)
        self.stream = wake.stream(self._asleep_config) if wake else recognizer.stream(config.stream)
        self._awake_until: float | None = None
        self._is_speaking = False

    def push(self, samples: np.ndarray) -> Iterator[Heard]:
        """Yields what further samples bring."""
        for event in self.stream.push(samples):
            yield from self._pass_on(event)
        if self._awake_until is not None and not self._is_speaking and self.stream.seconds > self._awake_until:
            yield FellAsleep(self.stream.seconds)
            self._sleep()

    def finish(self) -> Iterator[Heard]:
        """Yields the last events."""
        for event in self.stream.finish():
            yield from self._pass_on(event)

    def _pass_on(self, event: Event[Transcription]) -> Iterator[Heard]:
        self._is_speaking = isinstance(event, SpeechBegan) or (self._is_speaking and not _ends(event))
        if self._wake is None:
            yield event
        elif self._awake_until is not None:
            yield event
            if isinstance(event, Final):
                self._sleep()
        elif isinstance(event, Final):
            self._awake_until = event.end + self._wake_seconds
            self.stream.recognizer, self.stream.config = self._recognizer, self._awake_config
            yield Woke(event.result.text, event.end)

    def _sleep(self) -> None:
        assert self._wake is not None
        self._awake_until = None
        self.stream.recognizer, self.stream.config = self._wake, self._asleep_config


def _ends(event: Event[Transcription]) -> bool:
    return isinstance(event, Final | Rejected)


def with_wake_phrases(recognizer: Recognizer, config: ListenConfig) -> Recognizer | None:
    """Returns the recogniser that knows the phrases alone; None where none are to be said.

    Phrases are those of a grammar's YAML file, of a file with one a line, or written with | between them. Raises
    GrammarError for what is none of these, SpellingError for words that the model cannot spell.
    """
    if config.wake is None:
        return None
    path, run = Path(config.wake), open_run(config.model)[0]
    if path.suffix in (".yaml", ".yml"):
        return recognizer.with_commands(CommandSearch.of_run(run, recognizer.tokenizer, path))
    with tempfile.TemporaryDirectory(prefix="wake-") as folder:
        phrases, grammar = Path(folder) / "wake_phrases.txt", Path(folder) / "wake_phrases.yaml"
        if not path.is_file():
            phrases.write_text("\n".join(config.wake.split("|")) + "\n", encoding="utf-8")
        write_grammar_file(grammar, import_phrases(path if path.is_file() else phrases), source="phrases")
        return recognizer.with_commands(CommandSearch.of_run(run, recognizer.tokenizer, grammar))
