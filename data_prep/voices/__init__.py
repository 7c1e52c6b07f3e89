"""Speech synthesizers: one file each, behind one protocol; a new one is a file here and a name in `ENGINES`."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from asr.audio.reading import AudioError, read_audio, read_info

ENGINES = ("espeak", "flite", "festival", "pico", "hibari", "kokoro", "piper")
MAX_SECONDS = 60  # that a synthesizer's program may take for one sentence
OCTAVES = 0.7  # from pitch 50 to 100 and to 0, as eSpeak NG's

# Voices of several engines made from recordings of one person; "*" is every speaker of an engine.
SAME_PERSON = (
    frozenset({"flite/kal16", "festival/kal_diphone"}),
    frozenset({"flite/slt", "festival/cmu_us_slt_arctic_hts"}),
    frozenset({"hibari/*", "kokoro/af_heart"}),
)


def people_of(engine: str, speaker: str) -> frozenset[str]:
    """Returns whom a speaker is made of, as ENGINE/SPEAKER: a blend "af_sky=0.6+am_adam=0.4" is made of its parts.

    A person in the voices of several engines has one of their names.
    """
    names = [f"{engine}/{part.partition('=')[0]}" for part in speaker.split("+")]
    return frozenset(next((min(each) for each in SAME_PERSON if {name, f"{engine}/*"} & each), name) for name in names)


class SynthesisError(ValueError):
    """Speech that cannot be made as asked."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Says how a sentence is said."""

    speaker: str  # as the engine calls it
    accent: str
    words_per_minute: int
    pitch: int  # 0 to 100; 50 is the speaker's own


@dataclass(frozen=True, slots=True)
class NaturalVoice:
    """A speaker made from recordings, with the accent, the speed and the mean pitch in hertz these had."""

    accent: str
    words_per_minute: int
    pitch: int | None  # None where it cannot be changed

    def stretch(self, delivery: Delivery) -> float:
        """Returns how much longer than by nature the speech takes."""
        return self.words_per_minute / delivery.words_per_minute

    def hertz(self, delivery: Delivery) -> float:
        """The mean pitch asked for; only of a voice that has one."""
        assert self.pitch is not None
        return self.pitch * 2 ** (OCTAVES * (delivery.pitch - 50) / 50)


class Engine(Protocol):
    """A synthesizer.

    What it makes may depend on what it made before in the same process (eSpeak NG's does), so callers speak in a fixed
    order in a fresh process.
    """

    @property
    def version(self) -> str:
        """Returns the version of the synthesizer and its data; other versions may sound different."""
        ...

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        """The accents in which that speaker can speak."""
        ...

    def families(self) -> list[tuple[str, ...]]:
        """All speakers; those that sound alike are together, so that they come into the same split."""
        ...

    def unlike_people(self) -> frozenset[str]:
        """Speakers such as robots: something to learn from, but nobody to be tested with."""
        ...

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        """Samples and their rate in hertz; SynthesisError where the engine cannot."""
        ...


class RecordedSpeakers:
    """The part of an engine that is the same for all whose speakers were recorded: each has one accent of its own."""

    def __init__(self, name: str, version: str, voices: Mapping[str, NaturalVoice]) -> None:
        self.name, self.voices, self._version = name, voices, version

    @property
    def version(self) -> str:
        return self._version

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return (self.voices[speaker].accent,)

    def families(self) -> list[tuple[str, ...]]:
        return [(speaker,) for speaker in self.voices]

    def unlike_people(self) -> frozenset[str]:
        return frozenset()

    def voice_for(self, text: str, delivery: Delivery) -> NaturalVoice:
        """The speaker's voice. Raises SynthesisError for a speaker there is not, and for a text without words.

        The programs take an unknown speaker for their default one, and without words click, die or write no samples.
        """
        if delivery.speaker not in self.voices:
            expected = ", ".join(self.voices)
            raise SynthesisError(f"{self.name}: no speaker '{delivery.speaker}'; expected one of {expected}")
        if not any(character.isalnum() for character in text):
            raise SynthesisError(f"{self.name}: no sound for '{text}'; expected words it can pronounce")
        return self.voices[delivery.speaker]


LANGUAGE_NAMES = {"no": "nb", "zh": "cmn", "iw": "he", "in": "id"}  # as grammars call what engines call otherwise


def accents_in(accents: Iterable[str], language: str) -> tuple[str, ...]:
    """Returns the accents of a language: of en-GB the British, where there are any, else all of English."""
    wanted = language.lower().replace("_", "-")
    family, _, region = wanted.partition("-")
    family = LANGUAGE_NAMES.get(family, family)
    of_family = tuple(each for each in accents if each.lower().partition("-")[0] == family)
    narrow = f"{family}-{region}"
    of_region = tuple(each for each in of_family if region and f"{each.lower()}-".startswith(f"{narrow}-"))
    return of_region or of_family


class InLanguage:
    """An engine's speakers of one language alone. Raises SynthesisError where there are none."""

    def __init__(self, name: str, engine: Engine, language: str) -> None:
        self._engine, self._language = engine, language
        if not self.families():
            speakers = [speaker for family in engine.families() for speaker in family]
            accents = {accent for speaker in speakers for accent in engine.accents_of(speaker)}
            spoken = ", ".join(sorted({accent.lower().partition("-")[0] for accent in accents}))
            raise SynthesisError(
                f"{name}: no voice in language '{language}'; expected one of {spoken}; choose another engine by "
                f"--engines, such as espeak"
            )

    @property
    def version(self) -> str:
        return self._engine.version

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return accents_in(self._engine.accents_of(speaker), self._language)

    def families(self) -> list[tuple[str, ...]]:
        families = [tuple(each for each in family if self.accents_of(each)) for family in self._engine.families()]
        return [family for family in families if family]

    def unlike_people(self) -> frozenset[str]:
        return self._engine.unlike_people()

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        return self._engine.speak(text, delivery)


def load_engine(name: str) -> Engine:
    """The synthesizer of that name, ready to speak; SynthesisError where what it needs is not installed."""
    return importlib.import_module(f"data_prep.voices.{name}").load()


def speech_of_program(
    name: str, text: str, command: Callable[[Path], list[str]]
) -> tuple[Float32[np.ndarray, " sample"], int]:
    """Run a synthesizer's program that writes a sentence to a file: samples and their rate in hertz."""
    with TemporaryDirectory(prefix=name) as folder:
        target = Path(folder) / "speech.wav"
        try:
            said = subprocess.run(
                command(target), capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise SynthesisError(f"{name}: '{text}': no end after {MAX_SECONDS} s; expected speech") from error
        return read_speech(target, f"{name}: '{text}': {said.stderr.strip()[-200:]}")


def read_speech(path: Path, where: str) -> tuple[Float32[np.ndarray, " sample"], int]:
    """Returns what a synthesizer's program wrote: samples and their rate in hertz; SynthesisError where it is no
    speech.
    """
    try:
        return read_audio(path, sample_rate=None), read_info(path).sample_rate
    except AudioError as error:
        raise SynthesisError(f"{where}: {error}; expected speech; see whether the program works by hand") from error
