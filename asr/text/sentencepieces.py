"""Sentencepiece pieces as tokens: unigram or BPE."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from asr.section import Section
from asr.text.special import (
    BLANK_ID,
    BOS_ID,
    EOS_ID,
    JSON_FILE,
    NUM_SPECIAL,
    PAD_ID,
    SPECIAL_PIECES,
    UNKNOWN_ID,
    PieceTokenizer,
    TokenizerError,
    sha256,
    write_description,
    write_file,
)

WORD_START = "▁"
"""Sentencepiece writes a space as this character (U+2581)."""

MODEL_FILE = "sentencepiece.model"
LARGEST_MODEL = 64 << 20  # bytes; 32,000 pieces take one


class SentencePieceTokenizer(PieceTokenizer):
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
        super().__init__([self._processor.id_to_piece(index) for index in range(len(self._processor))])
        self._characters = {character for piece in self._pieces[NUM_SPECIAL:] for character in piece} - {WORD_START}

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> "SentencePieceTokenizer":
        path, expected = folder / MODEL_FILE, description.get("sha256")
        try:
            with path.open("rb") as file:
                model = file.read(LARGEST_MODEL + 1)
        except FileNotFoundError:
            raise TokenizerError(f"{path}: no such file; expected the sentencepiece model of the run") from None
        if sha256(model) != expected:
            raise TokenizerError(
                f"{path}: SHA-256 is {sha256(model)}; expected {expected} as {JSON_FILE} says. "
                "The file is damaged or of another run: copy the tokenizer again"
            )
        if len(model) > LARGEST_MODEL:
            raise TokenizerError(f"{path}: more than {LARGEST_MODEL >> 20} MiB; expected a sentencepiece model")
        try:
            tokenizer = cls(model)
        except (RuntimeError, UnicodeDecodeError) as error:  # it cannot parse it, or a piece is no text
            raise TokenizerError(f"{path}: not a sentencepiece model ({error}); copy the tokenizer again") from None
        if tuple(tokenizer.pieces[:NUM_SPECIAL]) != SPECIAL_PIECES:
            found = tuple(tokenizer.pieces[:NUM_SPECIAL])
            raise TokenizerError(f"{path}: the special tokens are {found}; expected {SPECIAL_PIECES}")
        return tokenizer

    @property
    def digest(self) -> str:
        return sha256(self.kind.encode() + self._model)

    def encode(self, text: str) -> list[int]:
        # The marker typed in a transcript must not pass for a space; U+FFFF is no character and never in a vocabulary.
        return self._processor.encode(_tidy(text).replace(WORD_START, "\uffff"))

    def decode(self, ids: Sequence[int]) -> str:
        # `⁇y▁turn`: joining surfaces by hand keeps UNKNOWN_TEXT free of the spaces sentencepiece puts around it.
        return "".join(self.surface(index) for index in ids).replace(WORD_START, " ").removeprefix(" ")

    def spellings(self, word: str, *, is_first: bool) -> list[list[int]]:
        """One: the word, and a space before it where it is not the first."""
        return [self.encode(word if is_first else f" {word}")]

    def unknown_characters(self, text: str) -> set[str]:
        return set(_tidy(text)) - self._characters - {" "}

    @property
    def written_characters(self) -> frozenset[str]:
        return frozenset(self._characters) | {" "}

    def save(self, folder: Path) -> None:
        """Write `sentencepiece.model` and `tokenizer.json` (kind and checksum) into `folder` (made if absent)."""
        write_file(folder, MODEL_FILE, self._model)
        write_description(folder, {"kind": self.kind, "sha256": sha256(self._model)})


class SentencePieceTokenizerConfig(Section):
    """Pieces learned from the training transcripts."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    tokenizer: ClassVar[type[SentencePieceTokenizer]] = SentencePieceTokenizer
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
            normalization_rule_name="identity",  # asr.text.normalization has normalised already
            character_coverage=1.0,
            max_sentence_length=2**30,  # bytes; longer ones would be dropped
            num_threads=1,  # more would sum in another order each time
            minloglevel=2,
        )
        return model.getvalue()


def _tidy(text: str) -> str:
    return " ".join(text.split())
