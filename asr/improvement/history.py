"""Reads the course of a training from metrics.jsonl: over- and underfitting, blanks, diverging, clipping, its end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.config.recognizer import Config
from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import split_lines
from asr.improvement.advice import Advice
from asr.improvement.hearing import ImprovementError
from asr.tracking.lines import METRICS_FILE

DIVERGED = 1.5  # times the lowest training loss
RISEN = 1.05  # times the lowest dev loss
BLANKS = 0.97  # share of frames
CLIPPED = 0.5  # share of the steps' means
STILL_FALLING = 0.03  # of the dev WER, in the last quarter of the epochs
BIG_GAP = 2.0  # dev WER over train WER
SMALL_GAP = 1.2


@dataclass(frozen=True)
class History:
    """Holds the lines of a training's log, in order."""

    losses: tuple[float, ...]  # of training, means over some steps
    norms: tuple[float, ...]  # of the gradient before clipping, alike
    dev: tuple[dict[str, float], ...]  # figures after each epoch


def read_history(run: Path) -> History:
    """Raises ImprovementError where there is no log, or a line of it is none; a last line cut short is passed over."""
    path = run / METRICS_FILE
    if not path.is_file():
        raise ImprovementError(f"{path}: no such file; expected the log of a training with jsonl among its trackers")
    lines = split_lines(path.read_text(encoding="utf-8"))
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(parse_object(line, is_finite=False))
        except LineError as error:
            if number < len(lines):
                raise ImprovementError(f"{path}:{number}: {error}") from None
    dev = [{key: float(value) for key, value in row.items() if isinstance(value, int | float)} for row in rows]
    return History(
        losses=tuple(float(row["train/loss"]) for row in dev if "train/loss" in row),
        norms=tuple(float(row["train/gradient_norm"]) for row in dev if "train/gradient_norm" in row),
        dev=tuple(row for row in dev if "dev/wer" in row),
    )


def diagnose(history: History, config: Config, *, train_wer: float | None, dev_wer: float | None) -> list[Advice]:
    """Returns what the course of the training and the two error rates say to change."""
    found = [*_course(history, config), *_end(history, config)]
    if train_wer is not None and dev_wer is not None:
        found += _fit(train_wer, dev_wer, config)
    return found


def _course(history: History, config: Config) -> list[Advice]:
    found = []
    losses = history.losses
    if losses and (not all(map(math.isfinite, losses)) or losses[-1] > DIVERGED * min(losses)):
        found.append(
            Advice(
                "The training diverged",
                f"train/loss ends at {losses[-1]:.3g} and was as low as {min(losses):.3g}",
                f"optim.learning_rate={config.optim.learning_rate / 2:g}, in a new run_dir",
                None,
                "a run that diverged says nothing of what a steady one reaches",
            )
        )
    settled = history.norms[len(history.norms) // 5 :]
    clipped = sum(norm > config.optim.clip_norm for norm in settled) / max(1, len(settled))
    if len(settled) >= 5 and clipped > CLIPPED:
        found.append(
            Advice(
                "Most gradients are clipped",
                f"{clipped:.0%} of the logged means of train/gradient_norm, without the first fifth, are above "
                f"optim.clip_norm={config.optim.clip_norm:g}",
                f"try optim.learning_rate={config.optim.learning_rate / 2:g}, or a longer warm-up",
                None,
                "only a second training can say",
            )
        )
    blanks = [row["dev/blank_share"] for row in history.dev if "dev/blank_share" in row]
    if blanks and blanks[-1] > BLANKS and history.dev[-1]["dev/wer"] > 0.9:
        found.append(
            Advice(
                "CTC is on its plateau of blanks",
                f"dev/blank_share is {blanks[-1]:.1%} and dev/wer {history.dev[-1]['dev/wer']:.1%} at the end",
                "train longer, start from a trained run (init_from), or train on shorter utterances first",
                None,
                "nothing is recognised yet",
            )
        )
    return found


def _end(history: History, config: Config) -> list[Advice]:
    """Returns whether the training ended too early, or went on too long."""
    rates = [row["dev/wer"] for row in history.dev]
    if len(rates) < 4:
        return []
    quarter = max(1, len(rates) // 4)
    before, best = min(rates[:-quarter]), min(rates)
    if before - best > STILL_FALLING * before:
        return [
            Advice(
                "Too few updates",
                f"dev/wer still fell from {before:.2%} to {best:.2%} in the last {quarter} of {len(rates)} epochs",
                f"train.max_epochs={2 * config.train.max_epochs}, in a new run_dir",
                (before - best) / 2,
                "half of what the last quarter of the epochs gained; a guess, as schedules end flat",
            )
        ]
    losses = [row["dev/loss"] for row in history.dev if "dev/loss" in row]
    if losses and losses[-1] > RISEN * min(losses):
        best_epoch = losses.index(min(losses)) + 1
        return [
            Advice(
                "Overfitting: the loss of dev rises",
                f"dev/loss was lowest after epoch {best_epoch}, {min(losses):.3g}, and ends at {losses[-1]:.3g}",
                "more augmentation or encoder.dropout, or more data",
                None,
                "the kept weights are those of the best epochs already",
            )
        ]
    return []


def _fit(train_wer: float, dev_wer: float, config: Config) -> Sequence[Advice]:
    seen = f"the WER is {train_wer:.2%} on training utterances, not augmented, and {dev_wer:.2%} on dev"
    if dev_wer > 0.01 and dev_wer > BIG_GAP * train_wer:
        return [
            Advice(
                "Overfitting: training data are known by heart",
                seen,
                "more recordings or speakers, more kinds in augment, a higher encoder.dropout",
                (dev_wer - train_wer) / 4,
                "a quarter of the gap between the two, of which no measure closes all; a rule of thumb",
            )
        ]
    if train_wer > 0.05 and dev_wer < SMALL_GAP * train_wer:
        return [
            Advice(
                "Underfitting: training data are not learnt either",
                seen,
                f"a larger encoder.cell.hidden_size, train.max_epochs={2 * config.train.max_epochs}, or less augment",
                None,
                "dev is hardly worse than train, so the model or its training is the limit; how far was not measured",
            )
        ]
    return []
