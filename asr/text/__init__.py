"""Transcripts to token ids and back: characters, sentencepiece pieces (unigram or BPE), or phonemes.

A new tokenizer is a file of its own and a name in `TrainedTokenizerConfig`.

`special` is the one place that knows the ids of the special tokens. All tokenizers give them the same five ids,
so a head, a loss or a decoding imports the constants and never asks which tokenizer it serves.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from asr.files.packaged import locate
from asr.section import Section
from asr.text.characters import CharTokenizer, CharTokenizerConfig
from asr.text.phonemes import PhonemeTokenizer, PhonemeTokenizerConfig
from asr.text.sentencepieces import MODEL_FILE, WORD_START, SentencePieceTokenizer, SentencePieceTokenizerConfig
from asr.text.special import (
    BLANK_ID,
    BOS_ID,
    EOS_ID,
    JSON_FILE,
    NUM_SPECIAL,
    PAD_ID,
    SPECIAL_PIECES,
    UNKNOWN_ID,
    UNKNOWN_TEXT,
    Tokenizer,
    TokenizerError,
    read_description,
)

__all__ = [
    "BLANK_ID",
    "BOS_ID",
    "EOS_ID",
    "JSON_FILE",
    "MODEL_FILE",
    "NUM_SPECIAL",
    "PAD_ID",
    "SPECIAL_PIECES",
    "UNKNOWN_ID",
    "UNKNOWN_TEXT",
    "WORD_START",
    "CharTokenizer",
    "CharTokenizerConfig",
    "PhonemeTokenizer",
    "PhonemeTokenizerConfig",
    "RunTokenizerConfig",
    "SentencePieceTokenizer",
    "SentencePieceTokenizerConfig",
    "Tokenizer",
    "TokenizerConfig",
    "TokenizerError",
    "load_tokenizer",
]

TrainedTokenizerConfig = CharTokenizerConfig | SentencePieceTokenizerConfig | PhonemeTokenizerConfig
TOKENIZERS = {config.tokenizer.kind: config.tokenizer for config in get_args(TrainedTokenizerConfig)}


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `save` wrote into `folder`.

    Raises TokenizerError where the files are missing, damaged or of another layout of special tokens.
    """
    description = read_description(folder)
    kind = description.get("kind")
    if kind not in TOKENIZERS:
        expected = ", ".join(repr(known) for known in TOKENIZERS)
        raise TokenizerError(f"{folder / JSON_FILE}: unknown tokenizer kind {kind!r}; expected one of {expected}")
    return TOKENIZERS[kind].load(folder, description)


class RunTokenizerConfig(Section):
    """The tokenizer of another run, as it is: for a language model, or for tuning a model that starts from the run."""

    kind: Literal["run"] = "run"
    run: str = Field(description="the run folder, such as runs/bilstm_ctc, or a shipped model")

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """The texts do not matter."""
        return load_tokenizer(locate(self.run) / "tokenizer")


TokenizerConfig = Annotated[TrainedTokenizerConfig | RunTokenizerConfig, Field(discriminator="kind")]
