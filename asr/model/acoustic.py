"""The acoustic model: one encoder, and one or more heads on its encodings."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asr.model.encoders import EncoderConfig
from asr.model.heads import HeadConfig


class Model(nn.Module):
    """Features to encodings to each head's loss.

    Several heads on one encoder are multi-task training (Kim et al. 2017, arXiv:1609.06773, equation 12): what is
    trained on is the sum of their losses, each times the weight in its config.
    """

    def __init__(
        self, *, num_mels: int, encoder: EncoderConfig, heads: tuple[HeadConfig, ...], vocabulary_size: int
    ) -> None:
        super().__init__()
        self.encoder = encoder.build(num_mels)
        self.heads = nn.ModuleList(
            head.build(self.encoder.output_size, vocabulary_size=vocabulary_size) for head in heads
        )
        self.head_weights = [head.weight for head in heads]
        self.vocabulary_size = vocabulary_size

    def encode(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"]]:
        return self.encoder(features, lengths)

    def forward(
        self,
        features: Float[Tensor, "batch time mel"],
        feature_lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "head batch"]:
        """Each head's loss of each utterance, times its weight."""
        encodings, lengths = self.encode(features, feature_lengths)
        losses = [
            weight * head.loss(encodings, lengths, tokens, token_lengths)  # type: ignore[operator]
            for weight, head in zip(self.head_weights, self.heads, strict=True)
        ]
        return torch.stack(losses)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
