"""The CTC head: encodings to log-probabilities of tokens and blank, and the loss over all alignments."""

import itertools
from typing import Literal

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from asr.model.heads.labels import LabelError, check_labels
from asr.model.scan.products import Projection
from asr.section import Section
from asr.text import BLANK_ID

__all__ = ["CTCHead", "CTCHeadConfig", "LabelError", "frames_needed"]


class CTCHeadConfig(Section):
    kind: Literal["ctc"] = "ctc"
    weight: float = Field(1.0, gt=0.0, description="share of this head's loss in the sum over heads")

    def build(self, encoding_size: int, *, vocabulary_size: int) -> "CTCHead":
        return CTCHead(encoding_size, vocabulary_size=vocabulary_size)


def frames_needed(tokens: list[int]) -> int:
    """The fewest encodings CTC can spell these tokens in: one each, and a blank between equal neighbours."""
    return len(tokens) + sum(left == right for left, right in itertools.pairwise(tokens))


class CTCHead(nn.Module):
    """Connectionist temporal classification (Graves et al. 2006), equations 2-8.

    The loss is minus the natural log of the probability of the tokens, summed over all alignments; it is infinite
    where the tokens cannot fit the frames (`frames_needed`).
    """

    kind = "ctc"

    def __init__(self, encoding_size: int, *, vocabulary_size: int) -> None:
        super().__init__()
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
        """Each utterance's own loss; raises LabelError before the loss sees a label that it has no output for."""
        # torch's CTC loss reads and writes outside its arrays on such a label, without a word.
        check_labels("CTC head", tokens, token_lengths, vocabulary_size=self.vocabulary_size)
        log_probs = self(encodings).transpose(0, 1)  # torch wants [time, batch, vocabulary]
        return functional.ctc_loss(log_probs, tokens, lengths, token_lengths, blank=BLANK_ID, reduction="none")
