"""Transcripts to token ids and back: characters, or sentencepiece pieces (unigram or BPE).

This is the one place that knows the ids of the special tokens. Both tokenizers give them the same five ids,
so a head, a loss or a decoding imports the constants and never asks which tokenizer it serves.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from asr.files import replacing
from asr.section import Section

BLANK_ID = 0
PAD_ID = 1
UNKNOWN_ID = 2
BOS_ID = 3
EOS_ID = 4
SPECIAL_PIECES = ("<blank>", "<pad>", "<unknown>", "<bos>", "<eos>")
NUM_SPECIAL = len(SPECIAL_PIECES)

UNKNOWN_TEXT = "⁇"
"""What UNKNOWN_ID reads as in a transcript; the other special tokens read as nothing."""

WORD_START = "▁"
"""Sentencepiece writes a space as this character (U+2581)."""

JSON_FILE = "tokenizer.json"
MODEL_FILE = "sentencepiece.model"


class TokenizerError(ValueError):
    """A tokenizer cannot be trained, read or used as asked."""


@runtime_checkable
class Tokenizer(Protocol):
    """What every tokenizer gives; ids are 0 .. vocabulary_size - 1 and the first NUM_SPECIAL are special."""

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

    def unknown_characters(self, text: str) -> set[str]:
        """The characters of `text` that the vocabulary lacks."""
        ...

    def save(self, folder: Path) -> None: ...


class CharTokenizer:
    """One token a character, a space included; `decode(encode(text)) == text` where every character is known."""

    kind = "char"

    def __init__(self, characters: Sequence[str]) -> None:
        self._pieces = [*SPECIAL_PIECES, *characters]
        self._ids = {character: index for index, character in enumerate(characters, start=NUM_SPECIAL)}

    @property
    def pieces(self) -> list[str]:
        return list(self._pieces)

    @property
    def vocabulary_size(self) -> int:
        return len(self._pieces)

    @property
    def digest(self) -> str:
        return _sha256(json.dumps([self.kind, self._pieces]).encode())

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, UNKNOWN_ID) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(_surface(index, self._pieces) for index in ids)

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._ids.keys()

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder` (made if absent)."""
        _write(folder, JSON_FILE, _json_bytes({"kind": self.kind, "pieces": self._pieces}))


class SentencePieceTokenizer:
    """Sentencepiece pieces (Kudo and Richardson 2018, arXiv:1808.06226).

    `decode(encode(text)) == text` where every character is known and white space is as `normalize_transcript`
    leaves it: single spaces, none at the ends.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        """`model` is a serialized sentencepiece model whose special ids are the ones above."""
        from sentencepiece import SentencePieceProcessor

        self._model = model
        self._processor: Any = SentencePieceProcessor(model_proto=model)
        self._pieces = [self._processor.id_to_piece(index) for index in range(len(self._processor))]
        self._characters = {character for piece in self._pieces[NUM_SPECIAL:] for character in piece} - {WORD_START}

    @property
    def pieces(self) -> list[str]:
        return list(self._pieces)

    @property
    def vocabulary_size(self) -> int:
        return len(self._pieces)

    @property
    def digest(self) -> str:
        return _sha256(self.kind.encode() + self._model)

    def encode(self, text: str) -> list[int]:
        # The marker typed in a transcript must not pass for a space; U+FFFF is no character and never in a vocabulary.
        return self._processor.encode(_tidy(text).replace(WORD_START, "\uffff"))

    def decode(self, ids: Sequence[int]) -> str:
        # `⁇y▁turn`: joining surfaces by hand keeps UNKNOWN_TEXT free of the spaces sentencepiece puts around it.
        return "".join(_surface(index, self._pieces) for index in ids).replace(WORD_START, " ").removeprefix(" ")

    def unknown_characters(self, text: str) -> set[str]:
        return set(_tidy(text)) - self._characters - {" "}

    def save(self, folder: Path) -> None:
        """Write `sentencepiece.model` and `tokenizer.json` (kind and checksum) into `folder` (made if absent)."""
        _write(folder, MODEL_FILE, self._model)
        _write(folder, JSON_FILE, _json_bytes({"kind": self.kind, "sha256": _sha256(self._model)}))


class CharTokenizerConfig(Section):
    """One token a character."""

    kind: Literal["char"] = "char"

    def train(self, texts: Iterable[str]) -> CharTokenizer:
        """The characters of `texts` in code point order, so the order of the texts changes nothing."""
        characters = sorted({character for text in texts for character in text})
        if not characters:
            raise TokenizerError(
                "tokenizer: no text to learn characters from; the training manifest has no transcripts"
            )
        return CharTokenizer(characters)


class SentencePieceTokenizerConfig(Section):
    """Pieces learned from the training transcripts."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    model_type: Literal["unigram", "bpe"] = Field("unigram", description="how the pieces are chosen")
    vocabulary_size: int = Field(256, ge=NUM_SPECIAL + 1, description="tokens, the 5 special ones included")

    def train(self, texts: Iterable[str]) -> SentencePieceTokenizer:
        """Pieces of `texts`; the order of the texts changes nothing.

        Raises TokenizerError where the texts support fewer pieces than asked for (naming the most they support)
        or hold more characters than fit.
        """
        sentences = sorted(tidy for text in texts if (tidy := _tidy(text)))
        if not sentences:
            raise TokenizerError("tokenizer: no text to learn pieces from; the training manifest has no transcripts")
        characters = {character for sentence in sentences for character in sentence} - {" "}
        smallest = NUM_SPECIAL + 1 + len(characters)  # the special tokens, the word start, every character
        if self.vocabulary_size < smallest:
            raise TokenizerError(
                f"tokenizer.vocabulary_size: {self.vocabulary_size} is too small for the {len(characters)} characters "
                f"of the transcripts; the smallest possible is {smallest}"
            )
        tokenizer = SentencePieceTokenizer(self._fit(sentences))
        if missing := characters & tokenizer.unknown_characters("".join(characters)):
            raise TokenizerError(  # the trainer drops such a text without a word
                f"tokenizer: sentencepiece cannot learn {sorted(missing)!a}: '{WORD_START}', '▅', NUL and the names of "
                f"special tokens in a transcript are its own; take them out of the transcripts"
            )
        if tokenizer.vocabulary_size < self.vocabulary_size:
            raise TokenizerError(
                f"tokenizer.vocabulary_size: {self.vocabulary_size} is more than the transcripts support; "
                f"the largest possible is {tokenizer.vocabulary_size}"
            )
        return tokenizer

    def _fit(self, sentences: list[str]) -> bytes:
        """A serialized model of at most `vocabulary_size` pieces (a soft limit, so that the largest can be told)."""
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=self.model_type,
            vocab_size=self.vocabulary_size,
            hard_vocab_limit=False,
            control_symbols=[SPECIAL_PIECES[BLANK_ID]],  # takes the lowest id the next four leave free: 0
            pad_id=PAD_ID,
            unk_id=UNKNOWN_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_piece=SPECIAL_PIECES[PAD_ID],
            unk_piece=SPECIAL_PIECES[UNKNOWN_ID],
            bos_piece=SPECIAL_PIECES[BOS_ID],
            eos_piece=SPECIAL_PIECES[EOS_ID],
            normalization_rule_name="identity",  # asr.text has normalised already
            character_coverage=1.0,
            max_sentence_length=2**30,  # bytes; longer ones would be dropped
            num_threads=1,  # more would sum in another order each time
            minloglevel=2,
        )
        return model.getvalue()


TokenizerConfig = Annotated[CharTokenizerConfig | SentencePieceTokenizerConfig, Field(discriminator="kind")]


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `save` wrote into `folder`.

    Raises TokenizerError where the files are missing, damaged or of another layout of special tokens.
    """
    path = folder / JSON_FILE
    description = _read_json(path)
    kind = description.get("kind")
    if kind == CharTokenizer.kind:
        return CharTokenizer(_checked_pieces(path, description.get("pieces"))[NUM_SPECIAL:])
    if kind == SentencePieceTokenizer.kind:
        return _load_sentencepiece(folder / MODEL_FILE, description.get("sha256"))
    raise TokenizerError(f"{path}: unknown tokenizer kind {kind!r}; expected 'char' or 'sentencepiece'")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no such file; expected a tokenizer written by training") from None
    except ValueError as error:
        raise TokenizerError(f"{path}: not JSON ({error}); copy the tokenizer again from its run") from None
    if not isinstance(description, dict):
        raise TokenizerError(f"{path}: found a {type(description).__name__}; expected an object with 'kind'")
    return description


def _checked_pieces(path: Path, pieces: Any) -> list[str]:
    """The pieces of a character tokenizer, or an error that says what is wrong with them."""
    if not isinstance(pieces, list) or tuple(pieces[:NUM_SPECIAL]) != SPECIAL_PIECES:
        raise TokenizerError(f"{path}: 'pieces' does not start with the special tokens; expected {SPECIAL_PIECES}")
    characters = pieces[NUM_SPECIAL:]
    if not all(isinstance(character, str) and len(character) == 1 for character in characters):
        raise TokenizerError(f"{path}: 'pieces' holds more than single characters; expected one character a piece")
    if len(set(characters)) != len(characters):
        raise TokenizerError(f"{path}: 'pieces' names a character twice; expected each once")
    return pieces


def _load_sentencepiece(path: Path, sha256: Any) -> SentencePieceTokenizer:
    try:
        model = path.read_bytes()
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no such file; expected the sentencepiece model of the run") from None
    if _sha256(model) != sha256:
        raise TokenizerError(
            f"{path}: SHA-256 is {_sha256(model)}; expected {sha256} as {JSON_FILE} says. "
            "The file is damaged or of another run: copy the tokenizer again"
        )
    tokenizer = SentencePieceTokenizer(model)
    if tuple(tokenizer.pieces[:NUM_SPECIAL]) != SPECIAL_PIECES:
        found = tuple(tokenizer.pieces[:NUM_SPECIAL])
        raise TokenizerError(f"{path}: the special tokens are {found}; expected {SPECIAL_PIECES}")
    return tokenizer


def _surface(index: int, pieces: list[str]) -> str:
    if not 0 <= index < len(pieces):
        raise TokenizerError(f"tokenizer: token id {index} is outside the vocabulary; expected 0 to {len(pieces) - 1}")
    if index < NUM_SPECIAL:
        return UNKNOWN_TEXT if index == UNKNOWN_ID else ""
    return pieces[index]


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _write(folder: Path, name: str, data: bytes) -> None:
    with replacing(folder / name) as beside:
        beside.write_bytes(data)
