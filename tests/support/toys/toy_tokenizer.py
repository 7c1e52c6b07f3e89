"""Characters by another name."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from asr.section import Section
from asr.text.characters import CharTokenizer


class ToyTokenizer(CharTokenizer):
    kind = "toy"


class ToyTokenizerConfig(Section):
    kind: Literal["toy"] = "toy"
    tokenizer: ClassVar[type[ToyTokenizer]] = ToyTokenizer

    def train(self, texts: Iterable[str]) -> ToyTokenizer:
        return ToyTokenizer(sorted({character for text in texts for character in text}))
