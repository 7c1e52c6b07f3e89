"""Workers on this machine: in this process where one suffices, else each in a process of its own.

A worker whose process dies (killed for its memory, say) is replaced, and what it had been given is done again: first
as it was, then one recording at a time, so that one that kills its worker each time costs only itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol, runtime_checkable

from asr.engines.work import Item, Outcome, Share
from asr.process.signals import use_signal_stack

MAX_DEATHS = 3  # of the workers that were given the same recording


class EngineError(RuntimeError):
    """A worker that cannot do its work at all."""


@runtime_checkable
class Worker(Protocol):
    def run(self, shares: Iterable[Share]) -> Iterator[Outcome]: ...

    def close(self) -> None: ...


class LocalEngine:
    """Runs shares, any number of times, by the same workers until `close`."""

    def __init__(self, make: Callable[[int], Worker], *, num_workers: int) -> None:
        """`make` gives the worker of a number; it travels to another process where there are several."""
        self._make, self._num_workers = make, num_workers
        self._worker: Worker | None = None
        self._crew: _Crew | None = None

    def run(self, shares: Iterable[Share]) -> Iterator[Outcome]:
        """Yields what became of every recording of the shares, in no certain order.

        Raises ValueError for what the worker refuses (a run that cannot be loaded, say), EngineError where it fails.
        """
        if self._num_workers == 1:
            self._worker = self._worker or self._make(0)
            return self._worker.run(shares)
        if self._crew is None:
            self._crew = _Crew(self._make)
            self._crew.start(self._num_workers)
        return self._crew.work(shares)

    def close(self) -> None:
        for each in (self._worker, self._crew):
            if each is not None:
                each.close()


@dataclass
class _Member:
    """One process and what it has been given and not finished."""

    number: int
    process: SpawnProcess
    connection: Connection
    given: list[_Task] = field(default_factory=list)
    has_started: bool = False
    is_idle: bool = False


@dataclass
class _Task:
    """A share, or what is left of it."""

    left: dict[int, Item]  # by their numbers in the job
    num_deaths: int = 0  # of the workers that were given it

    def share(self) -> Share:
        return Share(tuple(self.left.values()))


class _Crew:
    """The processes, and who has what."""

    def __init__(self, make: Callable[[int], Worker]) -> None:
        self._make = make
        self._shares: Iterator[Share] = iter(())
        self._again: list[_Task] = []
        self._members: list[_Member] = []
        self._context = multiprocessing.get_context("spawn")  # a forked process can use neither CUDA nor threads

    def start(self, num_workers: int) -> None:
        self._members = [self._start(number) for number in range(num_workers)]

    def _start(self, number: int) -> _Member:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._make, number, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Member(number, process, ours)

    def work(self, shares: Iterable[Share]) -> Iterator[Outcome]:
        """Yields outcomes until every worker is idle and nothing is left to do."""
        self._shares = iter(shares)
        self._wake()
        while not all(member.is_idle for member in self._members):
            by_connection = {member.connection: member for member in self._members}
            for connection in wait(list(by_connection)):
                member = by_connection[connection]  # type: ignore[index]
                try:
                    word, content = member.connection.recv()
                except (EOFError, ConnectionResetError):
                    yield from self._replace(member)
                    continue
                member.has_started = True
                if word == "outcome":
                    yield self._finish(member, content)
                else:
                    self._answer(member, word, content)

    def _wake(self) -> None:
        """Lets workers that had nothing to do look again."""
        for member in self._members:
            if member.is_idle:
                self._answer(member, "idle", None)

    def _finish(self, member: _Member, outcome: Outcome) -> Outcome:
        for task in member.given:
            task.left.pop(outcome.number, None)
        member.given = [task for task in member.given if task.left]
        return outcome

    def _answer(self, member: _Member, word: str, content: str | None) -> None:
        if word == "refused":
            raise ValueError(content)
        if word == "failed":
            raise EngineError(
                f"worker {member.number} failed; expected it to work; this is a mistake of ours:\n{content}"
            )
        task = self._next_task()
        if task is not None:
            member.given.append(task)
        member.is_idle = word == "idle" and task is None
        if word == "more" or task is not None:  # who is idle waits for something to do
            with contextlib.suppress(OSError):  # it has died: reading from it will say so
                member.connection.send(None if task is None else task.share())

    def _next_task(self) -> _Task | None:
        if self._again:
            return self._again.pop(0)
        share = next(self._shares, None)
        return None if share is None else _Task({item.number: item for item in share.items})

    def _replace(self, member: _Member) -> Iterator[Outcome]:
        """Another process for one that died; what it had not finished is done again."""
        member.process.join()
        how = f"exit code {member.process.exitcode}"
        if not member.has_started:
            raise EngineError(f"worker {member.number} died at its start ({how}); expected it to load the run")
        for task in member.given:
            deaths = task.num_deaths + 1
            if deaths == 1:
                self._again.append(_Task(task.left, deaths))
            elif deaths < MAX_DEATHS:
                self._again += [_Task({item.number: item}, deaths) for item in task.left.values()]
            else:
                for item in task.left.values():
                    message = (
                        f"{item.stretch.path}: {deaths} workers died over it ({how}); see memory and --batch-seconds"
                    )
                    yield Outcome(item.number, error=message, error_kind="crash")
        self._members[member.number] = self._start(member.number)
        self._wake()

    def close(self) -> None:
        for member in self._members:
            member.process.kill()
            member.process.join()
            member.connection.close()


def _serve(make: Callable[[int], Worker], number: int, connection: Connection) -> None:
    """Runs in a worker's process: shares in, outcomes out, until the job ends or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the job's to answer
    use_signal_stack()

    def shares() -> Iterator[Share]:
        while (share := connection.recv()) is not None:
            yield share
            connection.send(("more", None))

    try:
        worker = make(number)
        connection.send(("idle", None))
        while True:
            for outcome in worker.run(shares()):
                connection.send(("outcome", outcome))
            connection.send(("idle", None))
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the job has ended
    except (ValueError, OSError) as error:
        connection.send(("refused", str(error)))
    except Exception:  # noqa: BLE001 - the top of a program: another process shows it
        connection.send(("failed", traceback.format_exc()))
