"""The acoustic model: one encoder, and one or more heads on its encodings."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from asr.encoders import EncoderConfig
from asr.heads import HeadConfig


class Model(nn.Module):
    """Features to encodings to each head's loss; the weights of the heads' losses come from their configs."""

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
    ) -> Float[Tensor, " batch"]:
        """Each utterance's loss, summed over the heads by their weights."""
        encodings, lengths = self.encode(features, feature_lengths)
        losses = [
            weight * head.loss(encodings, lengths, tokens, token_lengths)  # type: ignore[operator]
            for weight, head in zip(self.head_weights, self.heads, strict=True)
        ]
        return sum(losses[1:], start=losses[0])

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
