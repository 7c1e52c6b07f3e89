"""The recurrent encoder: subsampling, then a stack of any cell in one or two directions."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from asr.cells import CellConfig
from asr.cells.lstm import LSTMConfig
from asr.encoders.masking import clear_padding, reverse_within_length
from asr.encoders.subsampling import ConvSubsamplingConfig
from asr.section import Section


class RecurrentEncoderConfig(Section):
    kind: Literal["recurrent"] = "recurrent"
    subsampling: ConvSubsamplingConfig = ConvSubsamplingConfig()
    cell: CellConfig = LSTMConfig()
    num_layers: int = Field(3, ge=1, description="recurrent layers")
    bidirectional: bool = Field(True, description="a second cell reads each utterance from its end")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="dropout on the output of each layer")
    layer_norm: bool = Field(True, description="normalise the output of each layer")

    def build(self, num_mels: int) -> "RecurrentEncoder":
        return RecurrentEncoder(self, num_mels)


class RecurrentLayer(nn.Module):
    """One layer of a recurrent encoder: a cell forwards in time, and a second one backwards.

    A packed sequence would cost 6-10 times this on a CPU (tests/bench/train_step.py); instead the batch stays
    padded and each utterance is turned round within its own length, so that the second cell too starts on a
    valid frame and reaches the padding last. The outputs are those of a packed bidirectional layer.
    """

    def __init__(self, cell: CellConfig, input_size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = cell.build(input_size)
        self.backwards = cell.build(input_size) if bidirectional else None
        self.output_size = self.forwards.output_size * (2 if bidirectional else 1)

    def forward(
        self, inputs: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time hidden"]:
        outputs, _ = self.forwards(inputs)
        if self.backwards is not None:
            reversed_outputs, _ = self.backwards(reverse_within_length(inputs, lengths))
            outputs = torch.cat((outputs, reverse_within_length(reversed_outputs, lengths)), dim=-1)
        return clear_padding(outputs, lengths)


class RecurrentEncoder(nn.Module):
    """Log-mels to encodings: convolutional subsampling, then recurrent layers with normalisation and dropout.

    The shape of Deep Speech 2 (Amodei et al. 2016, arXiv:1512.02595) with layer normalisation (Ba et al. 2016)
    in the place of batch normalisation, because that would make an utterance depend on its batch.
    """

    def __init__(self, config: RecurrentEncoderConfig, num_mels: int) -> None:
        super().__init__()
        self.subsampling = config.subsampling.build(num_mels)
        sizes = [self.subsampling.output_size]
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.num_layers):
            layer = RecurrentLayer(config.cell, sizes[-1], bidirectional=config.bidirectional)
            self.layers.append(layer)
            self.norms.append(nn.LayerNorm(layer.output_size) if config.layer_norm else nn.Identity())
            sizes.append(layer.output_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = sizes[-1]

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return self.subsampling.output_lengths(lengths)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"]]:
        frames, lengths = self.subsampling(features, lengths)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            frames = self.dropout(norm(layer(frames, lengths)))
        return clear_padding(frames, lengths), lengths
