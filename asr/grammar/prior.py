"""Says how likely the sentences of a grammar are before anything is heard: each choice shares its probability.

Where a template says one of three things, each has a third, and a list of a thousand values gives a thousandth to each.
Without this every sentence weighs the same, so what has a thousand variants has a thousand chances to fit a noise.
Values, templates and intents share by their weights, as the file gives them.

`prior: 0.5` in a grammar takes half of the logarithm, as a CTC model's scores are surer of themselves than they should
be. It decides between sentences, never whether one counts as understood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from asr.grammar.grammar import Arc

SHARED_KINDS = frozenset({"intent", "template", "value", "branch"})


def share_choices(arcs: Sequence[Sequence[Arc]], *, scale: float) -> tuple[tuple[Arc, ...], ...]:
    """Returns the network with what each way of a choice loses to the others, times `scale`, in its arc's weight.

    With a scale of 1 the weights of a choice's ways are the logarithms of their shares, with 0 those of the file.
    """
    return tuple(tuple(_shared(leaving, scale)) for leaving in arcs)


def _shared(leaving: Sequence[Arc], scale: float) -> Sequence[Arc]:
    if len(leaving) < 2 or any(arc.mark is None or arc.mark.kind not in SHARED_KINDS for arc in leaving):
        return leaving
    total = math.log(math.fsum(math.exp(arc.weight) for arc in leaving))
    return [Arc(arc.target, arc.text, arc.mark, arc.weight - scale * total) for arc in leaving]
