"""Ends a training before its end: at a signal to stop, or after a data worker died. Both are answered at once.

Work that can be given up (a batch that is waited for, a step before its update, a dev score) is left wherever it is, by
an exception from the signal's handler. Work that cannot (an update, a checkpoint) is finished first.
"""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from asr.data.workers import DataWorkers
from asr.process.signals import TO_STOP

SAME_REQUEST_SECONDS = 1.0  # `timeout` and torchrun send a signal twice; nobody presses Ctrl-C twice by mistake so fast


class Interrupted(BaseException):
    """Leaves work that is given up; no Exception, so that nothing on the way takes it for a fault of its own."""


class Interruption:
    def __init__(self, workers: DataWorkers, *, may_leave: bool) -> None:
        """`may_leave`: whether work may be given up at any point, as it may not where other processes share it."""
        self.workers, self.may_leave = workers, may_leave
        self.signal: int | None = None  # the first that asked to stop
        self.dead_worker: str | None = None
        self._asked_at = 0.0
        self._is_open = False

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Answer signals to stop, and to tell of children's ends, in this block; as before after it."""
        answers = {**dict.fromkeys(TO_STOP, self._ask)}
        if hasattr(signal, "SIGCHLD"):
            answers[signal.SIGCHLD] = self._look_at_workers
        before: dict[int, Any] = {number: signal.getsignal(number) for number in answers}
        for number, answer in answers.items():
            signal.signal(number, answer)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def giving_up(self) -> Iterator[None]:
        """Work that is left by Interrupted, at any point, once there is a reason to."""
        try:
            self._is_open = self.may_leave
            if self.may_leave and self.is_due:
                raise Interrupted
            yield
        finally:
            self._is_open = False

    @property
    def is_due(self) -> bool:
        return self.signal is not None or self.dead_worker is not None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """The first signal stops as soon as all that was learnt is saved; a second Ctrl-C ends at once."""
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._asked_at = number, now
            self._leave()
        elif number == signal.SIGINT and now - self._asked_at > SAME_REQUEST_SECONDS:
            raise KeyboardInterrupt

    def _look_at_workers(self, number: int, frame: FrameType | None) -> None:
        self.dead_worker = self.dead_worker or self.workers.find_dead()
        if self.dead_worker is not None:
            self._leave()

    def _leave(self) -> None:
        if self._is_open:
            self._is_open = False  # once: whoever catches it must not be left as well
            raise Interrupted
