"""Writes a training step's figures for the console, in lines of at most 100 columns.

step 1,200 of 9,600  12 %  0:41:10 left  epoch 3  lr 0.0003  loss 1.234  gradient 2.1  240 times real time
step 1,206 of 9,600  12 %  0:41:02 left  epoch 4  dev WER 23.4 %  dev CER 8.1 %  dev loss 0.91
"""

import time
from collections.abc import Mapping

WIDTH = 100  # columns
INDENT = "    "
LABELS = {  # of metrics that have a name of their own; of the others, that behind the slash
    "train/learning_rate": "lr",
    "train/gradient_norm": "gradient",
    "speed/data_wait_share": "waiting for data",
}
SHARES = ("wer", "cer", "share", "rate")  # how the names of shares end, which are shown in per cent
LEARNING_RATE = "train/learning_rate"


class StepClock:
    """Tells how much of a training is done, and how long the rest takes at the pace so far."""

    def __init__(self, *, total_steps: int | None, step: int) -> None:
        """`step` is where the training goes on from, now."""
        self._total, self._first, self._started = total_steps, step, time.perf_counter()

    def head(self, step: int) -> str:
        """`step 1,200 of 9,600  12 %  0:41:10 left`, as far as it is known."""
        if not self._total:
            return f"step {step:,}"
        head = f"step {step:,} of {max(self._total, step):,}  {step / max(self._total, step):.0%}".replace("%", " %")
        if step <= self._first:
            return head
        pace = (time.perf_counter() - self._started) / (step - self._first)
        return f"{head}  {duration(pace * max(self._total - step, 0))} left"


def duration(seconds: float) -> str:
    """0:41:10"""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def step_lines(head: str, metrics: Mapping[str, float]) -> list[str]:
    """Returns the figures of a step behind its head, in as many lines as they need."""
    lines = [head]
    for name, value in metrics.items():
        part = f"  {_figure(name, value)}"
        if len(lines[-1]) + len(part) > WIDTH and lines[-1] != INDENT:
            lines.append(INDENT)
        lines[-1] += part
    return lines


def _figure(name: str, value: float) -> str:
    if name == "speed/audio_seconds_per_second":
        return f"{value:,.0f} times real time"
    group, _, rest = name.rpartition("/")
    label = LABELS.get(name, rest.replace("_", " "))
    label = label.replace("wer", "WER").replace("cer", "CER")
    label = f"{group} {label}" if group not in ("train", "speed", "") else label
    if rest.endswith(SHARES) and name != LEARNING_RATE:
        return f"{label} {100 * value:.1f} %"
    return f"{label} {value:.4g}"
