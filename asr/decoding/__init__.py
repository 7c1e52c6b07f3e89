"""Decodings: scores to hypotheses. A new one is a file of its own and a name in this union."""

from typing import Annotated

from pydantic import Field

from asr.decoding.ctc_beam import CTCBeamConfig
from asr.decoding.ctc_greedy import CTCGreedyConfig

DecodingConfig = Annotated[CTCGreedyConfig | CTCBeamConfig, Field(discriminator="kind")]
