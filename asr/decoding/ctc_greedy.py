"""Best-path decoding of a CTC head."""

from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import Scorer
from asr.model.heads.ctc import CTCHead
from asr.section import Section
from asr.text import BLANK_ID, Tokenizer


class CTCGreedyConfig(Section):
    kind: Literal["ctc_greedy"] = "ctc_greedy"
    searched_heads: ClassVar[tuple[str, ...]] = ("ctc",)

    def build(self, tokenizer: Tokenizer | None = None, language_model: Scorer | None = None) -> "CTCGreedy":
        """It asks neither."""
        return CTCGreedy()


class CTCGreedy:
    """The most likely label of each frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2)."""

    searched_heads = CTCGreedyConfig.searched_heads

    @torch.inference_mode()
    def __call__(
        self, head: CTCHead, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Hypothesis]:
        best_scores, best_labels = head(encodings).max(dim=-1)
        scores, labels = best_scores.cpu().double().numpy(), best_labels.cpu().numpy()
        return [
            _collapse(labels[row, :length], float(scores[row, :length].sum()))
            for row, length in enumerate(lengths.tolist())
        ]


def _collapse(labels: np.ndarray, score: float) -> Hypothesis:
    """a a _ a b b _  ->  a a b, starting at frames 0 3 4."""
    starts = np.flatnonzero((labels != BLANK_ID) & np.concatenate(([True], labels[1:] != labels[:-1]))[: len(labels)])
    return Hypothesis(tokens=tuple(labels[starts].tolist()), frames=tuple(starts.tolist()), score=score)
