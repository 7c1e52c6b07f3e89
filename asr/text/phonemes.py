"""Phonemes as tokens: what is said rather than how it is written."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from asr.section import Section
from asr.text.pronunciation import PronunciationError, phonemes
from asr.text.special import (
    JSON_FILE,
    NUM_SPECIAL,
    SPECIAL_PIECES,
    UNKNOWN_ID,
    PieceTokenizer,
    TokenizerError,
    checked_pieces,
    sha256,
    write_description,
)

BOUNDARY = " "


class PhonemeTokenizer(PieceTokenizer):
    """One token a phoneme, and one between words; words are pronounced as eSpeak NG does.

    English spells one sound in many ways ("cappuccino", "choose"), so a model that learns phonemes can recognise a
    word that no recording of its training holds, from its pronunciation. Decoding writes each pronounced word as the
    most frequent training word that sounds so, and one that no training word sounds like in IPA: homophones are told
    apart by a grammar or a language model only.
    """

    kind = "phoneme"

    def __init__(self, symbols: Sequence[str], lexicon: Mapping[str, Sequence[str]], *, language: str) -> None:
        """`lexicon` has the pronunciation of the training words, the most frequent first."""
        super().__init__([*SPECIAL_PIECES, *symbols])
        self._ids = {symbol: index for index, symbol in enumerate(symbols, start=NUM_SPECIAL)}
        self._language = language
        self._lexicon = {word: list(sounds) for word, sounds in lexicon.items()}
        self._further: dict[str, list[str]] = {}  # words met since, as eSpeak says them
        self._encoded: dict[str, list[int]] = {}  # words met: a grammar asks for the same few again and again
        self._words: dict[str, str] = {}
        for word, sounds in self._lexicon.items():
            self._words.setdefault("".join(sounds), word)

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> "PhonemeTokenizer":
        path = folder / JSON_FILE
        symbols, lexicon = checked_pieces(path, description.get("pieces")), description.get("lexicon")
        if not isinstance(lexicon, dict) or not all(isinstance(sounds, str) for sounds in lexicon.values()):
            raise TokenizerError(f"{path}: 'lexicon' is damaged; expected each word with its phonemes")
        language = str(description.get("language"))
        return cls(symbols, {word: sounds.split() for word, sounds in lexicon.items()}, language=language)

    @property
    def language(self) -> str:
        """The language of the pronunciations, as eSpeak NG calls it."""
        return self._language

    @property
    def digest(self) -> str:
        return sha256(json.dumps([self.kind, self._pieces, self._language, list(self._lexicon.items())]).encode())

    def encode(self, text: str) -> list[int]:
        """Token ids; a word of which eSpeak says nothing is UNKNOWN_ID, as is a phoneme that was never trained."""
        ids: list[int] = []
        for number, word in enumerate(text.split()):
            ids += [self._ids[BOUNDARY]] * (number > 0 and BOUNDARY in self._ids)
            if word not in self._encoded:
                sounds = self._pronounce(word)
                self._encoded[word] = [self._ids.get(sound, UNKNOWN_ID) for sound in sounds] or [UNKNOWN_ID]
            ids += self._encoded[word]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        sounds = "".join(self.surface(index) for index in ids)
        return " ".join(self._words.get(word, word) for word in sounds.split())

    def spellings(self, word: str, *, is_first: bool) -> list[list[int]]:
        """Returns the word with and without the boundary before it: fluent speech has none to be heard."""
        plain = self.encode(word)
        return [plain] if is_first or BOUNDARY not in self._ids else [[self._ids[BOUNDARY], *plain], plain]

    def unknown_characters(self, text: str) -> set[str]:
        """The characters of the words that hold a sound without a token."""
        words = [word for word in text.split() if UNKNOWN_ID in self.encode(word)]
        return {character for word in words for character in word}

    @property
    def written_characters(self) -> frozenset[str]:
        """Those of the training words; IPA stands only for what no word sounds like."""
        return frozenset(character for word in self._lexicon for character in word) | {" "}

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder` (made if absent)."""
        lexicon = {word: " ".join(sounds) for word, sounds in self._lexicon.items()}
        content = {"kind": self.kind, "language": self._language, "pieces": self._pieces, "lexicon": lexicon}
        write_description(folder, content)

    def _pronounce(self, word: str) -> list[str]:
        known = self._lexicon.get(word) or self._further.get(word)
        if known is None:
            try:
                known = self._further[word] = phonemes([word], language=self._language)[word]
            except PronunciationError as error:
                raise TokenizerError(f"tokenizer: the new word '{word}' cannot be pronounced: {error}") from error
        return known


class PhonemeTokenizerConfig(Section):
    """One token a phoneme of eSpeak NG's (`pip install 'earshot[synth]'`), for words that no recording holds."""

    kind: Literal["phoneme"] = "phoneme"
    tokenizer: ClassVar[type[PhonemeTokenizer]] = PhonemeTokenizer
    language: str = Field("en-us", description="eSpeak NG's voice for the pronunciations, such as en-us or de")

    def train(self, texts: Iterable[str]) -> PhonemeTokenizer:
        """The phonemes of the words of `texts`; the order of the texts changes nothing."""
        counts = Counter(word for text in texts for word in text.split())
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if not words:
            raise TokenizerError("tokenizer: no text to learn phonemes from; the training manifest has no transcripts")
        lexicon = phonemes(words, language=self.language)
        symbols = sorted({sound for sounds in lexicon.values() for sound in sounds})
        return PhonemeTokenizer([BOUNDARY, *symbols], lexicon, language=self.language)
