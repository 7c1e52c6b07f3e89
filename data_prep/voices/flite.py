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

from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers, SynthesisError, speech_of_program

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


class Flite(RecordedSpeakers):
    """The program, run anew for each sentence: what it says never depends on what it said before."""

    def __init__(self, program: str, version: str, voices: Mapping[str, NaturalVoice]) -> None:
        super().__init__("flite", version, voices)
        self._program = program

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        voice = self.voice_for(text, delivery)
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
    installed = {name: voice for name, voice in VOICES.items() if name in listed}
    if not installed:
        raise SynthesisError(f"flite: none of its voices {', '.join(VOICES)} is installed; install flite again")
    return Flite(program, version, installed)
