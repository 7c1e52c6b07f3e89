"""Tries a grammar on recordings: what each means, and what else it could have meant, without any training."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asr.audio.reading import AudioError
from asr.process.distributed import set_num_threads
from asr.recognizer import Recognizer, as_transcript
from asr.tryout.model import choose_model
from asr.understanding.result import CommandGuess, CommandResult


def run(grammar: Path, recordings: Sequence[Path], *, model: str | None, as_json: bool, num_threads: int) -> bool:
    """Prints what each recording means in the grammar; returns whether all of them could be read."""
    set_num_threads(num_threads)
    folder = choose_model(model, grammar)
    recognizer = Recognizer.load(folder, commands=grammar)
    if not as_json:
        print(_introduction(recognizer, folder))
    is_whole = True
    for recording in recordings:
        try:
            found = recognizer.transcribe(recording)
        except AudioError as error:
            print(f"not read: {error}", file=sys.stderr)
            is_whole = False
            continue
        assert found.command is not None
        command = as_transcript(found, float("inf")).command
        if as_json:
            line: dict[str, Any] = {"audio_filepath": str(recording), "model": str(folder), "command": command}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print("\n".join(_lines(recording, found.command)), flush=True)
    return is_whole


def _introduction(recognizer: Recognizer, folder: Path) -> str:
    search = recognizer.commands
    assert search is not None
    return f"{search.grammar.path}: {search.graph.num_sentences:,} sentences, by {folder}; {search.basis}"


def _lines(recording: Path, found: CommandResult) -> Iterator[str]:
    best, *others = found.guesses or (None,)
    if found.understood and best is not None:
        yield f"{recording}: {_meaning(best)}  confidence {found.confidence:.3f}"
        yield f"    {best.text}"
        yield from (f"    or: {_guess(other)}" for other in others)
        return
    if best is None or not found.heard:
        yield f"{recording}: not understood; {'nothing was heard' if not found.heard else 'too short for a command'}"
        return
    yield f"{recording}: not understood  confidence {found.confidence:.3f}"
    yield f"    heard: {found.heard}"
    yield f"    nearest: {_guess(best)}"


def _guess(guess: CommandGuess) -> str:
    return f"{_meaning(guess)}  {guess.text}  score {guess.score:.2f}"


def _meaning(guess: CommandGuess) -> str:
    return f"{guess.intent} {json.dumps(guess.slots, ensure_ascii=False, sort_keys=True)}"
