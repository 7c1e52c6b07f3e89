"""Says how words sound, by eSpeak NG: the phonemes of its dictionary and rules in IPA."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Iterable

AUDIO_OUTPUT_SYNCHRONOUS, INITIALIZE_DONT_EXIT = 2, 0x8000  # of speak_lib.h
CHARS_UTF8, PHONEMES_IPA = 1, 0x02
SEPARATOR = "_"  # between phonemes, in the bits from the eighth on
OTHER_NAMES = {"no": "nb", "zh": "cmn"}  # as eSpeak NG calls languages
STRESS = re.compile("[ˈˌ]")
VOICE = re.compile(r"\([a-z-]+\)")  # before a foreign word, and after it: (en)tˈaɪmə(de)


class PronunciationError(ValueError):
    """Words cannot be pronounced."""


def pronounce(words: Iterable[str], *, language: str) -> dict[str, str]:
    """The IPA of each word, with stress, as eSpeak NG says it alone in this language."""
    library = _load(language)
    return {word: _phonemes(library, word, PHONEMES_IPA) for word in words}


def phonemes(words: Iterable[str], *, language: str) -> dict[str, list[str]]:
    """The phonemes of each word in IPA, without stress: "cappuccino" is k æ p uː tʃ iː n oʊ; none for no word."""
    library = _load(language)
    mode = PHONEMES_IPA | ord(SEPARATOR) << 8
    return {
        word: [part for part in re.split(f"[{SEPARATOR} -]", STRESS.sub("", _phonemes(library, word, mode))) if part]
        for word in words
    }


def _phonemes(library: ctypes.CDLL, word: str, mode: int) -> str:
    text = ctypes.create_string_buffer(word.encode())
    place = ctypes.c_void_p(ctypes.addressof(text))
    parts = []
    while place.value:  # a clause at a time, until it sets the place to none
        parts.append(library.espeak_TextToPhonemes(ctypes.byref(place), CHARS_UTF8, mode).decode())
    return " ".join(VOICE.sub(" ", "".join(parts)).split())


def _load(language: str) -> ctypes.CDLL:
    library = _start()
    # What has no voice of its region has that of its language: de-AT is said as de.
    family = re.split("[-_]", language.lower())[0]
    names = dict.fromkeys([language, language.replace("_", "-").lower(), OTHER_NAMES.get(family, family)])
    if not any(library.espeak_SetVoiceByName(name.encode()) == 0 for name in names if name):
        raise PronunciationError(
            f"language '{language}': eSpeak NG has no such voice; expected a code that it knows, such as en-us or de"
        )
    return library


@functools.cache
def _start() -> ctypes.CDLL:
    try:
        import espeakng_loader
    except ImportError as error:
        raise PronunciationError(
            "pronunciation: the package espeakng-loader is not installed; pip install 'earshot[synth]'"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    data = str(espeakng_loader.get_data_path()).removesuffix("espeak-ng-data").encode()
    if library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, INITIALIZE_DONT_EXIT) <= 0:
        raise PronunciationError("pronunciation: eSpeak NG does not start; install espeakng-loader again")
    return library
