"""The CTC head: encodings to log-probabilities of tokens and blank, and the loss over all alignments."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from asr.model.heads.head import DevFigures, Head
from asr.model.heads.labels import check_labels
from asr.model.layers.masking import valid_frames
from asr.model.scan.products import Projection
from asr.section import Section
from asr.text import BLANK_ID


class CTCHeadConfig(Section):
    kind: Literal["ctc"] = "ctc"
    weight: float = Field(1.0, gt=0.0, description="share of this head's loss in the sum over heads")
    consistency_weight: float = Field(
        0.0,
        ge=0.0,
        description="share of how much two augmented views of an utterance differ; above 0, each is computed twice",
    )
    intermediate_layers: tuple[int, ...] = Field(
        (), description="layers of the encoder, counted from 1, whose outputs have a CTC loss by the same projection"
    )
    intermediate_share: float = Field(
        0.3, ge=0.0, lt=1.0, description="share of their mean loss, where there are such layers"
    )

    def build(self, encoding_size: int, *, vocabulary_size: int) -> "CTCHead":
        return CTCHead(encoding_size, vocabulary_size=vocabulary_size, config=self)


class CTCHead(Head):
    """Connectionist temporal classification (Graves et al. 2006), equations 2-8.

    The loss is minus the natural log of the probability of the tokens, summed over all alignments; it is infinite
    where the tokens cannot fit the frames (`frames_needed`).

    Of two views of an utterance each learns to agree with the other in every frame: consistency-regularised CTC (Yao
    et al. 2024, arXiv:2410.05101, equation 5). Losses of lower layers by the same projection are intermediate CTC (Lee
    and Watanabe 2021, arXiv:2102.03216, equation 8).
    """

    kind = "ctc"
    scores_frames = True

    def __init__(self, encoding_size: int, *, vocabulary_size: int, config: CTCHeadConfig | None = None) -> None:
        super().__init__()
        config = config or CTCHeadConfig()
        self.consistency_weight, self.num_views = config.consistency_weight, 2 if config.consistency_weight else 1
        self.intermediate_layers, self.intermediate_share = config.intermediate_layers, config.intermediate_share
        self.projection = Projection(encoding_size, vocabulary_size)
        self.vocabulary_size = vocabulary_size

    def forward(self, encodings: Float[Tensor, "batch time encoding"]) -> Float[Tensor, "batch time vocabulary"]:
        """Log-probabilities in float32, whatever the precision of the encodings."""
        return functional.log_softmax(self.projection(encodings).float(), dim=-1)

    def loss(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Returns each utterance's own loss;
        raises LabelError before the loss sees a label that it has no output for.
        """
        # torch's CTC loss reads and writes outside its arrays on such a label, without a word.
        check_labels("CTC head", tokens, token_lengths, vocabulary_size=self.vocabulary_size)
        log_probs = self(encodings).transpose(0, 1)  # torch wants [time, batch, vocabulary]
        return functional.ctc_loss(log_probs, tokens, lengths, token_lengths, blank=BLANK_ID, reduction="none")

    def disagreement(
        self, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The divergence of each view's labels from the other's, over all frames; the other's are taken as they are."""
        if not self.consistency_weight:
            return encodings.new_zeros(len(encodings), dtype=torch.float32)
        log_probs = self(encodings)
        others = log_probs.detach().roll(len(log_probs) // 2, dims=0)
        each = functional.kl_div(log_probs, others, reduction="none", log_target=True).sum(dim=2)
        outside = ~valid_frames(lengths, encodings.shape[1])
        return self.consistency_weight * each.masked_fill(outside, 0.0).sum(dim=1)

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """Returns one encoding for each token, and one for a blank between equal neighbours."""
        return len(tokens) + sum(left == right for left, right in itertools.pairwise(tokens))

    def frame_scores(self, encodings: Float[Tensor, "batch time encoding"]) -> Float[Tensor, "batch time vocabulary"]:
        return self(encodings)

    def dev_sums(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        *,
        watched: Sequence[int],
    ) -> dict[str, float]:
        blank = (self(encodings).argmax(dim=-1) == BLANK_ID) & valid_frames(lengths, encodings.shape[1])
        return {"blank": float(blank.sum()), "frames": float(lengths.sum())}

    def dev_figures(self, sums: Mapping[str, float]) -> DevFigures:
        """Returns the share of the frames whose most likely label is blank."""
        return DevFigures({"blank_share": sums.get("blank", 0.0) / max(1.0, sums.get("frames", 0.0))})
