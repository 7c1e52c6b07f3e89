"""Listens: opens a model and a source, and shows what is recognised until there is no more, or until Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from asr.config.reading import ConfigError, apply_override, check_section
from asr.files.packaged import locate, shipped_models
from asr.live.config import ListenConfig
from asr.live.display import Display, JSONLines, Lines
from asr.live.session import Session, with_wake_phrases
from asr.live.sources import open_source
from asr.process.distributed import set_num_threads
from asr.process.runtime import EXIT_OK
from asr.recognizer import Recognizer

DEFAULT_MODEL = "english"  # of those that are shipped
HOW_TO_TALK = "press Enter to speak, and Enter again when you have spoken; Ctrl-C ends"


def run(values: dict[str, Any], overrides: Sequence[str]) -> int:
    """Listens as these options and overrides say; returns the exit code.

    Raises ConfigError with every fault of theirs, SourceError where there is no audio, and what loading a recogniser
    and its commands raises.
    """
    config = read_options(values, overrides)
    set_num_threads(config.num_threads)
    recognizer = Recognizer.load(config.model, commands=config.commands, precision=config.precision)
    wake = with_wake_phrases(recognizer, config)
    rate = recognizer.feature_config.sample_rate
    display = JSONLines(sys.stdout) if config.json_lines else Lines(sys.stdout)
    with contextlib.closing(display), open_source(config, sample_rate=rate) as blocks:
        if config.push_to_talk:
            print(HOW_TO_TALK, file=sys.stderr, flush=True)
            talk(recognizer, blocks, display, config=config, presses=Presses(sys.stdin))
        else:
            listen_to(Session(recognizer, config, wake=wake), blocks, display)
    return EXIT_OK


def read_options(values: dict[str, Any], overrides: Sequence[str]) -> ListenConfig:
    """Returns the checked options; `overrides` are keys of ListenConfig, such as stream.silence=1.0."""
    values = dict(values)
    for override in overrides:
        apply_override(values, override)
    if "model" not in values:
        if DEFAULT_MODEL not in shipped_models():
            raise ConfigError(
                f"model: none given, and no model '{DEFAULT_MODEL}' is shipped; expected --model with a run folder of "
                "asr.train, such as recipes/barista_bilstm_ctc/model_finetuned"
            )
        values["model"] = DEFAULT_MODEL
    for key in ("model", "commands", "source"):
        if isinstance(values.get(key), str):
            values[key] = str(locate(values[key]))
    return check_section(values, ListenConfig, where="options")


def listen_to(session: Session, blocks: Iterable[np.ndarray], display: Display) -> None:
    """Shows what is recognised of all blocks."""
    for samples in blocks:
        for event in session.push(samples):
            display.show(event)
        display.show_level(samples, sample_rate=session.stream.sample_rate)
    for event in session.finish():
        display.show(event)


@runtime_checkable
class Pressed(Protocol):
    """Tells of presses of a key."""

    @property
    def is_over(self) -> bool: ...  # whether no more can come

    def take(self) -> bool: ...  # whether it was pressed, once for each time


class Presses:
    """Counts the lines of a terminal, each a press of Enter, in a thread of its own."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._number, self._is_over = lines, 0, False
        threading.Thread(target=self._count, name="Enter", daemon=True).start()

    def _count(self) -> None:
        for _ in self._lines:
            self._number += 1
        self._is_over = True

    @property
    def is_over(self) -> bool:
        return self._is_over

    def take(self) -> bool:
        """Returns whether Enter was pressed, once for each time."""
        was_pressed = self._number > 0
        self._number -= was_pressed
        return was_pressed


def talk(
    recognizer: Recognizer, blocks: Iterable[np.ndarray], display: Display, *, config: ListenConfig, presses: Pressed
) -> None:
    """Shows what is recognised from each press of Enter to the next, until its lines or the blocks end."""
    whole = config.model_copy(update={"stream": config.stream.model_copy(update={"detector": None})})
    session: Session | None = None
    for samples in blocks:
        if presses.take():
            for event in session.finish() if session else ():
                display.show(event)
            session = None if session else Session(recognizer, whole)
        elif presses.is_over and session is None:
            return
        for event in session.push(samples) if session else ():
            display.show(event)
        display.show_level(samples, sample_rate=recognizer.feature_config.sample_rate)
    for event in session.finish() if session else ():
        display.show(event)
