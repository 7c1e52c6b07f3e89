"""Beam search of an attention head and a CTC head together, in one pass."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from asr.decoding.ctc_prefix import CTCPrefixScorer
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer
from asr.decoding.token_search import TokenSearch, TokenSearchOptions
from asr.model.heads.attention import AttentionHead
from asr.model.heads.ctc import CTCHead
from asr.model.layers.masking import valid_frames
from asr.text import BLANK_ID, Tokenizer


class JointBeamConfig(TokenSearchOptions):
    kind: Literal["joint_beam"] = "joint_beam"
    searched_heads: ClassVar[tuple[str, ...]] = ("attention", "ctc")
    ctc_weight: float = Field(0.3, gt=0.0, lt=1.0, description="of CTC's log-probability; the decoder has the rest")
    trust_silence: bool = Field(True, description="where CTC hears nothing but blanks, the transcript is empty")

    def build(self, tokenizer: Tokenizer, language_model: Scorer | None = None) -> "JointBeam":
        return JointBeam(self, self.fusion.build(tokenizer, language_model))


class JointBeam:
    """The likeliest transcripts by both heads (Watanabe et al. 2017, "Hybrid CTC/Attention Architecture", section V).

        score(y) = w log p_ctc(y) + (1 - w) log p_attention(y) + what the scorer adds

    A transcript not yet ended is scored by the CTC probability of all that begin with it. CTC, which must account for
    every frame, keeps the decoder from skipping, repeating and inventing.
    """

    searched_heads = JointBeamConfig.searched_heads

    def __init__(self, config: JointBeamConfig, scorer: Scorer | None = None) -> None:
        self.config, self.scorer = config, scorer

    def __call__(
        self,
        heads: tuple[AttentionHead, CTCHead],
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
    ) -> list[Hypothesis]:
        return [best[0] for best in self.search(heads, encodings, lengths)]

    @torch.inference_mode()
    def search(
        self,
        heads: tuple[AttentionHead, CTCHead],
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        *,
        num_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each utterance, best first: up to `num_best`, as many as have ended."""
        attention, ctc = heads
        log_probs = ctc(encodings)
        return TokenSearch(self.config, attention, self.scorer).run(
            encodings,
            lengths,
            prefixes=CTCPrefixScorer.of(log_probs, lengths),
            ctc_weight=self.config.ctc_weight,
            silent=_hears_nothing(log_probs, lengths) if self.config.trust_silence else None,
            num_best=num_best,
        )


def _hears_nothing(
    log_probs: Float[Tensor, "batch time vocabulary"], lengths: Int[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """Returns whether blank is the likeliest label of every frame of an utterance."""
    heard = (log_probs.argmax(dim=-1) != BLANK_ID) & valid_frames(lengths, log_probs.shape[1])
    return ~heard.any(dim=1)
