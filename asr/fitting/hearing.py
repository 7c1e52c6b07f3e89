"""Finds what a recogniser with commands understands of recordings, and whether it is what was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asr.audio.stretch import Stretch
from asr.data.manifest import Utterance
from asr.recognizer import Recognizer
from asr.tracking.bars import tracked
from asr.understanding.result import CommandResult
from asr.understanding.scoring import Labelled


def cut_stretches(item: Utterance, window: float) -> Iterator[Stretch]:
    """Yields equal pieces of an utterance, none longer than the window in seconds."""
    number = max(1, int(np.ceil(item.duration / window - 1e-6)))
    for piece in range(number):
        start = piece * item.duration / number
        yield Stretch(item.audio_filepath, item.offset + start, item.duration / number)


def understand(recognizer: Recognizer, stretches: Sequence[Stretch]) -> tuple[dict[int, CommandResult], list[str]]:
    """Returns the result of each stretch that can be read, and why the others cannot."""
    results: dict[int, CommandResult] = {}
    errors: list[str] = []
    durations = [stretch.duration or 0.0 for stretch in stretches]
    outcomes = recognizer.transcribe_stretches(stretches, durations)
    for outcome in tracked(outcomes, "recognising", total=len(stretches)):
        if outcome.transcription is not None and outcome.transcription.command is not None:
            results[outcome.index] = outcome.transcription.command
        else:
            errors.append(str(outcome.error))
    return dict(sorted(results.items())), errors


def is_understood_right(item: Utterance, result: CommandResult) -> bool:
    """Compares by intent and slots where the manifest has them, else by the text."""
    if "intent" in item.extra:
        return Labelled(item.extra["intent"], item.extra.get("slots") or {}, result, item.duration).is_guessed
    return bool(result.guesses) and result.guesses[0].text == item.text
