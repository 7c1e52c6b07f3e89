"""The pyramid of recurrent layers of Listen, Attend and Spell: half as many frames after each."""

from typing import Literal

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from asr.model.cells import CellConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.layers.directions import join_bands
from asr.model.layers.dropout import Dropout
from asr.model.layers.masking import clear_padding
from asr.model.layers.recurrent import RecurrentLayer
from asr.section import MOST_LAYERS, Section


class PyramidEncoderConfig(Section):
    kind: Literal["pyramid"] = "pyramid"
    cell: CellConfig = Field(LSTMConfig(), description="what every layer is made of")
    num_plain_layers: int = Field(
        1, ge=0, le=MOST_LAYERS, description="recurrent layers on every frame, before the pyramid"
    )
    num_halving_layers: int = Field(
        2, ge=1, le=16, description="recurrent layers that read two frames as one; 2: a quarter"
    )
    bidirectional: bool = Field(True, description="a second cell reads each utterance from its end")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="dropout on the output of each layer")
    layer_norm: bool = Field(True, description="normalise the output of each layer")

    def build(self, num_mels: int) -> "PyramidEncoder":
        return PyramidEncoder(self, num_mels)


class PyramidEncoder(nn.Module):
    """Log-mels to encodings by recurrent layers alone, each of the upper ones over pairs of the frames below.

        h_j[t] = layer([h_(j-1)[2t], h_(j-1)[2t+1]], h_j[t-1])

    The last frame of an odd number is paired with zeros, so `n` frames become `(n + 1) // 2`.

    Source: Chan et al. 2016, "Listen, Attend and Spell" (arXiv:1508.01211), equation 5: there one plain and three
    halving layers of BiLSTM; with layer normalisation here.
    """

    def __init__(self, config: PyramidEncoderConfig, num_mels: int) -> None:
        super().__init__()
        self.num_plain_layers, self.num_halving_layers = config.num_plain_layers, config.num_halving_layers
        size = num_mels
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for number in range(config.num_plain_layers + config.num_halving_layers):
            width = size if number < config.num_plain_layers else 2 * size
            layer = RecurrentLayer(config.cell, width, bidirectional=config.bidirectional)
            size = layer.output_size
            self.layers.append(layer)
            self.norms.append(nn.LayerNorm(size) if config.layer_norm else nn.Identity())
        self.dropout = Dropout(config.dropout)
        self.output_size = size

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        for _ in range(self.num_halving_layers):
            lengths = (lengths + 1) // 2
        return lengths

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"]]:
        frames = clear_padding(features, lengths)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if number >= self.num_plain_layers:
                frames, lengths = pair_frames(frames, layer.num_bands), (lengths + 1) // 2  # type: ignore[arg-type]
            frames = clear_padding(self.dropout(norm(layer(frames, lengths))), lengths)
        return frames, lengths


def pair_frames(frames: Float[Tensor, "batch time feature"], num_bands: int) -> Float[Tensor, "batch pairs pair"]:
    """Returns every two frames side by side, band by band; the last of an odd number beside zeros."""
    even = F.pad(frames, (0, 0, 0, frames.shape[1] % 2))
    return join_bands((even[:, 0::2], even[:, 1::2]), num_bands)
