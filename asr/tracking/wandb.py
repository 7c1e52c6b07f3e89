"""Weights & Biases as a tracker: it never stops a run, and what goes wrong with it is said in one line.

RUN/wandb/          offline runs; `wandb sync RUN/wandb/offline-run-*` uploads them, in order, to one run
"""

import os
import queue
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from asr.files.replacing import replacing
from asr.tracking.config import TrackingConfig, TrackingError
from asr.tracking.media import DevUtterance, wandb_media

WANDB_FINISH_SECONDS = 60.0  # the end of a run waits so long for wandb to write (online: upload) what it holds
FIRST_SIGNAL = 128  # exit codes from here on are of signals
NEXT_STEP_FILE = "next_step"  # below RUN/wandb
_TEARDOWN_SECONDS = 1.0
_MAX_WAITING = 1000  # calls waiting for wandb; more means that it hangs


class WandbTracker:
    """Weights & Biases, on a thread of its own: the training loop hands figures over and never waits for it.

    Offline it needs no account and no network. Any failure of wandb, be it a missing API key, a full disk or its
    service dying, becomes one warning line.

    A resumed run goes on under the id kept in RUN/wandb/run_id, in a folder of its own, with `resume="allow"`: without
    it `wandb sync` refuses the second folder of an id (before 0.31 it took the first one's place). wandb's own `_step`
    goes on from RUN/wandb/next_step; the training's steps are the metric `step`, which may come again after a kill.
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
        self._next_row = 0  # the `_step` of the next row that wandb is given
        self._failed = False
        self._giving_up = threading.Lock()  # either thread may find out first
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WAITING)
        # Takes back wandb's hook at exit, which would wait for a service that is gone, or print its traceback.
        self._teardown = threading.Thread(target=_tear_down_wandb, name="wandb teardown", daemon=True)
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self._hand_over(lambda: self._log({"step": step, **metrics}))

    def log_utterances(self, rows: Sequence[DevUtterance], *, step: int) -> None:
        rows = tuple(rows)
        if rows:
            self._hand_over(lambda: self._log({"step": step, **wandb_media(rows)}))

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
        """Runs in the thread: it starts the run, then makes the calls handed over until None or a failure."""
        failure = _attempt(self._start)
        while failure is None and (call := self._waiting.get()) is not None and not self._failed:
            failure = _attempt(call)
        if failure is not None:
            self._give_up(_one_line(failure))

    def _log(self, values: Mapping[str, Any]) -> None:
        """Log one row; its number is counted on disk before it is used, so that no kill makes it come again."""
        row = self._next_row
        self._next_row = row + 1
        with replacing(self._run_dir / "wandb" / NEXT_STEP_FILE) as path:
            path.write_text(f"{self._next_row}\n", encoding="ascii")
        self._run.log(values, step=row, commit=True)

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
            resume="allow",
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
        # Online, the server may know of more rows than a copied folder does.
        self._next_row = max(_next_row(self._run_dir), self._run.starting_step)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def _give_up(self, reason: str) -> None:
        with self._giving_up:
            if self._failed:
                return
            self._failed = True
        self._warn(f"wandb: {reason}; the run goes on without it")
        self._teardown.start()


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
    """Returns the id under which wandb knows the run in this folder, the same in every process that goes on with it."""
    path = run_dir / "wandb" / "run_id"
    if not path.exists():
        path.write_text(secrets.token_hex(4), encoding="ascii")
    found = path.read_bytes()[:100].decode("ascii", errors="replace").strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):  # it becomes part of names of files, and of an address
        raise TrackingError(f"{path}: found {found!a}; expected an id of wandb's, letters and digits; remove the file")
    return found


def _next_row(run_dir: Path) -> int:
    """Returns the `_step` with which wandb's rows go on: 0 in a new run.

    A folder of an older release has no count; its files are longer in bytes than they have rows.
    """
    folder = run_dir / "wandb"
    path = folder / NEXT_STEP_FILE
    if not path.exists():
        return sum(file.stat().st_size for file in folder.glob("*run-*/*.wandb"))
    text = path.read_text(encoding="ascii").strip()
    if not text.isdecimal():
        raise TrackingError(f"{path}: {text!r}; expected the number of the next row; delete it to begin above all rows")
    return int(text)
