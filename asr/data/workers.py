"""Processes that read batches ahead of a model: they live as long as they are read from, and their death is noticed."""

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from asr.signals import ignore_signals_to_stop, signals_blocked

DYING_SECONDS = 1.0  # from a connection that a dying process closes to its end


class WorkerDied(RuntimeError):
    """A data worker that has ended by itself."""


def open_loader(
    dataset: torch.utils.data.Dataset, order: torch.utils.data.Sampler | None = None, *, num_workers: int
) -> torch.utils.data.DataLoader:
    """A loader of whole batches that keeps reading ahead, across epochs too where the order goes across them."""
    options: dict[str, Any] = {"prefetch_factor": 4} if num_workers else {}
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        **options,
    )


def _start_worker(worker: int) -> None:
    """One thread; and outlive the signals to stop, since the main process needs its batches until it has saved."""
    torch.set_num_threads(1)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the main process's answer is none of a forked one's
    ignore_signals_to_stop()


class DataWorkers:
    """The workers of all loaders that are being read from."""

    def __init__(self) -> None:
        self._processes: list[BaseProcess] = []

    @contextlib.contextmanager
    def reading(self, loader: torch.utils.data.DataLoader) -> Iterator[Iterator[Any]]:
        """The loader's batches; its workers are gone when the block ends, whatever they are doing.

        Raises WorkerDied in the place of a batch that does not come for that.
        """
        mine: list[BaseProcess] = []
        batches: Any = None
        try:
            with signals_blocked(), _keeping_handler_of_children():
                before = multiprocessing.active_children()
                batches = iter(loader)
                mine = [process for process in multiprocessing.active_children() if process not in before]
                self._processes += mine
            yield self._watched(batches)
        finally:
            self._processes = [process for process in self._processes if process not in mine]
            if any(process.is_alive() for process in mine):
                _end(batches, mine)

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            try:
                batch = next(batches, None)
            except (RuntimeError, OSError, EOFError) as error:
                # torch looks itself after five seconds without a batch; a batch's tensors are fetched from the worker.
                if (dead := self._wait_for_dead()) is None:
                    raise
                raise WorkerDied(dead) from error
            if batch is None:
                return
            yield batch

    def _wait_for_dead(self) -> str | None:
        """Returns what `find_dead` finds a moment later: a dying process closes its connections before it has ended."""
        end = time.monotonic() + DYING_SECONDS
        while (dead := self.find_dead()) is None and time.monotonic() < end:
            time.sleep(0.01)
        return dead

    def find_dead(self) -> str | None:
        """What became of a worker that has ended though batches are wanted from it; None while all live."""
        for process in self._processes:
            if code := process.exitcode:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return f"data worker {process.pid} {how}"
        return None


def _end(batches: Any, processes: list[BaseProcess]) -> None:
    """End workers amid their work, which is wanted no more.

    What they share with this process, locks included, is then in any state. torch's own way to end them would use it
    when the iterator is collected, and waits for each worker's batch for five seconds, so it is told that it is done.
    """
    batches._shutdown = True
    if hasattr(batches, "_pin_memory_thread_done_event"):
        batches._pin_memory_thread_done_event.set()
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


@contextlib.contextmanager
def _keeping_handler_of_children() -> Iterator[None]:
    """Take back the handler that torch sets where it starts workers: it raises errors at any point of the program."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
