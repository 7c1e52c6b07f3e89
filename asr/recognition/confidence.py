"""Says how sure a word is: the model's posterior, turned into the share of such words that are right.

    python -m asr.evaluate RUN DEV_MANIFEST --calibrate-confidence

fits this on a dev split and keeps it in the run folder. Without it a confidence is the posterior itself, which says
which words are surer than others, and usually far too much of how sure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from asr.runs.fitted import FittedFile

FILE_NAME = "word_confidence.json"
EXTREME = 1e-4  # posteriors nearer to 0 or 1 count as this near: their logarithms would outweigh all others
NUM_FOLDS = 5


class ConfidenceError(ValueError):
    """A calibration that cannot be made, read or used."""


@dataclass(frozen=True)
class WordCalibration:
    """Posterior to confidence: the logistic of slope x logit(posterior) + intercept (Platt 1999).

    It never changes which of two words is the surer.
    """

    slope: float = 1.0
    intercept: float = 0.0
    num_words: int = 0  # that it was fitted on; 0: the confidence is the posterior
    error_before: float | None = None  # mean distance of posterior and share right, of those words
    error_after: float | None = None  # of the confidence, each fifth of the utterances by a fit on the others

    def confidence(self, posterior: float) -> float:
        """0 to 1."""
        if not self.num_words:
            return posterior
        return 1 / (1 + math.exp(-self.slope * _logit(posterior) - self.intercept))

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as JSON types."""
        return asdict(self)


def fit_words(
    posteriors: Float[np.ndarray, " word"], is_right: Bool[np.ndarray, " word"], *, utterances: Sequence[int]
) -> WordCalibration:
    """Fits the confidence of words: of each its posterior, whether it was said, and the number of its utterance.

    Raises ConfidenceError where no word is right, or none wrong.
    """
    slope, intercept = _fit(posteriors, is_right)
    fold = np.asarray(utterances) % NUM_FOLDS
    held_out = np.empty(len(posteriors))
    for number in range(NUM_FOLDS):
        others = fold != number
        mixed = is_right[others].any() and not is_right[others].all()
        fitted = WordCalibration(*(_fit(posteriors[others], is_right[others]) if mixed else (slope, intercept)), 1)
        held_out[~others] = [fitted.confidence(each) for each in posteriors[~others].tolist()]
    return WordCalibration(
        slope,
        intercept,
        num_words=len(posteriors),
        error_before=calibration_error(posteriors, is_right),
        error_after=calibration_error(held_out, is_right),
    )


def _fit(posteriors: Float[np.ndarray, " word"], is_right: Bool[np.ndarray, " word"]) -> tuple[float, float]:
    """Slope, never below 0, and intercept; the targets a little towards the middle, as Platt draws them."""
    num_right, num_wrong = int(is_right.sum()), int((~is_right).sum())
    if not num_right or not num_wrong:
        raise ConfidenceError(
            f"confidence: {num_right} words heard right and {num_wrong} wrong; expected some of both: calibrate on "
            f"a dev split in which the model makes a few mistakes"
        )
    logits = np.array([_logit(each) for each in posteriors.tolist()])
    targets = np.where(is_right, (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2))
    slope, intercept = fit_logistic(np.stack((logits, np.ones(len(logits))), axis=1), targets).tolist()
    if slope < 0:
        return 0.0, _logit(float(targets.mean()))
    return slope, intercept


def fit_logistic(
    inputs: Float[np.ndarray, "example input"], targets: Float[np.ndarray, " example"]
) -> Float[np.ndarray, " input"]:
    """Weights of the logistic function nearest to the targets: Newton's method, with a small ridge.

    The ridge keeps a split without fault from running away.
    """
    ridge = 1e-3 * np.eye(inputs.shape[1])
    weights = np.zeros(inputs.shape[1])
    for _ in range(100):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ weights, -40, 40)))
        gradient = inputs.T @ (chances - targets) + ridge @ weights
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 5.0 / float(np.abs(step).max() + 1e-12))
        weights = weights - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


def reliability(
    confidences: Float[np.ndarray, " example"], is_right: Bool[np.ndarray, " example"], *, num_bins: int = 10
) -> list[tuple[float, float, int]]:
    """Mean confidence, share that was right, and number of examples, of each bin that has any."""
    bins = np.minimum((confidences * num_bins).astype(int), num_bins - 1)
    return [
        (float(confidences[bins == each].mean()), float(is_right[bins == each].mean()), int((bins == each).sum()))
        for each in range(num_bins)
        if (bins == each).any()
    ]


def calibration_error(confidences: Float[np.ndarray, " example"], is_right: Bool[np.ndarray, " example"]) -> float:
    """Returns the expected calibration error (Guo et al. 2017, equation 3): 0 where confidences are the shares that are
    right.

    The mean over ten bins, by their sizes, of how far the mean confidence is from the share that is right.
    """
    bins = reliability(confidences, is_right)
    return sum(number * abs(confidence - right) for confidence, right, number in bins) / max(len(confidences), 1)


def save_calibration(run: Path, calibration: WordCalibration, *, decoding: str, model: str) -> Path:
    """Keep it in the run folder, for this decoding and these weights (by their digest)."""
    return _kept(run).keep(decoding, calibration, model=model)


def load_calibration(run: Path, *, decoding: str, model: str) -> WordCalibration:
    """Returns what was fitted for this decoding; none where nothing was.

    Raises ConfidenceError where it was fitted for other weights than the run has now.
    """
    return _kept(run).find(decoding, model=model) or WordCalibration()


def _kept(run: Path) -> FittedFile[WordCalibration]:
    again = f"python -m asr.evaluate {run} DEV_MANIFEST --calibrate-confidence"
    return FittedFile(run / FILE_NAME, WordCalibration, ConfidenceError, again)


def _logit(share: float) -> float:
    share = min(max(share, EXTREME), 1 - EXTREME)
    return math.log(share / (1 - share))
