"""Shows how far a job is: recordings, hours of audio, speed, time left; a bar on a terminal, else some lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asr.transcription.console import result_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_SECONDS = 30.0  # between two lines where there is no terminal


class JobProgress:
    """Is shown while a job runs."""

    def __init__(self, console: Console, *, shows_results: bool | None = None) -> None:
        """Results are shown line by line as they come, unless told otherwise where the console is a terminal."""
        self.console = console
        self._shows_results = console.is_terminal if shows_results is None else shows_results
        self._bar: tuple[Progress, TaskID] | None = None
        self._begin()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, name: str, record: dict[str, Any]) -> None:
        """Shows what became of one recording."""
        if self._shows_results:
            for line in result_lines(name, record):
                self.say(line)

    @contextmanager
    def shown(self, *, num_recordings: int, num_bytes: int) -> Iterator[None]:
        """While so many recordings are transcribed, of so many bytes."""
        self._begin(num_recordings=num_recordings, num_bytes=num_bytes)
        if not self.console.is_terminal:
            yield
            return
        from rich.progress import BarColumn, Progress, TextColumn

        with Progress(
            TextColumn("transcribing"), BarColumn(), TextColumn("{task.fields[state]}"), console=self.console,
            transient=True,
        ) as bar:  # fmt: skip
            self._bar = bar, bar.add_task("", total=max(num_bytes, 1), state="")
            try:
                yield
            finally:
                self._bar = None

    def add(self, *, num_bytes: int, audio_seconds: float, is_error: bool = False) -> None:
        """Counts one more recording, of so many bytes; no seconds where it had been transcribed before."""
        self._done_bytes += num_bytes
        self._done += 1
        self._errors += is_error
        self._audio_seconds += audio_seconds
        self._fresh_bytes += num_bytes if audio_seconds or is_error else 0
        now = time.perf_counter()
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=self._done_bytes, state=self.state(now))
        elif now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self.say(self.state(now))

    def state(self, now: float) -> str:
        """`1,203 of 5,000, 3 failed; 1.52 hours, 240 times real time, 0:02:10 left`"""
        elapsed = max(now - self._start, 1e-9)
        left = ""
        if self._fresh_bytes:
            seconds = round((self._num_bytes - self._done_bytes) * elapsed / self._fresh_bytes)
            left = f", {max(seconds, 0) // 3600}:{max(seconds, 0) // 60 % 60:02}:{max(seconds, 0) % 60:02} left"
        failed = f", {self._errors:,} failed" if self._errors else ""
        return (
            f"{self._done:,} of {self._num_recordings:,}{failed}; {self._audio_seconds / 3600:.2f} hours, "
            f"{self._audio_seconds / elapsed:.0f} times real time{left}"
        )

    def _begin(self, *, num_recordings: int = 0, num_bytes: int = 0) -> None:
        self._num_recordings, self._num_bytes = num_recordings, num_bytes
        self._done = self._errors = self._done_bytes = self._fresh_bytes = 0
        self._audio_seconds = 0.0
        self._start = self._last_line = time.perf_counter()
