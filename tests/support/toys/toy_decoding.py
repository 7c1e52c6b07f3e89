"""A decoding of the toy head: the likeliest token of each frame, repeats merged."""

import itertools
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer
from asr.model.heads.head import Head
from asr.section import Section
from asr.text import NUM_SPECIAL, Tokenizer


class ToyDecodingConfig(Section):
    kind: Literal["toy"] = "toy"
    searched_heads: ClassVar[tuple[str, ...]] = ("toy",)

    def build(self, tokenizer: Tokenizer | None = None, language_model: Scorer | None = None) -> "ToyDecoding":
        """It asks neither."""
        return ToyDecoding()


class ToyDecoding:
    searched_heads = ToyDecodingConfig.searched_heads

    @torch.inference_mode()
    def __call__(
        self, head: Head, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        scores = head.frame_scores(encodings)
        assert scores is not None
        best = scores[:, :, NUM_SPECIAL:].argmax(dim=-1) + NUM_SPECIAL
        runs = [
            list(itertools.groupby(enumerate(row[:n].tolist()), lambda each: each[1])) for row, n in zip(best, lengths)
        ]
        return [Hypothesis(tuple(token for token, _ in row), tuple(range(len(row))), score=0.0) for row in runs]
