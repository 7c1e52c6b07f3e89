"""Speech synthesizers: one file each, behind one protocol; a new one is a file here and a name in `ENGINES`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32

ENGINES = ("espeak",)


class SynthesisError(ValueError):
    """Speech that cannot be made as asked."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a sentence is said."""

    speaker: str
    accent: str
    words_per_minute: int
    pitch: int  # 0 to 100; 50 is the speaker's own


class Engine(Protocol):
    """A synthesizer.

    What it makes may depend on what it made before in the same process (eSpeak NG's does), so callers speak in a fixed
    order in a fresh process.
    """

    @property
    def version(self) -> str:
        """Of the synthesizer and its data; other versions may sound different."""
        ...

    @property
    def accents(self) -> tuple[str, ...]: ...

    def families(self) -> list[tuple[str, ...]]:
        """All speakers; those that sound alike are together, so that they come into the same split."""
        ...

    def unlike_people(self) -> frozenset[str]:
        """Speakers such as robots: something to learn from, but nobody to be tested with."""
        ...

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        """Samples and their rate in hertz; SynthesisError where the engine cannot."""
        ...


def load_engine(name: str) -> Engine:
    """The synthesizer of that name, ready to speak; SynthesisError where what it needs is not installed."""
    return importlib.import_module(f"data_prep.voices.{name}").load()
