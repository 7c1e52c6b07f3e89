"""All tokenizers share this: the ids of the special tokens, and how they are kept in a folder."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from asr.files.checked_json import read_object
from asr.files.replacing import replacing

BLANK_ID = 0
PAD_ID = 1
UNKNOWN_ID = 2
BOS_ID = 3
EOS_ID = 4
SPECIAL_PIECES = ("<blank>", "<pad>", "<unknown>", "<bos>", "<eos>")
NUM_SPECIAL = len(SPECIAL_PIECES)

UNKNOWN_TEXT = "⁇"
"""What UNKNOWN_ID reads as in a transcript; the other special tokens read as nothing."""

JSON_FILE = "tokenizer.json"


class TokenizerError(ValueError):
    """A tokenizer cannot be trained, read or used as asked."""


@runtime_checkable
class Tokenizer(Protocol):
    """Has what every tokenizer gives; ids are 0 .. vocabulary_size - 1 and the first NUM_SPECIAL are special."""

    @property
    def pieces(self) -> list[str]:
        """The text of each token id, special tokens first."""
        ...

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that decides how text becomes ids; equal digests encode alike."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without bos or eos; what the vocabulary lacks is UNKNOWN_ID."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def spellings(self, word: str, *, is_first: bool) -> list[list[int]]:
        """Every way to write a word of a sentence in tokens, with what separates it from the word before."""
        ...

    def unknown_characters(self, text: str) -> set[str]:
        """The characters of `text` that the vocabulary lacks."""
        ...

    @property
    def written_characters(self) -> frozenset[str]:
        """The characters that a transcript of this tokenizer's can hold."""
        ...

    def save(self, folder: Path) -> None: ...


class PieceTokenizer:
    """The part of a tokenizer that is the same for all: a list of pieces, special ones first."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = list(pieces)

    @property
    def pieces(self) -> list[str]:
        return list(self._pieces)

    @property
    def vocabulary_size(self) -> int:
        return len(self._pieces)

    @property
    def written_characters(self) -> frozenset[str]:
        return frozenset("".join(self._pieces[NUM_SPECIAL:])) | {" "}

    def surface(self, index: int) -> str:
        """Returns what a token adds to a transcript; raises TokenizerError where there is no such token."""
        if not 0 <= index < len(self._pieces):
            raise TokenizerError(
                f"tokenizer: token id {index} is outside the vocabulary; expected 0 to {len(self._pieces) - 1}"
            )
        if index < NUM_SPECIAL:
            return UNKNOWN_TEXT if index == UNKNOWN_ID else ""
        return self._pieces[index]


def read_description(folder: Path) -> dict[str, Any]:
    """The contents of a saved tokenizer's JSON file."""
    path = folder / JSON_FILE
    try:
        return read_object(path, _Description, error=TokenizerError, remedy="copy the tokenizer again from its run")
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no such file; expected a tokenizer written by training") from None


class _Description(BaseModel):
    """Says what the JSON files of all tokenizers may hold; each kind says what of it must be there."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    kind: str
    pieces: list[str] | None = None
    lexicon: dict[str, str] | None = None
    language: str | None = None
    accents: list[str] | None = None
    replacements: dict[str, str] | None = None
    sha256: str | None = None


def checked_pieces(path: Path, pieces: Any) -> list[str]:
    """The pieces of a tokenizer without the special ones, or an error that says what is wrong with them."""
    if not isinstance(pieces, list) or tuple(pieces[:NUM_SPECIAL]) != SPECIAL_PIECES:
        raise TokenizerError(f"{path}: 'pieces' does not start with the special tokens; expected {SPECIAL_PIECES}")
    ordinary = pieces[NUM_SPECIAL:]
    if not all(isinstance(piece, str) and piece for piece in ordinary):
        raise TokenizerError(f"{path}: 'pieces' holds more than texts; expected one text a piece")
    if len(set(ordinary)) != len(ordinary):
        raise TokenizerError(f"{path}: 'pieces' names a piece twice; expected each once")
    return ordinary


def write_description(folder: Path, content: dict[str, Any]) -> None:
    write_file(folder, JSON_FILE, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def write_file(folder: Path, name: str, data: bytes) -> None:
    with replacing(folder / name) as beside:
        beside.write_bytes(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unspellable(words: set[str], tokenizer: Tokenizer) -> dict[str, str]:
    """The words that need characters the tokenizer lacks, each with those characters, sorted."""
    return {
        word: "".join(sorted(tokenizer.unknown_characters(word)))
        for word in sorted(words)
        if tokenizer.unknown_characters(word) or UNKNOWN_ID in tokenizer.encode(word)
    }
