"""eSpeak NG through its C library, which the package espeakng-loader brings: some hundred speakers of 130 languages.

speaker = a voice variant ("f2"), accent = a language's dialect ("en-gb-scotland"); the C API is in speak_lib.h of
https://github.com/espeak-ng/espeak-ng
"""

from __future__ import annotations

import ctypes
import functools
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.voices import Delivery, SynthesisError

ACCENTS = ("en-us", "en-us-nyc", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
NO_DICTIONARY = ("fo", "kaa", "xex")  # languages that espeakng-loader brings without their dictionaries
VOICE_NAMES = {"en-gb": "en"}  # where the library calls an accent otherwise

# Variants that differ less from each other (mean difference of normalised log-mels below 0.16) than, nearly, one
# sentence differs from itself when said again (0.09 to 0.12).
ALIKE = (
    ("adam", "benjamin", "caleb", "edward2", "klatt6", "mike2", "Reed"),
    ("edward", "klatt", "klatt2", "klatt3", "klatt4", "klatt5"),
    ("Diogo", "Henrique", "Hugo", "michel"),
    ("steph", "steph2", "steph3"),
    ("john", "Mr serious", "Tweaky"),
    ("Gene", "Gene2"),
    ("iven", "iven2"),
    ("robosoft2", "robosoft3"),
)
ROBOTS = ("UniRobot", "anikaRobot", *(f"robosoft{number}" for number in ("", *range(2, 9))))
UNLIKE_PEOPLE = ("croak", "Demonic", "AnxiousAndy", "whisper", "whisperf", *ROBOTS)

# Of speak_lib.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
PARAMETER_RATE, PARAMETER_VOLUME, PARAMETER_PITCH = 1, 2, 3

VOLUME = 50  # per cent; louder, many variants clip inside eSpeak


class Espeak:
    """The library, loaded and initialised; there is one in a process."""

    def __init__(self, library: ctypes.CDLL, data: Path, sample_rate: int) -> None:
        self._library, self._data, self._sample_rate = library, data, sample_rate
        self._pieces: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._collect)  # kept: the library holds no reference of its own
        library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        library.espeak_SetSynthCallback(self._callback)

    @property
    def version(self) -> str:
        self._library.espeak_Info.restype = ctypes.c_char_p
        path = ctypes.c_char_p()
        return "eSpeak NG " + self._library.espeak_Info(ctypes.byref(path)).decode()

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return (*ACCENTS, *self._other_languages)

    @functools.cached_property
    def _other_languages(self) -> tuple[str, ...]:
        """The voices of other languages, which the library knows by the names of their files."""
        names = sorted(path.name.lower() for path in (self._data / "lang").rglob("*") if path.is_file())
        return tuple(name for name in names if name.partition("-")[0] not in ("en", *NO_DICTIONARY))

    def families(self) -> list[tuple[str, ...]]:
        variants = sorted(path.name for path in (self._data / "voices" / "!v").iterdir())
        alike = {name for family in ALIKE for name in family}
        families = [*ALIKE, *((name,) for name in variants if name not in alike)]
        return sorted(tuple(name for name in family if name in variants) for family in families)

    def unlike_people(self) -> frozenset[str]:
        return frozenset(UNLIKE_PEOPLE)

    def speak(self, text: str, delivery: Delivery) -> tuple[Float32[np.ndarray, " sample"], int]:
        voice = f"{VOICE_NAMES.get(delivery.accent, delivery.accent)}+{delivery.speaker}"
        # eSpeak takes an unknown variant for none at all and says nothing of it.
        if not (self._data / "voices" / "!v" / delivery.speaker).is_file():
            raise SynthesisError(f"eSpeak NG: no speaker '{delivery.speaker}'; expected a variant such as f1 or Annie")
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SynthesisError(
                f"eSpeak NG: no voice '{voice}'; expected an accent of {', '.join(ACCENTS)} or a language"
            )
        self._library.espeak_SetParameter(PARAMETER_RATE, delivery.words_per_minute, 0)
        self._library.espeak_SetParameter(PARAMETER_PITCH, delivery.pitch, 0)
        self._library.espeak_SetParameter(PARAMETER_VOLUME, VOLUME, 0)
        # The noise in breathy voices is random, by the clock unless told otherwise.
        self._library.espeak_ng_SetRandSeed(zlib.crc32(f"{voice} {text}".encode()))
        self._pieces.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        # Without words it gives up to 60 ms of what rang on from before.
        if status != 0 or not self._pieces or not any(character.isalnum() for character in text):
            raise SynthesisError(f"eSpeak NG: no sound for '{text}' (status {status}); expected words it can pronounce")
        return np.concatenate(self._pieces).astype(np.float32) / 32768, self._sample_rate

    def _collect(self, samples: ctypes._Pointer, num_samples: int, events: int | None) -> int:
        if samples and num_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return 0  # go on


@functools.cache
def load() -> Espeak:
    """The library of espeakng-loader; SynthesisError where that is not installed or does not start."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise SynthesisError(
            "eSpeak NG: the package espeakng-loader is not installed; pip install 'earshot[synth]'"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = Path(espeakng_loader.get_data_path())
    folder = str(data.parent).encode()
    sample_rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, folder, INITIALIZE_DONT_EXIT)
    if sample_rate <= 0:
        raise SynthesisError(f"eSpeak NG: does not start with the data in {data}; install espeakng-loader again")
    return Espeak(library, data, sample_rate)
