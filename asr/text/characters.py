"""Characters as tokens."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from asr.section import Section
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


class CharTokenizer(PieceTokenizer):
    """One token a character, a space included; `decode(encode(text)) == text` where every character is known."""

    kind = "char"

    def __init__(self, characters: Sequence[str]) -> None:
        super().__init__([*SPECIAL_PIECES, *characters])
        self._ids = {character: index for index, character in enumerate(characters, start=NUM_SPECIAL)}

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> "CharTokenizer":
        path = folder / JSON_FILE
        characters = checked_pieces(path, description.get("pieces"))
        if not all(len(character) == 1 for character in characters):
            raise TokenizerError(f"{path}: 'pieces' holds more than single characters; expected one character a piece")
        return cls(characters)

    @property
    def digest(self) -> str:
        return sha256(json.dumps([self.kind, self._pieces]).encode())

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, UNKNOWN_ID) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.surface(index) for index in ids)

    def spellings(self, word: str, *, is_first: bool) -> list[list[int]]:
        """One: the word, and a space before it where it is not the first."""
        return [self.encode(word if is_first else f" {word}")]

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._ids.keys()

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder` (made if absent)."""
        write_description(folder, {"kind": self.kind, "pieces": self._pieces})


class CharTokenizerConfig(Section):
    """One token a character."""

    kind: Literal["char"] = "char"
    tokenizer: ClassVar[type[CharTokenizer]] = CharTokenizer

    def train(self, texts: Iterable[str]) -> CharTokenizer:
        """The characters of `texts` in code point order, so the order of the texts changes nothing."""
        characters = sorted({character for text in texts for character in text})
        if not characters:
            raise TokenizerError(
                "tokenizer: no text to learn characters from; the training manifest has no transcripts"
            )
        return CharTokenizer(characters)
