"""Encoders: features to encodings. A new one is a file of its own and a name in this union."""

from typing import Annotated

from pydantic import Field

from asr.encoders.conv_lstm import ConvLSTMEncoderConfig
from asr.encoders.pyramid import PyramidEncoderConfig
from asr.encoders.recurrent import RecurrentEncoderConfig

EncoderConfig = Annotated[
    RecurrentEncoderConfig | PyramidEncoderConfig | ConvLSTMEncoderConfig, Field(discriminator="kind")
]
