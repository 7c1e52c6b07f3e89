"""The trackers of a run, each of which takes its figures: console, metrics.jsonl, wandb; any of them, or none."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.text import Text

from asr.process.runtime import EXIT_FAULTS
from asr.tracking.config import TrackingConfig
from asr.tracking.console_lines import StepClock, step_lines
from asr.tracking.lines import JSONLinesTracker
from asr.tracking.media import DevUtterance
from asr.tracking.wandb import WandbTracker

_NUM_SHOWN = 3  # utterances on the console


@runtime_checkable
class Tracker(Protocol):
    """Is what the training loop talks to."""

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
    """Returns the trackers of `config` as one.

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
    """Finishes the tracker where the block fails: its run ends as failed, and nothing is said after the error."""
    try:
        yield
    except KeyboardInterrupt:
        raise  # nobody wants to wait
    except BaseException:
        tracker.finish(EXIT_FAULTS)
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


def _warn(console: Console, line: str) -> None:
    console.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)
