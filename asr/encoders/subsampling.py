"""Fewer frames for the recurrent layers: strided convolutions over time and frequency."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from asr.encoders.masking import clear_padding
from asr.section import Section


class ConvSubsamplingConfig(Section):
    kind: Literal["conv"] = "conv"
    factor: Literal[2, 4] = Field(4, description="input frames for each output frame")
    num_channels: int = Field(32, ge=1, description="channels of each convolution")
    output_size: int = Field(256, ge=1, description="width of a subsampled frame")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on the subsampled frames")

    def build(self, num_mels: int) -> "ConvSubsampling":
        return ConvSubsampling(self, num_mels)


class ConvSubsampling(nn.Module):
    """3x3 convolutions of stride 2 with ReLU (one for x2, two for x4), then a linear map of channels times mels.

    As the VGG-style front ends of Hori et al. 2017 (arXiv:1706.02737) and of ESPnet's and SpeechBrain's
    encoders. With padding 1, `n` frames become `(n + 1) // 2` at each convolution. A recording's last output
    frame sees one zero frame past its end when alone, so that frame is cleared in a batch too: after every
    convolution all frames past the length are set to zero.
    """

    def __init__(self, config: ConvSubsamplingConfig, num_mels: int) -> None:
        super().__init__()
        num_convolutions = {2: 1, 4: 2}[config.factor]
        channels = [1] + [config.num_channels] * num_convolutions
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1)
            for inputs, outputs in zip(channels[:-1], channels[1:], strict=True)
        )
        num_bands = num_mels
        for _ in self.convolutions:
            num_bands = (num_bands + 1) // 2
        self.projection = nn.Linear(config.num_channels * num_bands, config.output_size)
        self.dropout = nn.Dropout(config.dropout)
        self.factor = config.factor
        self.output_size = config.output_size

    def output_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        for _ in self.convolutions:
            lengths = (lengths + 1) // 2
        return lengths

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch subsampled size"], Int[Tensor, " batch"]]:
        images = clear_padding(features, lengths)[:, None]  # [batch, channel, time, mel]
        for convolution in self.convolutions:
            lengths = (lengths + 1) // 2
            images = torch.relu(convolution(images))
            images = clear_padding(images.transpose(1, 2), lengths).transpose(1, 2)
        frames = images.transpose(1, 2).flatten(2)  # [batch, time, channel * mel]
        return clear_padding(self.dropout(torch.relu(self.projection(frames))), lengths), lengths
