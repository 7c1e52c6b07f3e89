"""Transcripts to token ids and back: characters, sentencepiece pieces (unigram or BPE), or phonemes.

`special` is the one place that knows the ids of the special tokens. All tokenizers give them the same five ids,
so a head, a loss or a decoding imports the constants and never asks which tokenizer it serves.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from asr.tokenizer.characters import CharTokenizer, CharTokenizerConfig
from asr.tokenizer.phonemes import PhonemeTokenizer, PhonemeTokenizerConfig
from asr.tokenizer.sentencepieces import (
    MODEL_FILE,
    WORD_START,
    SentencePieceTokenizer,
    SentencePieceTokenizerConfig,
)
from asr.tokenizer.special import (
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
    "SentencePieceTokenizer",
    "SentencePieceTokenizerConfig",
    "Tokenizer",
    "TokenizerConfig",
    "TokenizerError",
    "load_tokenizer",
]

TokenizerConfig = Annotated[
    CharTokenizerConfig | SentencePieceTokenizerConfig | PhonemeTokenizerConfig, Field(discriminator="kind")
]
TOKENIZERS = {tokenizer.kind: tokenizer for tokenizer in (CharTokenizer, SentencePieceTokenizer, PhonemeTokenizer)}


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
