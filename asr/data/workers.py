"""Processes that read batches ahead of a model: they live as long as they are read from, and their death is noticed.

Each worker has a pipe of its own, and nobody but the worker holds the worker's end of it. So a worker that is killed
at any moment, amid a message too, ends its pipe and does nothing else: it shares no lock that it could leave locked,
and no thread of the main process serves it. torch's own loader shares a queue with locks among its workers.
"""

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
import torch.multiprocessing  # with it, pipes pass tensors on in shared memory

from asr.process.signals import ignore_signals_to_stop, signals_blocked

PREFETCHED = 4  # items that each worker reads ahead
LOOK_SECONDS = 1.0  # between two looks at what is waited for, if nothing comes before
DYING_SECONDS = 1.0  # from a pipe that a dying process closes to its end
GOODBYE_SECONDS = 1.0  # for workers that have nothing left to do

Item = TypeVar("Item", covariant=True)


class WorkerDied(RuntimeError):
    """A data worker that has ended by itself."""


@runtime_checkable
class Items(Protocol[Item]):
    """Gives what is read: an item for each index of an order."""

    def __getitem__(self, index: Any, /) -> Item: ...


@dataclass(frozen=True)
class Loader(Generic[Item]):
    """Says what is to be read, in which order, by how many processes; with none, the reading process reads itself."""

    items: Items[Item]
    order: Iterable[Any]  # of indices; drawn from anew by each reading
    num_workers: int

    def __iter__(self) -> Iterator[Item]:
        with DataWorkers().reading(self) as items:
            yield from items


def open_loader(items: Any, order: Iterable[Any] | None = None, *, num_workers: int) -> Loader[Any]:
    """Returns a loader that keeps reading ahead, across epochs too where the order goes across them; by default, of
    all.
    """
    return Loader(items, range(len(items)) if order is None else order, num_workers)


@dataclass(frozen=True)
class _Failure:
    """An exception of a worker, as text: not every exception can be made anew in another process."""

    kind: type[Exception]
    text: str


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Connection  # this process's end


# This process's ends of all pipes: a forked worker must hold none of them, or another's death would not end its pipe.
_OUR_ENDS: "weakref.WeakSet[Connection]" = weakref.WeakSet()


def _start(items: Items[Any], number: int) -> _Worker:
    context = multiprocessing.get_context()
    ours, theirs = context.Pipe()
    _OUR_ENDS.add(ours)
    process = context.Process(target=_serve, args=(items, theirs, os.getpid()), name=f"data worker {number}")
    process.daemon = True
    try:
        process.start()
    finally:
        theirs.close()
    return _Worker(process, ours)


def _serve(items: Items[Any], pipe: Connection, parent: int) -> None:
    """Runs in the worker: an index in, its item out, until the pipe ends or the main process is gone."""
    for other in list(_OUR_ENDS):
        other.close()
    _become_worker()
    while os.getppid() == parent:
        if not pipe.poll(LOOK_SECONDS):
            continue
        try:
            index = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = items[index]
        except Exception as error:  # noqa: BLE001  (whatever it is, it is raised again in the main process)
            answer = _failure(error)
        try:
            pipe.send(answer)
        except OSError:  # nobody reads any more
            return


def _become_worker() -> None:
    """Takes one thread;
    and outlives the signals to stop, since the main process needs its batches until it has saved.
    """
    torch.set_num_threads(1)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the main process's answer is none of a forked one's
    ignore_signals_to_stop()


def _failure(error: Exception) -> _Failure:
    for kind in (MemoryError, OSError, ValueError):
        if isinstance(error, kind):
            return _Failure(kind, f"{type(error).__name__}: {error}")
    return _Failure(RuntimeError, f"in a data worker:\n{''.join(traceback.format_exception(error))}")


class DataWorkers:
    """The workers of all loaders that are being read from."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    @contextlib.contextmanager
    def reading(self, loader: Loader[Item]) -> Iterator[Iterator[Item]]:
        """Gives the loader's items; its workers are gone when the block ends, whatever they are doing.

        Raises WorkerDied in the place of an item that does not come for that.
        """
        if not loader.num_workers:
            yield (loader.items[index] for index in loader.order)
            return
        mine: list[_Worker] = []
        try:
            with signals_blocked():
                for number in range(loader.num_workers):
                    mine.append(_start(loader.items, number))
                    self._workers.append(mine[-1])
            yield self._items(loader.order, mine)
        finally:
            self._workers = [worker for worker in self._workers if worker not in mine]
            _end(mine)

    def _items(self, order: Iterable[Any], mine: Sequence[_Worker]) -> Iterator[Any]:
        """Yields the items in order; each worker in turn is asked for the next one."""
        indices = iter(order)
        asked: deque[_Worker] = deque()

        def ask(worker: _Worker) -> None:
            for index in indices:
                try:
                    worker.pipe.send(index)
                except OSError as error:
                    raise self._died(worker) from error
                asked.append(worker)
                return

        for _ in range(PREFETCHED):
            for worker in mine:
                ask(worker)
        while asked:
            worker = asked.popleft()
            item = self._receive(worker)
            ask(worker)
            if isinstance(item, _Failure):
                raise item.kind(item.text)
            yield item
        _let_go(mine)

    def _receive(self, worker: _Worker) -> Any:
        """Returns what comes from a worker; looks at them all from time to time, whatever signals say."""
        while worker.pipe not in wait([worker.pipe], LOOK_SECONDS):
            if dead := self.find_dead():
                raise WorkerDied(dead)
        try:
            return worker.pipe.recv()
        except (OSError, EOFError) as error:  # its tensors are fetched from it too
            raise self._died(worker) from error

    def _died(self, worker: _Worker) -> WorkerDied:
        """Returns what is known of a worker whose pipe has ended: it closes that before it has ended itself."""
        end = time.monotonic() + DYING_SECONDS
        while (dead := self.find_dead()) is None and time.monotonic() < end:
            time.sleep(0.01)
        return WorkerDied(dead or f"data worker {worker.process.pid} has closed its pipe")

    def find_dead(self) -> str | None:
        """Returns what became of a worker that has ended though items are wanted from it; None while all live."""
        for worker in self._workers:
            if code := worker.process.exitcode:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return f"data worker {worker.process.pid} {how}"
        return None


def _let_go(workers: Iterable[_Worker]) -> None:
    """Let workers end by themselves that have nothing left to do."""
    workers, end = list(workers), time.monotonic() + GOODBYE_SECONDS
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))


def _end(workers: Iterable[_Worker]) -> None:
    """End workers amid their work, which is wanted no more; they share nothing that this could leave half done."""
    workers = list(workers)
    for worker in workers:
        worker.process.kill()
        worker.pipe.close()
    for worker in workers:
        worker.process.join()
