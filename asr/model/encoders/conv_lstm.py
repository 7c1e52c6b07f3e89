"""Convolutions, residual convolutional LSTMs over frequency, then recurrent layers."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from asr.model.cells import CellConfig
from asr.model.cells.conv_lstm import ConvLSTMConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.layers.dropout import Dropout
from asr.model.layers.masking import clear_padding
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.layers.subsampling import NUM_CONVOLUTIONS, StridedConvolutions
from asr.section import LARGEST_WIDTH, MOST_LAYERS, Section


class ConvLSTMEncoderConfig(Section):
    kind: Literal["conv_lstm"] = "conv_lstm"
    factor: Literal[2, 4] = Field(4, description="input frames for each encoding, and mels for each band")
    num_channels: int = Field(32, ge=1, le=LARGEST_WIDTH, description="channels in each band")
    num_blocks: int = Field(
        2, ge=1, le=MOST_LAYERS, description="residual blocks of a convolution and a convolutional LSTM"
    )
    kernel_size: int = Field(3, ge=1, le=LARGEST_WIDTH, description="width of the convolutional LSTMs in bands; odd")
    peepholes: bool = Field(False, description="let the gates of the convolutional LSTMs see their cells")
    projection_size: int = Field(
        128, ge=1, le=LARGEST_WIDTH, description="width of a frame between the blocks and the recurrent layers"
    )
    cell: CellConfig = Field(LSTMConfig(), description="what every layer is made of")
    num_layers: int = Field(1, ge=0, le=MOST_LAYERS, description="recurrent layers after the blocks")
    bidirectional: bool = Field(True, description="second cells read each utterance from its end, in blocks and layers")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="dropout on the output of each block and layer")

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> "ConvLSTMEncoderConfig":
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size: {self.kernel_size} is even and has no middle band; "
                f"choose {self.kernel_size - 1} or {self.kernel_size + 1}"
            )
        return self

    def build(self, num_mels: int) -> "ConvLSTMEncoder":
        """Raises ValueError where the kernel is wider than the bands that the convolutions leave of the mels."""
        num_bands = -(-num_mels // 2 ** NUM_CONVOLUTIONS[self.factor])
        if self.kernel_size > num_bands:
            raise ValueError(
                f"kernel_size: {self.kernel_size} is wider than the {num_bands} bands that factor {self.factor} leaves "
                f"of {num_mels} mels; choose at most {num_bands - 1 + num_bands % 2}, or more features.num_mels"
            )
        return ConvLSTMEncoder(self, num_mels)


class ResidualBlock(nn.Module):
    """x + projection(ConvLSTM(relu(norm(convolution(x))))): a 3x3 convolution, then a ConvLSTM, and a way past both.

    After the residual blocks of Zhang, Chan & Jaitly 2016, "Very Deep Convolutional Networks for End-to-End Speech
    Recognition" (arXiv:1610.03022), with their 1x1 "network in network" map after the recurrence. The normalisation
    is over the channels of each band, not over the batch; and the way past both stays clear.
    """

    def __init__(self, config: ConvLSTMEncoderConfig, num_bands: int) -> None:
        super().__init__()
        channels = config.num_channels
        cell = ConvLSTMConfig(
            hidden_size=channels, num_bands=num_bands, kernel_size=config.kernel_size, peepholes=config.peepholes
        )
        self.convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(channels)
        self.layer = RecurrentLayer(cell, num_bands * channels, bidirectional=config.bidirectional)
        self.projection = nn.Linear(self.layer.output_size // num_bands, channels)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, frames: Float[Tensor, "batch time band channel"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time band channel"]:
        images = self.convolution(frames.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        inner = clear_padding(torch.relu(self.norm(images)), lengths)
        outputs = self.layer(inner.flatten(2), lengths).unflatten(-1, (frames.shape[2], -1))
        return clear_padding(frames + self.dropout(self.projection(outputs)), lengths)


class ConvLSTMEncoder(nn.Module):
    """Log-mels to encodings: strided convolutions, residual ConvLSTM blocks over frequency, recurrent layers."""

    def __init__(self, config: ConvLSTMEncoderConfig, num_mels: int) -> None:
        super().__init__()
        self.convolutions = StridedConvolutions(factor=config.factor, num_channels=config.num_channels)
        num_bands = self.convolutions.num_bands(num_mels)
        self.blocks = nn.ModuleList(ResidualBlock(config, num_bands) for _ in range(config.num_blocks))
        self.projection = nn.Linear(num_bands * config.num_channels, config.projection_size)
        size = config.projection_size
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.num_layers):
            layer = RecurrentLayer(config.cell, size, bidirectional=config.bidirectional)
            size = layer.output_size
            self.layers.append(layer)
            self.norms.append(nn.LayerNorm(size))
        self.dropout = Dropout(config.dropout)
        self.output_size = size

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return self.convolutions.output_lengths(lengths)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled encoding"], Int[Tensor, " batch"]]:
        images, lengths = self.convolutions(features, lengths)
        frames = images.transpose(2, 3)  # [batch, time, band, channel]
        for block in self.blocks:
            frames = block(frames, lengths)
        frames = clear_padding(torch.relu(self.projection(frames.flatten(2))), lengths)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            frames = self.dropout(norm(layer(frames, lengths)))
        return clear_padding(frames, lengths), lengths
