"""Files of JSON lines that hold the figures of a run and that a resumed run continues.

RUN/metrics.jsonl   {"step": 120, "train/loss": 1.25}             the same for every run of a configuration
RUN/speed.jsonl     {"step": 120, "speed/data_wait_share": 0.01}  the metrics named `speed/...`: by the clock
"""

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.tracking.config import TrackingError
from asr.tracking.media import DevUtterance

METRICS_FILE = "metrics.jsonl"
SPEED_FILE = "speed.jsonl"
SPEED_PREFIX = "speed/"


class JSONLinesTracker:
    """Appends to metrics.jsonl and speed.jsonl, a whole line at a time; NaN and infinities are null."""

    def __init__(self, run_dir: Path, step: int) -> None:
        self._metrics = LineFile(run_dir / METRICS_FILE, step)
        self._speed = LineFile(run_dir / SPEED_FILE, step)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        speed = {name: value for name, value in metrics.items() if name.startswith(SPEED_PREFIX)}
        figures = {name: value for name, value in metrics.items() if name not in speed}
        self._metrics.append(figures, step=step)
        self._speed.append(speed, step=step)

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None: ...

    def finish(self, exit_code: int) -> None:
        self._metrics.close()
        self._speed.close()


class LineFile:
    """A file of JSON lines, each with its step, that a resumed run continues as if it had never stopped.

    What was written after step `step` is cut off, and with it a line that a kill left torn. A line of that very step
    may have been written before or after the kill's checkpoint; written again, it is not repeated.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._seen: set[bytes] = set()
        size = 0
        if path.exists():
            for line in io.BytesIO(path.read_bytes()):
                line_step = _step_of(line)
                if line_step is None or line_step > step:
                    break
                size += len(line)
                if line_step == step:
                    self._seen.add(line)
            os.truncate(path, size)
        self._file = path.open("ab")

    def append(self, values: Mapping[str, float], *, step: int) -> None:
        if not values:
            return
        record = {"step": step} | {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = (json.dumps(record) + "\n").encode()
        if line in self._seen:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise TrackingError(f"{self._path}: cannot be written ({error}); make room and resume the run") from error

    def close(self) -> None:
        self._file.close()


def _step_of(line: bytes) -> int | None:
    """Returns the step of a whole line; None where a kill (or a hand) left something else."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if isinstance(step, int) else None
