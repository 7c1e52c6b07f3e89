"""Understood or not: a command's score beside the filler's, a threshold for it, and what the threshold promises."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from asr.recognition.confidence import fit_logistic
from asr.runs.fitted import MAY_BE_MISSING, FittedFile

FILE_NAME = "rejection.json"
DEFAULT_WEIGHT = 4.0
DEFAULT_CENTRE = -4.0  # the sum of the evidence at which it is as likely as not, where nothing was calibrated
MARGIN = 1e-3  # of log odds
LOWEST_RATIO = -100.0  # also that of a recording in which no sentence fits


class RejectionError(ValueError):
    """A threshold that cannot be found, read or used."""


@dataclass(frozen=True)
class Evidence:
    """Holds what speaks for a command, in natural logarithms, 0 the best."""

    ratio: float  # of the sentence to the filler, a token: 0 where the model would have written just that by itself
    certainty: float  # of the filler, a frame in which it says something: low for sounds that the model does not know
    agreement: float  # of the sentence's tokens with the likeliest labels, each at its best: low where one is made up
    familiarity: float = 0.0  # by the second opinion, where there is one: a share lost, not a logarithm; 0 the best
    margin: float = (
        math.inf
    )  # to the best other meaning, of the whole: 0 where it fits as well, infinite where none does
    brevity: float = (
        0.0  # -1 / tokens of the sentence: a short one is found in other sounds more easily than a long one
    )


@dataclass(frozen=True)
class Rejection:
    """When a command counts as understood: a logistic function of the evidence, and a threshold for it.

    The log odds are the intercept and the sum of each evidence by its weight. They tell commands from other sounds; the
    margin, which has a threshold of its own, tells one command from another.
    """

    ratio_weight: float = DEFAULT_WEIGHT
    certainty_weight: float = DEFAULT_WEIGHT
    agreement_weight: float = DEFAULT_WEIGHT
    familiarity_weight: float = 0.0
    intercept: float = -DEFAULT_WEIGHT * DEFAULT_CENTRE
    threshold: float = 0.0  # lowest log odds that count as understood
    is_calibrated: bool = False  # has the threshold been set from recordings
    num_positives: int = 0  # recordings that the confidence was fitted on; 0: it is a guess
    false_accepts_per_hour: float | None = None  # of the negatives, with this threshold
    upper_false_accepts_per_hour: float | None = None  # 95 % confidence
    hours: float | None = None  # of the negatives
    recall: float | None = None  # of the positives that were heard right, with this threshold
    autoencoder: str | None = None  # digest of the second opinion's weights, where it has one
    min_margin: float = field(default=0.0, metadata=MAY_BE_MISSING)  # lowest margin that counts as understood
    num_wrong: int | None = field(default=None, metadata=MAY_BE_MISSING)  # positives understood as another command
    brevity_weight: float = field(default=0.0, metadata=MAY_BE_MISSING)

    def log_odds(self, evidence: Evidence) -> float:
        return (
            self.intercept
            + self.ratio_weight * evidence.ratio
            + self.certainty_weight * evidence.certainty
            + self.agreement_weight * evidence.agreement
            + self.familiarity_weight * evidence.familiarity
            + self.brevity_weight * evidence.brevity
        )

    def confidence(self, evidence: Evidence) -> float:
        """Between 0 and 1: how sure it is that the command was said; calibrated where positives were at hand."""
        return _logistic(self.log_odds(evidence))

    def accepts(self, evidence: Evidence) -> bool:
        return self.log_odds(evidence) >= self.threshold and evidence.margin >= self.min_margin


def score_ratio(*, command: float, filler: float, num_tokens: int, num_filler_tokens: int) -> float:
    """Returns the best sentence's log-probability less that of the best path of all, the filler, for each token.

    Tokens are those of the longer of both: else ten words of other speech could pass for one long command, or a short
    command for none.
    """
    ratio = (command - filler) / max(num_tokens, num_filler_tokens, 1)
    return max(min(ratio, 0.0), LOWEST_RATIO)  # above 0 only by rounding


def find_threshold(
    rejection: Rejection, negatives: Sequence[Evidence], *, hours: float, false_accepts_per_hour: float
) -> Rejection:
    """The lowest threshold with which negatives of so many hours are accepted no more often than the target.

    `negatives` are those in which anything was heard. Few hours prove little: see `upper_false_accepts_per_hour`.
    Raises RejectionError where the target is below 0, or there are no hours.
    """
    if not 0 <= false_accepts_per_hour < math.inf:
        raise RejectionError(
            f"--false-accepts-per-hour: {false_accepts_per_hour:g}; expected a number of at least 0, such as 0.5"
        )
    if hours <= 0:
        raise RejectionError("negatives: no recordings; expected some without commands, an hour or more of them")
    allowed = math.floor(false_accepts_per_hour * hours + 1e-9)
    ordered = sorted(map(rejection.log_odds, negatives), reverse=True)
    # Just above the best one that is not allowed, by more than it changes with what shares its batch.
    threshold = rejection.threshold if allowed >= len(ordered) else ordered[allowed] + MARGIN
    return count_false_accepts(replace(rejection, threshold=threshold, is_calibrated=True), negatives, hours=hours)


def count_false_accepts(rejection: Rejection, negatives: Sequence[Evidence], *, hours: float) -> Rejection:
    """Adds how often it accepts these negatives of so many hours."""
    accepted = sum(map(rejection.accepts, negatives))
    return replace(
        rejection,
        false_accepts_per_hour=accepted / hours,
        upper_false_accepts_per_hour=poisson_upper(accepted) / hours,
        hours=hours,
    )


def find_margin(
    rejection: Rejection,
    positives: Sequence[Evidence],
    is_right: Bool[np.ndarray, " recording"],
    *,
    wrong_share: float,
) -> Rejection:
    """The lowest margin with which at most this share of the understood commands is another one than was said.

    Raises RejectionError where the share is none, or no margin is wide enough.
    """
    if not 0 <= wrong_share < 1:
        raise RejectionError(
            f"--wrong-commands: {wrong_share:g}; expected a share of at least 0 and below 1, such as 0.05"
        )
    passed = [
        (each.margin, bool(right)) for each, right in zip(positives, is_right, strict=True) if rejection.accepts(each)
    ]
    # No threshold is infinite, so that it can be kept; a margin that is, where nothing else fits, passes each.
    above = {min(math.nextafter(each, math.inf), sys.float_info.max) for each, _ in passed}
    for margin in [rejection.min_margin, *sorted(above)]:
        kept = [right for each, right in passed if each >= margin]
        if kept and kept.count(False) <= wrong_share * len(kept):
            return replace(rejection, min_margin=margin, num_wrong=kept.count(False))
    raise RejectionError(
        f"--wrong-commands: {wrong_share:g}; more of the understood commands are other ones than were said, whatever "
        f"the margin; expected a higher share, or positives that the model recognises better"
    )


def poisson_upper(count: int) -> float:
    """The largest mean with which so few events still have a chance of 5 %: 3.0 for none, 4.7 for one."""
    low, high = float(count), 2.0 * count + 10.0
    for _ in range(80):
        middle = (low + high) / 2
        term = total = math.exp(-middle)
        for number in range(1, count + 1):
            term *= middle / number
            total += term
        low, high = (middle, high) if total > 0.05 else (low, middle)
    return high


def hours_needed(false_accepts_per_hour: float, *, num_accepted: int = 0) -> float:
    """Returns the hours of negatives that show a rate with 95 % confidence: 3 / rate where none of them is accepted.

    The rule of three (Hanley and Lippman-Hand 1983), with its exact 2.996; infinite for a rate of 0.
    """
    return poisson_upper(num_accepted) / false_accepts_per_hour if false_accepts_per_hour else math.inf


def fit_confidence(
    rejection: Rejection,
    evidence: Sequence[Evidence],
    is_right: Bool[np.ndarray, " recording"],
    *,
    is_command: Bool[np.ndarray, " recording"] | None = None,
) -> Rejection:
    """The logistic function that tells best which recordings are understood right (Platt 1999, in several variables).

    The weights tell commands heard right from other sounds. Commands heard wrong (`is_command` and not right) are too
    like those heard right to learn weights from, but are as wrong as other sounds: they count in how sure the result
    is. The targets are drawn a little towards the middle, as Platt does, so that even recordings without a fault leave
    room for doubt. Evidence never counts against a command: a weight that would be negative is 0.
    """
    num_right, num_wrong = int(is_right.sum()), int((~is_right).sum())
    if not num_right or not num_wrong:
        raise RejectionError(
            f"calibration: {num_right} recordings heard right and {num_wrong} wrong; expected some of both: "
            f"give --positives with commands that the model can hear, and --negatives without commands"
        )
    inputs = np.array(
        [[each.ratio, each.certainty, each.agreement, each.familiarity, each.brevity, 1.0] for each in evidence]
    )
    apart = is_right | (~is_command if is_command is not None else True)
    if is_right[apart].all():  # no other sound was heard at all
        apart[:] = True
    weights = _fit_weights(inputs[apart], is_right[apart])
    if not apart.all():
        odds = np.stack([inputs @ weights, np.ones(len(inputs))], axis=1)
        scale, offset = fit_logistic(odds, _platt_targets(is_right))
        weights = max(scale, 0.0) * weights
        weights[-1] += offset
    ratio, certainty, agreement, familiarity, brevity, intercept = weights.tolist()
    return replace(
        rejection,
        ratio_weight=ratio,
        certainty_weight=certainty,
        agreement_weight=agreement,
        familiarity_weight=familiarity,
        brevity_weight=brevity,
        intercept=intercept,
        num_positives=num_right,
    )


def _fit_weights(
    inputs: Float[np.ndarray, "recording evidence"], is_right: Bool[np.ndarray, " recording"]
) -> Float[np.ndarray, " evidence"]:
    """None below 0 but the last, the intercept."""
    used = inputs.any(axis=0)  # without a second opinion all familiarities are 0
    weights = np.full(inputs.shape[1], -1.0)
    while (weights[:-1] < 0).any():
        weights = np.zeros(inputs.shape[1])
        weights[used] = fit_logistic(inputs[:, used], _platt_targets(is_right))
        used[:-1] &= weights[:-1] > 0  # type: ignore
    return weights


def _platt_targets(is_right: Bool[np.ndarray, " recording"]) -> Float[np.ndarray, " recording"]:
    num_right = int(is_right.sum())
    return np.where(is_right, (num_right + 1) / (num_right + 2), 1 / (len(is_right) - num_right + 2))


def recall_of(rejection: Rejection, right: Sequence[Evidence]) -> Rejection:
    """Adds the share of these recordings, all recognised right, that are understood."""
    return replace(rejection, recall=sum(map(rejection.accepts, right)) / max(len(right), 1))


def detection_curve(
    positives: Sequence[float], negatives: Sequence[float], *, hours: float
) -> list[tuple[float, float, float]]:
    """Threshold, false accepts an hour and share of positives missed, for each false accept more; of log odds."""
    ordered = sorted(negatives, reverse=True)
    heard = np.sort(np.array(list(positives), dtype=np.float64))
    curve = []
    for number in range(len(ordered) + 1):
        threshold = math.nextafter(ordered[number], math.inf) if number < len(ordered) else -math.inf
        missed = float(np.searchsorted(heard, threshold, side="left")) / max(len(heard), 1)
        curve.append((threshold, number / hours, missed))
    return curve


def save_rejection(run: Path, rejection: Rejection, *, grammar: str, model: str) -> Path:
    """Keep it in the run folder, for this grammar and these weights (both by their digests)."""
    return kept_rejections(run).keep(grammar, rejection, model=model)


def kept_rejections(run: Path) -> FittedFile[Rejection]:
    """Returns the file of a run's thresholds, by the digest of a grammar or by size (asr/understanding/sizes.py)."""
    return FittedFile(run / FILE_NAME, Rejection, RejectionError, f"python -m asr.commands calibrate {run} ...")


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
