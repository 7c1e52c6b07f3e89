"""Heads: encodings to a loss and to scores. A new one is a file of its own and a name in this union."""

from typing import Annotated

from pydantic import Field

from asr.model.heads.attention import AttentionHeadConfig
from asr.model.heads.ctc import CTCHeadConfig

HeadConfig = Annotated[CTCHeadConfig | AttentionHeadConfig, Field(discriminator="kind")]
