"""A head that believes that all tokens of an utterance last equally long."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from asr.model.heads.head import DevFigures, Head
from asr.model.layers.masking import valid_frames
from asr.section import Section


class ToyHeadConfig(Section):
    kind: Literal["toy"] = "toy"
    weight: float = Field(1.0, gt=0.0, description="share of this head's loss in the sum over heads")

    def build(self, encoding_size: int, *, vocabulary_size: int) -> "ToyHead":
        return ToyHead(encoding_size, vocabulary_size=vocabulary_size)


class ToyHead(Head):
    """The cross entropy of each frame, with the token whose place in the utterance is nearest the frame's."""

    kind = "toy"
    scores_frames = True

    def __init__(self, encoding_size: int, *, vocabulary_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(encoding_size, vocabulary_size)

    def loss(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        num_frames = encodings.shape[1]
        frames = torch.arange(num_frames, device=lengths.device)[None, :]
        places = frames * token_lengths[:, None] // lengths[:, None].clamp(min=1)
        labels = tokens.gather(1, places.clamp(max=tokens.shape[1] - 1))
        each = -self.frame_scores(encodings).gather(2, labels[:, :, None])[:, :, 0]
        return each.masked_fill(~valid_frames(lengths, num_frames), 0.0).sum(dim=1)

    def frames_needed(self, tokens: Sequence[int]) -> int:
        return len(tokens)

    def frame_scores(self, encodings: Float[Tensor, "batch time encoding"]) -> Float[Tensor, "batch time vocabulary"]:
        return functional.log_softmax(self.projection(encodings).float(), dim=-1)

    def dev_sums(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        *,
        watched: Sequence[int],
    ) -> dict[str, float]:
        return {"utterances": float(len(lengths))}

    def dev_figures(self, sums: Mapping[str, float]) -> DevFigures:
        return DevFigures({"toy_utterances": sums["utterances"]}, warning="this is a toy")
