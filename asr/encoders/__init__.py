"""Encoders: features to encodings. A new one is a file of its own and a name in this union."""

from asr.encoders.recurrent import RecurrentEncoderConfig

EncoderConfig = RecurrentEncoderConfig
