"""Says how sure a corpus error rate is: a confidence interval, by the bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.metrics import ErrorCounts, MetricsError

_BLOCK_DRAWS = 4_000_000
"""Bootstrap draws held at once: bounds memory at some 100 MB however large the corpus."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of an error rate."""

    low: float
    high: float


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    *,
    generator: np.random.Generator,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of the corpus error rate, resampling utterances with replacement.

    Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation". It takes
    utterances as independent: speakers whose utterances go wrong together make the true interval wider.
    A resample without reference words has rate 0 or infinity, as ErrorCounts.rate has.
    """
    if not counts:
        raise MetricsError("bootstrap: no utterances; expected at least one to resample")
    if not 0 < level < 1 or num_resamples < 1:
        raise MetricsError(
            f"bootstrap: level {level} and num_resamples {num_resamples}; expected a level between 0 and 1 "
            "and at least one resample"
        )
    # errors, lengths: [utterance]; picks: [resample, utterance]
    errors = np.array([count.errors for count in counts], dtype=np.int64)
    lengths = np.array([count.reference_length for count in counts], dtype=np.int64)
    block = max(1, _BLOCK_DRAWS // len(counts))
    rates = []
    for start in range(0, num_resamples, block):
        picks = generator.integers(len(counts), size=(min(block, num_resamples - start), len(counts)))
        rates.append(_rates(errors[picks].sum(axis=1), lengths[picks].sum(axis=1)))
    # "lower" and "higher" are observed rates: no arithmetic on a rate that may be infinite.
    tail = (1 - level) / 2
    drawn = np.concatenate(rates)
    low = np.quantile(drawn, tail, method="lower")
    high = np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(low), float(high))


def _rates(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rates of [resample] totals, by the rule of ErrorCounts.rate."""
    empty = np.where(errors > 0, np.inf, 0.0)
    return np.where(lengths > 0, errors / np.maximum(lengths, 1), empty)
