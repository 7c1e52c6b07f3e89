"""The acoustic model: one encoder, and one or more heads on its encodings."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asr.model.encoders import EncoderConfig
from asr.model.encoders.recurrent import RecurrentEncoder
from asr.model.heads import HeadConfig
from asr.model.heads.head import ForcedSteps, Head


class Model(nn.Module):
    """Features to encodings to each head's loss.

    Several heads on one encoder are multi-task training (Kim et al. 2017, arXiv:1609.06773, equation 12): what is
    trained on is the sum of their losses, each times the weight in its config.
    """

    heads: Sequence[Head]

    def __init__(
        self, *, num_mels: int, encoder: EncoderConfig, heads: tuple[HeadConfig, ...], vocabulary_size: int
    ) -> None:
        super().__init__()
        self.encoder = encoder.build(num_mels)
        self.heads = nn.ModuleList(  # type: ignore[assignment]
            head.build(self.encoder.output_size, vocabulary_size=vocabulary_size) for head in heads
        )
        self.head_weights = [head.weight for head in heads]
        check_intermediate_layers(self.encoder, self.heads)
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
        num_views: int = 1,
    ) -> Float[Tensor, "head batch"]:
        """Each head's loss of each utterance, times its weight, as a training takes it.

        Of two views of each utterance the first half of the batch are the first ones.
        """
        below: dict[int, Tensor] = {}
        if wanted := {number for head in self.heads for number in head.intermediate_layers}:
            encodings, lengths, below = self.encoder.encode(features, feature_lengths, intermediate=wanted)
        else:
            encodings, lengths = self.encode(features, feature_lengths)
        losses = [
            weight * head.loss_in_training(encodings, lengths, tokens, token_lengths, below=below, num_views=num_views)
            for weight, head in zip(self.head_weights, self.heads, strict=True)
        ]
        return torch.stack(losses)

    @property
    def num_views(self) -> int:
        """Returns how often a step of a training has each utterance."""
        return max(head.num_views for head in self.heads)

    @property
    def scores_frames(self) -> bool:
        """Returns whether one of its heads has scores of each frame by itself, which commands and labels are searched
        with.
        """
        return any(head.scores_frames for head in self.heads)

    def frame_scores(
        self, encodings: Float[Tensor, "batch time encoding"]
    ) -> Float[Tensor, "batch time vocabulary"] | None:
        """Log-probabilities of the tokens and blank in each frame by the first head that has some."""
        return next((head.frame_scores(encodings) for head in self.heads if head.scores_frames), None)

    def forced_steps(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> ForcedSteps | None:
        """Returns the steps of the first head that is a decoder, led through given transcripts."""
        steps = (head.forced_steps(encodings, lengths, tokens, token_lengths) for head in self.heads)
        return next((found for found in steps if found is not None), None)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def check_intermediate_layers(encoder: nn.Module, heads: Iterable[Head]) -> None:
    """Raise ValueError where a head wants the output of a layer that is not inside this encoder."""
    num_layers = len(encoder.layers) if isinstance(encoder, RecurrentEncoder) else 0
    for number, head in enumerate(heads):
        if not set(head.intermediate_layers) <= set(range(1, num_layers)):
            fitting = f"layers from 1 to {num_layers - 1}, those below the encoder's last"
            if num_layers < 2:
                fitting = "none, as this encoder gives no layer below its last"
            raise ValueError(
                f"heads.{number}.intermediate_layers: {list(head.intermediate_layers)}; expected {fitting}"
            )
