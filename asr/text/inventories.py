"""The sounds of a language: which have a token each, and how the others are said with these.

eSpeak NG writes more kinds of sounds than a model need tell apart: "about" begins with ɐ and "ago" with ə, which no
speaker does. Each kind of its own is learnt from its own words only, so what is one sound here has one token: then a
word that no training text has is spelled with tokens that were all learnt well.

English was made from the 8,900 words of 14,800 sentences to voice assistants (SLURP), the lexicon of speechocean762 and
the ARCTIC sentences, pronounced by eSpeak NG 1.52 in en-us (60 kinds of sounds) and en-gb (52). It keeps what tells
words apart in American English. German is of 2,300 words: python -m tests.programs.sounds_of_languages de. A further
language is one more entry of INVENTORIES, made likewise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MODIFIERS = re.compile("[ːˑʰʲʷˠˤ̃̈̊]")  # what a sound may lose and still be heard as much the same


@dataclass(frozen=True)
class Inventory:
    """The sounds of a language."""

    sounds: tuple[str, ...]  # each a token
    said_as: Mapping[str, str]  # other sounds of eSpeak NG's, each as sounds that have a token
    nearest: Mapping[str, tuple[str, ...]]  # by what an untrained sound may be replaced, the nearest first

    def replacements(self, trained: Collection[str]) -> dict[str, list[str]]:
        """Returns how each sound that was never trained is said with trained ones; what nothing is near to keeps its
        token.
        """
        found: dict[str, list[str]] = {}
        for sound in self.sounds:
            if sound not in trained and (others := self._replaced(sound, trained, frozenset())):
                found[sound] = others
        for sound, others in self.said_as.items():
            found[sound] = [part for other in others.split() for part in found.get(other, [other])]
        return found

    def _replaced(self, sound: str, trained: Collection[str], seen: frozenset[str]) -> list[str]:
        for others in self.nearest.get(sound, ()):
            parts = others.split()
            if all(part in trained for part in parts):
                return parts
        for others in self.nearest.get(sound, ()):  # nothing near was trained: what is near to that
            further = [
                [part] if part in trained else self._further(part, trained, seen | {sound}) for part in others.split()
            ]
            if all(further):
                return [part for replaced in further for part in replaced]
        return []

    def _further(self, sound: str, trained: Collection[str], seen: frozenset[str]) -> list[str]:
        return [] if sound in seen else self._replaced(sound, trained, seen)


def say(sounds: Sequence[str], known: Collection[str], replacements: Mapping[str, Sequence[str]]) -> list[str]:
    """The sounds with each unknown one replaced; one of which nothing is known stays, and has no token."""
    said: list[str] = []
    for sound in sounds:
        plain = sound if sound in known or sound in replacements else _plain(sound)
        said += replacements.get(plain, [plain] if plain in known else [sound])
    return said


def _plain(sound: str) -> str:
    """The sound without marks of length, nasality and the like: nʲ is n."""
    return MODIFIERS.sub("", unicodedata.normalize("NFD", sound))


ENGLISH = Inventory(
    sounds=(
        "p", "b", "t", "d", "k", "ɡ", "f", "v", "θ", "ð", "s", "z", "ʃ", "ʒ", "h", "tʃ", "dʒ", "m", "n", "ŋ",
        "l", "ɹ", "j", "w", "ɾ",
        "ɪ", "i", "iː", "ɛ", "æ", "ə", "ɚ", "ɜː", "ʌ", "ɑː", "ɔː", "ʊ", "uː", "eɪ", "aɪ", "ɔɪ", "oʊ", "aʊ",
        "ɑːɹ", "ɔːɹ", "ɛɹ", "ɪɹ",
    ),
    said_as={
        # Weak vowels, and what differs by the spelling only.
        "ɐ": "ə", "ᵻ": "ɪ", "ɔ": "ɔː", "oː": "ɔː", "o": "oʊ", "e": "ɛ", "ɜ": "ɜː", "ɑ": "ɑː", "u": "uː", "r": "ɹ",
        # Several sounds under one name.
        "əl": "ə l", "l̩": "ə l", "n̩": "ə n", "m̩": "ə m", "aɪə": "aɪ ə", "aɪɚ": "aɪ ɚ", "iə": "i ə", "ʊɹ": "ʊ ɹ",
        "oːɹ": "ɔːɹ", "ɐɹ": "ɚ", "əɹ": "ɚ", "aɪʊ": "aɪ ʊ", "aʊə": "aʊ ə", "aʊɚ": "aʊ ɚ",
        # British sounds, as Americans say the same words or as the nearest that they have.
        "a": "æ", "ɒ": "ɑː", "əʊ": "oʊ", "eə": "ɛ ə", "ʊə": "ʊ ə", "aː": "ɑː", "ɪə": "ɪ ə", "ɛə": "ɛ ə", "uə": "uː ə",
        # "button", and sounds of foreign names.
        "ʔ": "t", "x": "k", "ç": "k", "nʲ": "n j", "ɲ": "n j", "ɬ": "l", "ɫ": "l", "ʁ": "ɹ", "y": "uː", "ø": "ɜː",
        "ɑ̃": "ɑː n", "ɔ̃": "ɔː n", "æ̃": "æ n", "ɛ̃": "æ n", "g": "ɡ", "ʍ": "w", "ts": "t s", "β": "v", "ɣ": "ɡ", "q": "k",
        "œ": "ɜː",
    },
    nearest={
        "p": ("b",), "b": ("p",), "t": ("d", "ɾ"), "d": ("t", "ɾ"), "k": ("ɡ",), "ɡ": ("k",), "f": ("v",), "v": ("f",),
        "θ": ("f", "s"), "ð": ("v", "d", "θ"), "s": ("z",), "z": ("s",), "ʃ": ("ʒ", "tʃ", "s"), "ʒ": ("ʃ", "dʒ", "z"),
        "tʃ": ("t ʃ", "dʒ"), "dʒ": ("d ʒ", "tʃ"), "m": ("n",), "n": ("m", "ŋ"), "ŋ": ("n",), "l": ("w",), "ɹ": ("l",),
        "j": ("i", "iː", "ɪ"), "w": ("uː", "ʊ", "v"), "ɾ": ("d", "t"), "ɪ": ("i", "iː"), "i": ("iː", "ɪ"),
        "iː": ("i", "ɪ"), "ɛ": ("æ", "eɪ"), "æ": ("ɛ",), "ə": ("ʌ", "ɪ"), "ɚ": ("ɜː", "ə ɹ"), "ɜː": ("ɚ", "ʌ ɹ"),
        "ʌ": ("ə", "ɑː"), "ɑː": ("ʌ", "ɔː"), "ɔː": ("ɑː", "oʊ"), "ʊ": ("uː", "ə"), "uː": ("ʊ",), "eɪ": ("ɛ ɪ", "ɛ"),
        "aɪ": ("ɑː ɪ", "ɑː i"), "ɔɪ": ("ɔː ɪ", "oʊ ɪ"), "oʊ": ("ɔː", "ə ʊ"), "aʊ": ("ɑː ʊ", "æ ʊ"),
        "h": ("f", "k"),
        "ɑːɹ": ("ɑː ɹ",), "ɔːɹ": ("ɔː ɹ",), "ɛɹ": ("ɛ ɹ",), "ɪɹ": ("ɪ ɹ",),
    },
)  # fmt: skip

GERMAN = Inventory(
    sounds=(
        "p", "b", "t", "d", "k", "ɡ", "f", "v", "s", "z", "ʃ", "ç", "x", "h", "ts", "tʃ", "m", "n", "ŋ", "l", "r", "ɾ",
        "j", "iː", "ɪ", "eː", "ɛ", "ɛː", "a", "ɑ", "ɑː", "ɔ", "oː", "ʊ", "uː", "yː", "ʏ", "øː", "œ", "ə", "ɜ",
        "aɪ", "aʊ", "ɔø",
    ),
    said_as={
        "pf": "p f", "dʒ": "tʃ", "ʒ": "ʃ", "ʊɐ": "ʊ ɜ", "ɐ": "ɜ", "ɔɪ": "ɔø", "i": "iː", "eɪ": "eː", "ɛɪ": "eː",
        "əʊ": "oː", "oʊ": "oː", "ɔː": "oː", "ɒ": "ɔ", "ʌ": "a", "æ": "ɛ", "ɹ": "r", "w": "v", "θ": "s", "ð": "z",
        "əl": "ə l", "ɨ": "ɪ", "ɜː": "œ", "eə": "ɛː", "iə": "iː ə",
    },
    nearest={"ɛː": ("eː", "ɛ"), "ɑ": ("a",), "ʏ": ("yː", "ɪ"), "œ": ("øː",), "ɾ": ("r",), "x": ("ç",), "tʃ": ("t ʃ",)},
)  # fmt: skip

INVENTORIES = {"en": ENGLISH, "de": GERMAN}


def inventory_of(language: str) -> Inventory | None:
    """The inventory of the language of which eSpeak NG's voice, such as en-us, speaks an accent."""
    return INVENTORIES.get(re.split("[-_]", language.lower())[0])
