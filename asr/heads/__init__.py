"""Heads: encodings to a loss and to scores. A new one is a file of its own and a name in this union."""

from asr.heads.ctc import CTCHeadConfig

HeadConfig = CTCHeadConfig
