"""Decodings: scores to hypotheses. A new one is a file of its own and a name in this union.

A decoding says in `searched_heads` which kinds of head it searches, and is called with that head, or with a tuple of
them in that order where there are several.
"""

from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import Field

from asr.decoding.attention_beam import AttentionBeamConfig
from asr.decoding.ctc_beam import CTCBeamConfig
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.ctc_lexicon import CTCLexiconConfig
from asr.decoding.joint_beam import JointBeamConfig
from asr.model.heads.head import Head

DecodingConfig = Annotated[
    CTCGreedyConfig | CTCBeamConfig | CTCLexiconConfig | AttentionBeamConfig | JointBeamConfig,
    Field(discriminator="kind"),
]


def decodings_for(kinds: Iterable[str]) -> list[str]:
    """Returns the kinds of decoding that search heads of these kinds alone."""
    members, known = get_args(get_args(DecodingConfig)[0]), set(kinds)
    return [each.model_fields["kind"].default for each in members if set(each.searched_heads) <= known]


def choose_heads(decoding: Any, heads: Iterable[Head]) -> Any:
    """Returns the head that a decoding searches, or a tuple of them; raises ValueError where one is missing."""
    found = {head.kind: head for head in heads}
    for kind in decoding.searched_heads:
        if kind not in found:
            raise ValueError(f"decoding: it searches the scores of a {kind} head; the model has {', '.join(found)}")
    chosen = tuple(found[kind] for kind in decoding.searched_heads)
    return chosen[0] if len(chosen) == 1 else chosen
