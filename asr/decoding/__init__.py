"""Decodings: scores to hypotheses. A new one is a file of its own and a name in this union."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from asr.decoding.attention_beam import AttentionBeam, AttentionBeamConfig
from asr.decoding.ctc_beam import CTCBeamConfig
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.ctc_lexicon import CTCLexiconConfig
from asr.decoding.joint_beam import JointBeam, JointBeamConfig, JointHeads
from asr.model.heads.attention import AttentionHead
from asr.model.heads.ctc import CTCHead

DecodingConfig = Annotated[
    CTCGreedyConfig | CTCBeamConfig | CTCLexiconConfig | AttentionBeamConfig | JointBeamConfig,
    Field(discriminator="kind"),
]

SEARCHED_HEADS: dict[str, tuple[str, ...]] = {
    "ctc_greedy": ("ctc",),
    "ctc_beam": ("ctc",),
    "ctc_lexicon": ("ctc",),
    "attention_beam": ("attention",),
    "joint_beam": ("attention", "ctc"),
}
"""The kinds of head that each kind of decoding searches."""


def choose_heads(decoding: Any, heads: Iterable[nn.Module]) -> Any:
    """What a decoding is called with: the head that it searches, or JointHeads; ValueError where there is none."""
    heads = list(heads)
    if isinstance(decoding, JointBeam):
        return JointHeads(_first(heads, AttentionHead), _first(heads, CTCHead))
    return _first(heads, AttentionHead if isinstance(decoding, AttentionBeam) else CTCHead)


def _first(heads: list[nn.Module], kind: type) -> Any:
    for head in heads:
        if isinstance(head, kind):
            return head
    found = ", ".join(type(head).__name__ for head in heads)
    raise ValueError(f"decoding: it searches the scores of a {kind.__name__}; the model has {found}")
