"""SVOX Pico, once Android's synthesizer: a woman each for two accents of English, German, Spanish, French and Italian.

A program to install: `apt-get install libttspico-utils`, from Debian's non-free section, for its voices come without
their sources; Pico and its voices are under the Apache licence. 0.01 s of processor time a second of speech.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers, SynthesisError, speech_of_program

# words_per_minute and pitch as in flite.py. Pico calls a speaker by the language.
VOICES: Mapping[str, NaturalVoice] = MappingProxyType(
    {
        "en-GB": NaturalVoice("en-gb", words_per_minute=165, pitch=176),
        "en-US": NaturalVoice("en-us", words_per_minute=157, pitch=165),
        # Not measured: taken to be as fast and as high as the English ones.
        "de-DE": NaturalVoice("de", words_per_minute=160, pitch=170),
        "es-ES": NaturalVoice("es", words_per_minute=160, pitch=170),
        "fr-FR": NaturalVoice("fr", words_per_minute=160, pitch=170),
        "it-IT": NaturalVoice("it", words_per_minute=160, pitch=170),
    }
)
VERSION = "1.0"  # the program does not say


class Pico(RecordedSpeakers):
    """The program, run anew for each sentence: what it says never depends on what it said before."""

    def __init__(self, program: str) -> None:
        super().__init__("pico", VERSION, VOICES)
        self._program = program

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        voice = self.voice_for(text, delivery)
        assert voice.pitch is not None
        speed, pitch = 100 / voice.stretch(delivery), 100 * voice.hertz(delivery) / voice.pitch
        # It knows no entities, so what could be a mark of its own is taken out.
        plain = text.translate({ord("<"): " ", ord(">"): " "})
        marked = f"<speed level='{speed:.0f}'><pitch level='{pitch:.0f}'>{plain}</pitch></speed>"
        command = [self._program, "--lang", delivery.speaker, "--wave"]
        return speech_of_program("pico", text, lambda target: [*command, str(target), marked])


@functools.cache
def load() -> Pico:
    """The installed program; SynthesisError where it is not installed."""
    program = shutil.which("pico2wave")
    if program is None:
        raise SynthesisError(
            "pico: the program is not installed; apt-get install libttspico-utils, from Debian's non-free section, or "
            "do without this engine"
        )
    return Pico(program)
