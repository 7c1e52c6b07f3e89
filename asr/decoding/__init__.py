"""Decodings: scores to hypotheses. A new one is a file of its own and a name in this union."""

from asr.decoding.ctc_greedy import CTCGreedyConfig

DecodingConfig = CTCGreedyConfig
