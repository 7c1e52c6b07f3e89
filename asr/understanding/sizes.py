"""Thresholds of a run for any grammar, by the number of its sentences: of more sentences, more fit what is none.

rejection.json keeps a row for each size that was measured ("10 sentences", "1000 sentences"), beside the thresholds
of single grammars, which go before them.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from asr.understanding.rejection import Rejection, kept_rejections

ROW = re.compile(r"(\d+) sentences")


@dataclass(frozen=True)
class Judging:
    """Holds what decides whether a command is understood, and where that comes from, in words."""

    rejection: Rejection
    basis: str


def save_rejections_by_size(run: Path, rows: Mapping[int, Rejection], *, model: str) -> Path:
    """Keeps a row for each number of sentences in the place of all that were kept; returns the file."""
    figures = {f"{num_sentences} sentences": rejection for num_sentences, rejection in sorted(rows.items())}
    return kept_rejections(run).keep_family(
        figures, is_member=lambda name: ROW.fullmatch(name) is not None, model=model
    )


def choose_rejection(run: Path, *, grammar: str, num_sentences: int, model: str) -> Judging:
    """Returns the grammar's own threshold, else one between the rows of the sizes next to its own, else the default.

    Thresholds between two rows are interpolated over the logarithm of the number of sentences. Raises RejectionError if
    what would be used was calibrated for other weights than the run has now.
    """
    kept = kept_rejections(run)
    own = kept.find(grammar, model=model)
    if own is not None:
        return Judging(own, "the threshold is this grammar's")
    names = sorted((int(match[1]), name) for name in kept.names() if (match := ROW.fullmatch(name)))
    if not names:
        return Judging(Rejection(), "the threshold is a guess, for want of a calibration")
    sizes = [size for size, _ in names]
    place = bisect.bisect_left(sizes, num_sentences)  # the first that is as large
    is_measured = num_sentences in sizes
    used = names[place : place + 1] if is_measured else names[max(0, place - 1) : place + 1]
    found = [(size, kept.find(name, model=model)) for size, name in used]
    rows = [(size, rejection) for size, rejection in found if rejection is not None]
    return _between(rows, num_sentences)


def _between(rows: list[tuple[int, Rejection]], num_sentences: int) -> Judging:
    (smaller, low), (larger, high) = rows[0], rows[-1]
    if smaller == larger:
        beyond = "" if smaller == num_sentences else ", the nearest that was measured"
        return Judging(low, f"the threshold is that of grammars of {smaller:,} sentences{beyond}")
    share = math.log(num_sentences / smaller) / math.log(larger / smaller)
    threshold = (1 - share) * low.threshold + share * high.threshold
    basis = f"the threshold is between those of grammars of {smaller:,} and of {larger:,} sentences"
    return Judging(replace(high, threshold=threshold), basis)
