"""Encoders: features to encodings. A new one is a file of its own and a name in this union."""

from typing import Annotated

from pydantic import Field

from asr.model.encoders.conv_lstm import ConvLSTMEncoderConfig
from asr.model.encoders.pyramid import PyramidEncoderConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig

EncoderConfig = Annotated[
    RecurrentEncoderConfig | PyramidEncoderConfig | ConvLSTMEncoderConfig, Field(discriminator="kind")
]
