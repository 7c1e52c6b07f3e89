"""Beam search of an attention head."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer
from asr.decoding.token_search import TokenSearch, TokenSearchOptions
from asr.model.heads.attention import AttentionHead
from asr.text import Tokenizer


class AttentionBeamConfig(TokenSearchOptions):
    kind: Literal["attention_beam"] = "attention_beam"
    searched_heads: ClassVar[tuple[str, ...]] = ("attention",)
    length_normalization: float = Field(
        0.6, ge=0.0, description="scores are divided by ((5 + tokens) / 6) to this power (Wu et al. 2016, equation 14)"
    )

    def build(self, tokenizer: Tokenizer, language_model: Scorer | None = None) -> "AttentionBeam":
        return AttentionBeam(self, self.fusion.build(tokenizer, language_model))


class AttentionBeam:
    """The likeliest transcripts by the decoder (Chan et al. 2016, section 3.3), with what the scorer adds.

    A beam of 1 is greedy decoding; one that leaves nothing out finds the best of all transcripts. The decoder is never
    followed beyond as many tokens as the recording's length allows, so it cannot write for ever.
    """

    searched_heads = AttentionBeamConfig.searched_heads

    def __init__(self, config: AttentionBeamConfig, scorer: Scorer | None = None) -> None:
        self.config, self.scorer = config, scorer

    def __call__(
        self, head: AttentionHead, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        return [best[0] for best in self.search(head, encodings, lengths)]

    @torch.inference_mode()
    def search(
        self,
        head: AttentionHead,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        *,
        num_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each utterance, best first: up to `num_best`, as many as have ended."""
        return TokenSearch(self.config, head, self.scorer).run(encodings, lengths, num_best=num_best)
