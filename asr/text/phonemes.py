"""Phonemes as tokens: what is said rather than how it is written."""

import copy
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from asr.section import Section
from asr.text.inventories import INVENTORIES, inventory_of, say
from asr.text.pronunciation import STRESS, PronunciationError, phonemes
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

    Tokens are the sounds of the training texts, or all those of the language (`inventories`).
    English spells one sound in many ways ("cappuccino", "choose"), so a model that learns phonemes can recognise a
    word that no recording of its training holds, from its pronunciation. Decoding writes each pronounced word as the
    most frequent training word that sounds so, and one that no training word sounds like in IPA: homophones are told
    apart by a grammar or a language model only.
    """

    kind = "phoneme"

    def __init__(
        self,
        symbols: Sequence[str],
        lexicon: Mapping[str, Sequence[str]],
        *,
        language: str,
        accents: Sequence[str] = (),
        replacements: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`lexicon` has the pronunciation of the training words, the most frequent first.

        `accents` are those in which the words of a grammar may be said besides `language`, and `replacements` say
        sounds that have no trained token with such as have one.
        """
        super().__init__([*SPECIAL_PIECES, *symbols])
        self._accents = [accent for accent in dict.fromkeys(accents) if accent != language]
        self._replacements = {sound: list(others) for sound, others in (replacements or {}).items()}
        self._spelled: dict[str, list[list[int]]] = {}
        self._ids = {symbol: index for index, symbol in enumerate(symbols, start=NUM_SPECIAL)}
        self._language = language
        self._lexicon = {word: list(sounds) for word, sounds in lexicon.items()}
        self._written = frozenset(character for word in lexicon for character in word) | {" "}
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
        return cls(
            symbols,
            {word: sounds.split() for word, sounds in lexicon.items()},
            language=str(description.get("language")),
            accents=description.get("accents") or (),
            replacements={sound: others.split() for sound, others in (description.get("replacements") or {}).items()},
        )

    @property
    def language(self) -> str:
        """The language of the pronunciations, as eSpeak NG calls it."""
        return self._language

    @property
    def digest(self) -> str:
        parts = [self.kind, self._pieces, self._language, list(self._lexicon.items())]
        return sha256(json.dumps(parts + [self._replacements] * bool(self._replacements)).encode())

    def encode(self, text: str) -> list[int]:
        """Token ids; a word of which eSpeak says nothing is UNKNOWN_ID, as is a phoneme that was never trained."""
        ids: list[int] = []
        for number, word in enumerate(text.split()):
            ids += [self._ids[BOUNDARY]] * (number > 0 and BOUNDARY in self._ids)
            if word not in self._encoded:
                self._encoded[word] = self._numbers(self._pronounce(word))
            ids += self._encoded[word]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        sounds = "".join(self.surface(index) for index in ids)
        return " ".join(self._words.get(word, word) for word in sounds.split())

    def spellings(self, word: str, *, is_first: bool) -> list[list[int]]:
        """Returns the word in each accent, with and without the boundary before it, which fluent speech has not."""
        if word not in self._spelled:
            plain = self.encode(word)
            further = [self._numbers(self._in_accent(word, accent)) for accent in self._accents]
            self._spelled[word] = [plain, *(other for other in further if other != plain and UNKNOWN_ID not in other)]
        spelled = self._spelled[word]
        if is_first or BOUNDARY not in self._ids:
            return [list(tokens) for tokens in spelled]
        return [tokens for plain in spelled for tokens in ([self._ids[BOUNDARY], *plain], list(plain))]

    def is_trained(self, word: str) -> bool:
        """Returns whether a training text has the word."""
        return word in self._lexicon

    def with_pronunciations(self, ways: Mapping[str, Sequence[str]]) -> "PhonemeTokenizer":
        """Returns a tokenizer that spells these words in these ways, as `tokens_of` reads them, the first if one."""
        changed = copy.copy(self)
        changed._spelled = {word: [self.tokens_of(way) for way in several] for word, several in ways.items()}
        changed._encoded = {word: spelled[0] for word, spelled in changed._spelled.items()}
        return changed

    def tokens_of(self, way: str) -> list[int]:
        """Returns the tokens of sounds in IPA between slashes, as /wɪn/, or of words, as they are pronounced alone.

        Raises TokenizerError if a sound has no token.
        """
        is_ipa = len(way) > 1 and way.startswith("/") and way.endswith("/")
        if not is_ipa:
            tokens = [token for word in way.split() for token in self.encode(word)]
            unknown = "" if tokens and UNKNOWN_ID not in tokens else way
        else:
            sounds, unknown = self._segment(STRESS.sub("", unicodedata.normalize("NFC", way[1:-1])))
            tokens = self._numbers(sounds)
        if unknown:
            known = " ".join(piece for piece in self._pieces[NUM_SPECIAL:] if piece != BOUNDARY)
            raise TokenizerError(
                f"'{way}' has the sound '{unknown}', which the model does not know; expected sounds of its own: {known}"
                if is_ipa
                else f"'{way}' has sounds that the model does not know; expected words that it can spell, or IPA"
            )
        return tokens

    def _segment(self, ipa: str) -> tuple[list[str], str]:
        """Returns the sounds of an IPA text, the longest that are known first, and the first that is not known."""
        inventory = inventory_of(self._language)
        replaced = {**(inventory.replacements(self._ids) if inventory else {}), **self._replacements}
        known = {unicodedata.normalize("NFC", sound): sound for sound in (*replaced, *self._ids) if sound != BOUNDARY}
        sounds: list[str] = []
        for group in re.split(r"[\s._]+", ipa):
            place = 0
            while place < len(group):
                ends = range(len(group), place, -1)
                found = next((group[place:end] for end in ends if group[place:end] in known), None)
                if found is None:
                    return sounds, group[place]
                place += len(found)
                sounds += replaced.get(known[found], [known[found]])
        return sounds, "" if sounds else ipa or "nothing"

    def unknown_characters(self, text: str) -> set[str]:
        """Returns, of words with a sound that has no token, the characters that no training word has, or else all."""
        words = [set(word) for word in text.split() if UNKNOWN_ID in self.encode(word)]
        return {character for word in words for character in word - self.written_characters or word}

    @property
    def written_characters(self) -> frozenset[str]:
        """Returns the characters of the training words; IPA stands only for what no word sounds like."""
        return self._written

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder` (made if absent)."""
        lexicon = {word: " ".join(sounds) for word, sounds in self._lexicon.items()}
        content = {"kind": self.kind, "language": self._language, "pieces": self._pieces, "lexicon": lexicon}
        if self._accents:
            content["accents"] = self._accents
        if self._replacements:
            content["replacements"] = {sound: " ".join(others) for sound, others in self._replacements.items()}
        write_description(folder, content)

    def _numbers(self, sounds: Sequence[str]) -> list[int]:
        return [self._ids.get(sound, UNKNOWN_ID) for sound in sounds] or [UNKNOWN_ID]

    def _in_accent(self, word: str, accent: str) -> list[str]:
        try:
            return say(phonemes([word], language=accent)[word], self._ids, self._replacements)
        except PronunciationError as error:
            raise TokenizerError(f"tokenizer: the word '{word}' cannot be pronounced in {accent}: {error}") from error

    def _pronounce(self, word: str) -> list[str]:
        known = self._lexicon.get(word) or self._further.get(word)
        if known is None:
            try:
                found = phonemes([word], language=self._language)[word]
            except PronunciationError as error:
                raise TokenizerError(f"tokenizer: the new word '{word}' cannot be pronounced: {error}") from error
            known = self._further[word] = say(found, self._ids, self._replacements)
        return known


class PhonemeTokenizerConfig(Section):
    """One token a phoneme of eSpeak NG's (`pip install 'earshot[synth]'`), for words that no recording holds."""

    kind: Literal["phoneme"] = "phoneme"
    tokenizer: ClassVar[type[PhonemeTokenizer]] = PhonemeTokenizer
    language: str = Field("en-us", description="eSpeak NG's voice for the pronunciations, such as en-us or de")

    inventory: Literal["text", "language"] = Field(
        "text",
        description="tokens for the sounds of the training texts, or for all sounds of the language (English), so that "
        "any grammar of it can be spelled; a sound that the texts lack is said as its nearest",
    )
    accents: list[str] = Field(
        [], description="further voices of eSpeak NG's whose pronunciations a grammar's words may have, such as en-gb"
    )

    def train(self, texts: Iterable[str]) -> PhonemeTokenizer:
        """The phonemes of the words of `texts`, or of the language; the order of the texts changes nothing."""
        counts = Counter(word for text in texts for word in text.split())
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if not words:
            raise TokenizerError("tokenizer: no text to learn phonemes from; the training manifest has no transcripts")
        lexicon = phonemes(words, language=self.language)
        if self.inventory == "language":
            return self._of_language(lexicon)
        symbols = sorted({sound for sounds in lexicon.values() for sound in sounds})
        return PhonemeTokenizer([BOUNDARY, *symbols], lexicon, language=self.language, accents=self.accents)

    def _of_language(self, lexicon: Mapping[str, list[str]]) -> PhonemeTokenizer:
        inventory = inventory_of(self.language)
        if inventory is None:
            raise TokenizerError(
                f"tokenizer.inventory: 'language' of '{self.language}', whose sounds are not listed; expected one of "
                f"{', '.join(INVENTORIES)}, or inventory: text and training texts that have all sounds"
            )
        whole = inventory.replacements(inventory.sounds)
        said = {word: say(sounds, inventory.sounds, whole) for word, sounds in lexicon.items()}
        trained = {sound for sounds in said.values() for sound in sounds}
        return PhonemeTokenizer(
            [BOUNDARY, *inventory.sounds],
            said,
            language=self.language,
            accents=self.accents,
            replacements=inventory.replacements(trained),
        )
