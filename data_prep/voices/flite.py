"""flite, Carnegie Mellon's small synthesizer: four speakers that sound more like people than eSpeak's.

A program to install (`apt-get install flite`). slt, rms and awb are statistical models of recorded readers
(clustergen), kal16 is made of diphones; each has its own accent. 0.015 s of processor time a second of speech.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, NaturalVoice, SynthesisError, speech_of_program

# words_per_minute are those at which the same sentence takes eSpeak as long; pitch is the mean in hertz, None where
# flite lets nobody change it.
VOICES: Mapping[str, NaturalVoice] = MappingProxyType(
    {
        "awb": NaturalVoice("en-gb-scotland", words_per_minute=153, pitch=127),
        "kal16": NaturalVoice("en-us", words_per_minute=156, pitch=90),
        "rms": NaturalVoice("en-us", words_per_minute=131, pitch=None),
        "slt": NaturalVoice("en-us", words_per_minute=152, pitch=170),
    }
)


class Flite:
    """The program, run anew for each sentence: what it says never depends on what it said before."""

    def __init__(self, program: str, version: str, speakers: tuple[str, ...]) -> None:
        self._program, self._version, self._speakers = program, version, speakers

    @property
    def version(self) -> str:
        return self._version

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return (VOICES[speaker].accent,)

    def families(self) -> list[tuple[str, ...]]:
        return [(speaker,) for speaker in self._speakers]

    def unlike_people(self) -> frozenset[str]:
        return frozenset()

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        # flite takes an unknown voice for its default one and says nothing of it, and reads no words as a click.
        if delivery.speaker not in self._speakers:
            raise SynthesisError(f"flite: no speaker '{delivery.speaker}'; expected one of {', '.join(self._speakers)}")
        if not any(character.isalnum() for character in text):
            raise SynthesisError(f"flite: no sound for '{text}'; expected words it can pronounce")
        voice = VOICES[delivery.speaker]
        settings = ["--setf", f"duration_stretch={voice.stretch(delivery):.4f}"]
        if voice.pitch is not None:
            settings += ["--setf", f"int_f0_target_mean={voice.hertz(delivery):.2f}"]
        command = [self._program, "-voice", delivery.speaker, *settings, "-t", text, "-o"]
        return speech_of_program("flite", text, lambda target: [*command, str(target)])


@functools.cache
def load() -> Flite:
    """The installed program and those of its voices known here; SynthesisError where it is not installed."""
    program = shutil.which("flite")
    if program is None:
        raise SynthesisError("flite: the program is not installed; apt-get install flite, or do without this engine")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = next((line.split(":", 1)[1].strip() for line in said.splitlines() if "version:" in line), "flite")
    listed = subprocess.run([program, "-lv"], capture_output=True, text=True, check=False).stdout.split()
    speakers = tuple(name for name in VOICES if name in listed)
    if not speakers:
        raise SynthesisError(f"flite: none of its voices {', '.join(VOICES)} is installed; install flite again")
    return Flite(program, version, speakers)
