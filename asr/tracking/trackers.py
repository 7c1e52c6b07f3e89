"""Where the figures of a run go: console, metrics.jsonl, wandb; any of them, or none.

    RUN/metrics.jsonl   {"step": 120, "train/loss": 1.25}             the same for every run of a configuration
    RUN/speed.jsonl     {"step": 120, "speed/data_wait_share": 0.01}  the metrics named `speed/...`: by the clock
    RUN/wandb/          offline runs; `wandb sync RUN/wandb/offline-run-*` uploads them to one run

wandb never stops a run: what goes wrong with it is said in one line and training goes on.
"""

import contextlib
import io
import json
import math
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field
from rich.console import Console
from rich.text import Text

from asr.runtime import EXIT_BAD_FILES
from asr.section import Section
from asr.tracking.console_lines import StepClock, step_lines
from asr.tracking.media import DevUtterance, wandb_media

METRICS_FILE = "metrics.jsonl"
SPEED_FILE = "speed.jsonl"
SPEED_PREFIX = "speed/"
WANDB_FINISH_SECONDS = 60.0  # the end of a run waits so long for wandb to write (online: upload) what it holds
FIRST_SIGNAL = 128  # exit codes from here on are of signals
_TEARDOWN_SECONDS = 1.0
_MAX_WAITING = 1000  # calls waiting for wandb; more means that it hangs
_NUM_SHOWN = 3  # utterances on the console


class TrackingConfig(Section):
    """Which trackers a run has."""

    trackers: tuple[Literal["console", "jsonl", "wandb"], ...] = Field(
        ("console", "jsonl", "wandb"), description="where figures go; an empty list: nowhere"
    )
    mode: Literal["offline", "online"] = Field("offline", description="of wandb; online needs an API key, else offline")
    project: str = Field("earshot", min_length=1, description="wandb project")
    name: str | None = Field(None, description="name of the run in wandb; none: the name of the run folder")
    num_utterances: int = Field(16, ge=0, description="dev utterances shown with audio after each evaluation")
    num_explained: int = Field(
        2, ge=0, description="of them, drawn as asr.explain does, in wandb; without matplotlib none are"
    )


@runtime_checkable
class Tracker(Protocol):
    """What the training loop talks to."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record figures of one step; those named `speed/...` may differ between identical runs."""
        ...

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None: ...

    def finish(self, exit_code: int) -> None:
        """Write what is still held; the tracker is not used again. After a failure of ours nothing more is said."""
        ...


def open_tracker(
    config: TrackingConfig,
    run_dir: Path,
    resolved_config: Mapping[str, Any],
    step: int,
    *,
    console: Console | None = None,
    total_steps: int | None = None,
) -> Tracker:
    """The trackers of `config` as one.

    `step` is that of the checkpoint training goes on from, 0 for a new run: files are cut back to it, so that a run
    killed and resumed writes the same metrics.jsonl, byte for byte, as one that never stopped. For this, log all of
    a step before its checkpoint is saved.
    """
    console = console or Console()
    run_dir.mkdir(parents=True, exist_ok=True)
    opened: list[Tracker] = []
    for name in dict.fromkeys(config.trackers):
        if name == "console":
            opened.append(ConsoleTracker(console, StepClock(total_steps=total_steps, step=step)))
        elif name == "jsonl":
            opened.append(JSONLinesTracker(run_dir, step))
        else:
            opened.append(WandbTracker(config, run_dir, resolved_config, warn=lambda line: _warn(console, line)))
    return TrackerGroup(opened)


@contextlib.contextmanager
def finishing_after_failure(tracker: Tracker) -> Iterator[None]:
    """Where the block fails, the tracker is finished: its run ends as failed, and nothing is said after the error."""
    try:
        yield
    except KeyboardInterrupt:
        raise  # nobody wants to wait
    except BaseException:
        tracker.finish(EXIT_BAD_FILES)
        raise


class TrackerGroup:
    """Several trackers as one; none at all is allowed."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        for tracker in self._trackers:
            tracker.log(metrics, step=step)

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None:
        for tracker in self._trackers:
            tracker.log_utterances(rows, step=step)

    def finish(self, exit_code: int) -> None:
        for tracker in self._trackers:
            tracker.finish(exit_code)


class ConsoleTracker:
    """A line or two a step, and a few utterances with their errors in red."""

    def __init__(self, console: Console, clock: StepClock) -> None:
        self._console, self._clock = console, clock

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        for line in step_lines(self._clock.head(step), metrics):
            self._console.print(Text(line), soft_wrap=True)

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None:
        for row in rows[:_NUM_SHOWN]:
            line = Text(f"  {row.id}: ", style="dim")
            for reference, hypothesis in row.alignment:
                if reference != hypothesis:
                    line.append(f"[{reference}→{hypothesis}] ", style="red not dim")
                else:
                    line.append(f"{reference} ", style="not dim")
            self._console.print(line, soft_wrap=True)

    def finish(self, exit_code: int) -> None: ...


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
    """The step of a whole line; None where a kill (or a hand) left something else."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if isinstance(step, int) else None


class WandbTracker:
    """Weights & Biases, on a thread of its own: the training loop hands figures over and never waits for it.

    Offline it needs no account and no network. Any failure of wandb, be it a missing API key, a full disk or its
    service dying, becomes one warning line. A resumed run goes on under the id kept in RUN/wandb/run_id; its steps
    are logged as the metric `step`, so that steps logged twice around a kill do not make wandb drop the second.
    """

    def __init__(
        self,
        config: TrackingConfig,
        run_dir: Path,
        resolved_config: Mapping[str, Any],
        *,
        warn: Callable[[str], None],
        finish_seconds: float = WANDB_FINISH_SECONDS,
    ) -> None:
        self._config, self._run_dir, self._resolved_config = config, run_dir, resolved_config
        self._warn, self._finish_seconds = warn, finish_seconds
        self._run: Any = None
        self._failed = False
        self._giving_up = threading.Lock()  # either thread may find out first
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WAITING)
        # Takes back wandb's hook at exit, which would wait for a service that is gone, or print its traceback.
        self._teardown = threading.Thread(target=_tear_down_wandb, name="wandb teardown", daemon=True)
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        values = {"step": step, **metrics}
        self._hand_over(lambda: self._run.log(values))

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None:
        rows = tuple(rows)
        if rows:
            self._hand_over(lambda: self._run.log({"step": step, **wandb_media(rows)}))

    def finish(self, exit_code: int) -> None:
        if 0 < exit_code < FIRST_SIGNAL:  # the error is what a user should see last
            self._warn = _say_nothing
        self._hand_over(lambda: self._run.finish(exit_code=exit_code))
        self._hand_over(None)
        self._thread.join(self._finish_seconds)
        if self._thread.is_alive():
            self._give_up(f"not finished within {self._finish_seconds:g} s")
        if self._failed:
            self._teardown.join(_TEARDOWN_SECONDS)

    def _hand_over(self, call: Callable[[], None] | None) -> None:
        if self._failed:
            return
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            self._give_up(f"{_MAX_WAITING} calls behind")

    def _work(self) -> None:
        """The thread: start the run, then make the calls handed over until None or a failure."""
        failure = _attempt(self._start)
        while failure is None and (call := self._waiting.get()) is not None and not self._failed:
            failure = _attempt(call)
        if failure is not None:
            self._give_up(_one_line(failure))

    def _start(self) -> None:
        folder = self._run_dir / "wandb"
        folder.mkdir(exist_ok=True)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else its crash reports go out even offline
        # The audio of tables waits for `wandb sync` in the run folder, not in the user's home.
        os.environ.setdefault("WANDB_DATA_DIR", str(folder.absolute()))
        if self._config.mode == "online":
            if (failure := _attempt(lambda: self._init("online"))) is None:
                return
            self._warn(f"wandb: not online ({_one_line(failure)}); recording offline, `wandb sync` uploads it later")
        self._init("offline")

    def _init(self, mode: Literal["offline", "online"]) -> None:
        import wandb

        if mode == "online" and not wandb.login(prompt=False):
            raise TrackingError("wandb: no API key; expected one from `wandb login` or in WANDB_API_KEY")
        self._run = wandb.init(
            project=self._config.project,
            name=self._config.name or self._run_dir.resolve().name,
            dir=self._run_dir,
            id=_run_id(self._run_dir),
            resume="allow" if mode == "online" else None,
            config=dict(self._resolved_config),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=self._finish_seconds,
                finish_timeout=self._finish_seconds,
            ),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def _give_up(self, reason: str) -> None:
        with self._giving_up:
            if self._failed:
                return
            self._failed = True
        self._warn(f"wandb: {reason}; the run goes on without it")
        self._teardown.start()


class TrackingError(ValueError):
    """A tracker that cannot be used as configured."""


def _say_nothing(_line: str) -> None: ...


def _tear_down_wandb() -> None:
    import wandb

    _attempt(wandb.teardown)


def _attempt(call: Callable[[], None]) -> Exception | None:
    """Make a call into wandb; what it raised is given back.

    wandb's failures have no base class in common (its errors, asyncio's, the socket's, plain Exception), and none
    of them may stop a run, so this is the one place that catches everything; each is then told to the user.
    """
    try:
        call()
    except Exception as error:  # noqa: BLE001 - wandb raises what it likes, and none of it may stop a run
        return error
    return None


def _one_line(failure: Exception) -> str:
    return ": ".join([type(failure).__name__, *str(failure).strip().splitlines()[:1]])


def _run_id(run_dir: Path) -> str:
    """The id under which wandb knows the run in this folder, the same in every process that goes on with it."""
    path = run_dir / "wandb" / "run_id"
    if not path.exists():
        path.write_text(secrets.token_hex(4), encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def _warn(console: Console, line: str) -> None:
    console.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)
