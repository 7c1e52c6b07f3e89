"""Fewer frames for the recurrent layers: strided convolutions over time and frequency."""

import itertools
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from asr.model.layers.dropout import Dropout
from asr.model.layers.masking import clear_padding, clear_padding_
from asr.model.scan.products import Projection
from asr.section import LARGEST_WIDTH, Section

NUM_CONVOLUTIONS = {2: 1, 4: 2}  # by the factor: each halves


class ConvSubsamplingConfig(Section):
    kind: Literal["conv"] = "conv"
    factor: Literal[2, 4] = Field(4, description="input frames for each output frame")
    num_channels: int = Field(32, ge=1, le=LARGEST_WIDTH, description="channels of each convolution")
    output_size: int = Field(256, ge=1, le=LARGEST_WIDTH, description="width of a subsampled frame")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on the subsampled frames")

    def build(self, num_mels: int) -> "ConvSubsampling":
        return ConvSubsampling(self, num_mels)


class StridedConvolutions(nn.ModuleList):
    """3x3 convolutions of stride 2 with ReLU: half as many frames and bands after each.

    With padding 1, `n` frames become `(n + 1) // 2`. A recording's last output frame sees one zero frame past its
    end when alone, so that frame is cleared in a batch too: after every convolution all frames past the length are
    set to zero.
    """

    def __init__(self, *, factor: int, num_channels: int) -> None:
        channels = [1] + [num_channels] * NUM_CONVOLUTIONS[factor]
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1)
            for inputs, outputs in itertools.pairwise(channels)
        )

    def num_bands(self, num_mels: int) -> int:
        """Bands that are left of so many mels."""
        for _ in self:
            num_mels = (num_mels + 1) // 2
        return num_mels

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        for _ in self:
            lengths = (lengths + 1) // 2
        return lengths

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled channel band"], Int[Tensor, " batch"]]:
        images = clear_padding(features, lengths)[:, None]  # [batch, channel, time, mel]
        for convolution in self:
            lengths = (lengths + 1) // 2
            images = convolution(images)
            clear_padding_(images.transpose(1, 2), lengths)  # in place: nothing but the next step reads it
            images = torch.relu_(images)
        return images.transpose(1, 2), lengths


class ConvSubsampling(nn.Module):
    """Strided convolutions (one for x2, two for x4), then a linear map of channels times mels.

    As the VGG-style front ends of Hori et al. 2017 (arXiv:1706.02737) and of ESPnet's and SpeechBrain's encoders.
    """

    def __init__(self, config: ConvSubsamplingConfig, num_mels: int) -> None:
        super().__init__()
        self.convolutions = StridedConvolutions(factor=config.factor, num_channels=config.num_channels)
        self.projection = Projection(config.num_channels * self.convolutions.num_bands(num_mels), config.output_size)
        self.dropout = Dropout(config.dropout)
        self.factor = config.factor
        self.output_size = config.output_size

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return self.convolutions.output_lengths(lengths)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled size"], Int[Tensor, " batch"]]:
        images, lengths = self.convolutions(features, lengths)
        frames = torch.relu(self.projection(images.flatten(2)))
        return clear_padding(self.dropout(frames), lengths), lengths
