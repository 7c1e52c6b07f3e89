"""One training of a study: an ordinary run of asr.train in a process of its own, whose dev figures are followed."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import HeldLock, size_of, split_lines
from asr.process.runtime import EXIT_OK, STOPPED_BY_SIGNAL
from asr.runs.folder import RunFolder
from asr.tracking.lines import METRICS_FILE

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_FOR_A_REQUEST = 1.0  # a signal to a whole group reaches a training before this process knows of it
MOST_RESTARTS = 2  # of a training that something else ended


class TrainingFailed(ValueError):
    """A training that ended without a figure; the message is its reason."""


class StudyStopped(Exception):
    """Leaves a training that is saved and goes on in the next call."""


@dataclass(frozen=True)
class Epoch:
    """The dev figures after an epoch, counted from 1."""

    number: int
    figures: Mapping[str, float]


def train_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "asr.train", str(config)]


def train_watched(
    config: Path,
    run: Path,
    *,
    is_enough: Callable[[Epoch], bool],
    stop: threading.Event,
    environment: Mapping[str, str],
) -> Epoch | None:
    """Trains until its end, or until `is_enough` of an epoch; returns that epoch, None at its end.

    A training that is killed goes on from its last checkpoint, at most MOST_RESTARTS times. Raises TrainingFailed with
    the reason, and StudyStopped once `stop` is set, after the training has saved.
    """
    code, log = 0, run.with_suffix(".log")
    for restart in range(1 + MOST_RESTARTS):
        _wait_for_another(run, stop)
        if final_figures(run) is not None:
            return None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a" if restart else "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                train_command(config), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}
            )
            try:
                enough = _follow(process, run, is_enough, stop)
            except BaseException:
                _end(process)
                raise
        if enough is not None:
            _end(process)
            return enough
        code = process.returncode
        if code == EXIT_OK:
            return None
        if 0 < code <= STOPPED_BY_SIGNAL:
            break
        if stop.wait(SECONDS_FOR_A_REQUEST):
            raise StudyStopped
    raise TrainingFailed(say_end(code, log))


def _follow(
    process: "subprocess.Popen[bytes]", run: Path, is_enough: Callable[[Epoch], bool], stop: threading.Event
) -> Epoch | None:
    """Waits for the process, or returns an epoch as soon as it is enough."""
    judged, size = 0, 0
    while True:
        is_over = process.poll() is not None
        if is_over or size_of(str(run / METRICS_FILE)) != size:
            size = size_of(str(run / METRICS_FILE))
            epochs = read_epochs(run)
            for epoch in epochs[judged:]:
                if is_enough(epoch) and not is_over:
                    return epoch
            judged = max(judged, len(epochs))
        if is_over:
            return None
        if stop.wait(SECONDS_BETWEEN_LOOKS):
            raise StudyStopped


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asks a training to save and stop, and waits for it."""
    process.terminate()
    process.wait()


def _wait_for_another(run: Path, stop: threading.Event) -> None:
    """Waits for a training of an earlier call, which was killed and left it alone, to end."""
    is_said = False
    while run.exists():
        try:
            HeldLock(run / ".lock").close()
            return
        except Timeout:
            if not is_said:
                print(f"{run}: a training of an earlier call still runs; waiting for its end", flush=True)
            is_said = True
        if stop.wait(SECONDS_BETWEEN_LOOKS):
            raise StudyStopped


def say_end(code: int, log: Path) -> str:
    """Returns why a training ended, by its exit code and its last words."""
    lines = split_lines(log.read_text(encoding="utf-8", errors="replace").strip())
    last = [line for line in lines if line.startswith("error: ")][-1:] or lines[-1:] or ["it said nothing"]
    number = -code if code < 0 else code - STOPPED_BY_SIGNAL
    if number > 0:
        memory = ", most often for want of memory" if number == 9 else ""
        return f"it was ended {1 + MOST_RESTARTS} times, the last time by signal {number}{memory} (see {log})"
    return f"{last[0].removeprefix('error: ')} (all of it: {log})"


def read_epochs(run: Path) -> list[Epoch]:
    """Returns the dev figures of a run so far, one each epoch that was scored."""
    path = run / METRICS_FILE
    found: dict[int, Epoch] = {}
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
        try:
            values = parse_object(line, is_finite=False)
        except LineError:
            continue  # a kill tore it, and a resumed training writes it anew
        if "dev/wer" in values and "train/epoch" in values:
            number = int(values["train/epoch"])
            figures = {name: _number(values.get(f"dev/{name}")) for name in ("wer", "cer", "loss")}
            found.setdefault(number, Epoch(number, figures))
    return [found[number] for number in sorted(found)]


def _number(value: Any) -> float:
    """Returns a figure; what is not finite is null in the file."""
    return math.nan if value is None else float(value)


def final_figures(run: Path) -> Mapping[str, float] | None:
    """Returns the dev figures of a finished run; None where it has not come to its end."""
    folder = RunFolder(run)
    if not folder.record_path.exists() or not folder.model_path.exists():
        return None
    figures = folder.read_record().get("dev")
    return None if figures is None else {name: _number(value) for name, value in figures.items()}
