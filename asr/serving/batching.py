"""Utterances of several clients, recognised together: one queue, one batch at a time, one thread with the model.

    batcher.submit(session, samples)    an utterance [sample] at the model's own rate -> its Transcript
    batcher.call(session, function)     other work of the model, such as a stream's

Sessions take turns: each gives one utterance to a batch before any gives a second one, so a client that sends a
hundred does not stand in the way of one that sends a single one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float32

from asr.process.signals import signals_blocked
from asr.serving.config import BatchingConfig
from asr.serving.metrics import Metrics
from asr.serving.refusal import Refusal
from asr.transcript import Transcript
from asr.transcription.segmentation import Listener
from asr.transcription.worker import LIBRARY_FAILURES, transcripts_alike

FIRST_SHARE = 0.05  # of an utterance's seconds, that the model is thought to take before any was measured

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class _Utterance:
    """An utterance that waits."""

    samples: Float32[np.ndarray, " sample"]
    answer: asyncio.Future[Transcript]


@dataclass(frozen=True, eq=False)
class _Call:
    """Other work that waits; it is no part of a batch."""

    function: Callable[[], Any]
    answer: asyncio.Future[Any]


class Batcher:
    """The queue before one recogniser; all of its methods are for the event loop's thread."""

    def __init__(self, recognizer: Listener, *, sample_rate: int, config: BatchingConfig, metrics: Metrics) -> None:
        """`sample_rate`, in hertz, is that of the utterances."""
        self.recognizer = recognizer  # may be changed at any time: the next batch is given to the new one
        self.config, self.metrics, self.sample_rate = config, metrics, sample_rate
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: OrderedDict[Hashable, deque[_Utterance | _Call]] = OrderedDict()
        self._num_waiting = 0
        self._waiting_seconds = 0.0  # of audio
        self._has_come = asyncio.Event()
        self._is_full = asyncio.Event()
        self._share = FIRST_SHARE  # time that a second of audio took lately
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Returns how many utterances and calls wait."""
        return self._num_waiting

    def expected_wait(self) -> float:
        """Returns in how many seconds what waits now will be done, by what the last batches took."""
        return self._waiting_seconds * self._share

    def start(self) -> None:
        """Begin to answer."""
        with signals_blocked():  # the thread computes with oneDNN, and is started here
            self._thread.submit(time.monotonic)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="batches")

    async def stop(self) -> None:
        """End, and refuse what still waits; a batch that is being computed is left to its thread."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for item in [each for queue in self._waiting.values() for each in queue]:
            if not item.answer.done():
                item.answer.set_exception(Refusal(503, "server: stopping; expected another one", code="stopping"))
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def submit(self, session: Hashable, samples: Float[np.ndarray, " _"]) -> asyncio.Future[Transcript]:
        """Put an utterance into the queue, and return what its transcript will be."""
        answer: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self._put(session, _Utterance(samples.astype(np.float32, copy=False), answer))
        return answer

    def call(self, session: Hashable, function: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Have a function called in the model's thread, in the session's turn, and return what it will return."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._put(session, _Call(function, answer))
        return answer

    def _put(self, session: Hashable, item: _Utterance | _Call) -> None:
        self._waiting.setdefault(session, deque()).append(item)
        self._count(item, 1)
        self._has_come.set()
        is_enough = self._num_waiting >= self.config.size or self._waiting_seconds >= self.config.seconds
        if is_enough or isinstance(item, _Call):
            self._is_full.set()

    def _count(self, item: _Utterance | _Call, number: int) -> None:
        self._num_waiting += number
        self._waiting_seconds += number * self._seconds(item)
        self.metrics.waiting.set(self._num_waiting)

    def _seconds(self, item: _Utterance | _Call) -> float:
        return len(item.samples) / self.sample_rate if isinstance(item, _Utterance) else 0.0

    async def _run(self) -> None:
        while True:
            await self._has_come.wait()
            if self.config.wait_ms and not self._is_full.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_full.wait(), self.config.wait_ms / 1000)
            taken = self._take()
            if not self._num_waiting:
                self._has_come.clear()
            self._is_full.clear()
            if isinstance(taken, _Call):
                _settle(taken.answer, await self._in_thread(taken.function))
            elif taken:
                await self._recognize(taken)

    def _take(self) -> list[_Utterance] | _Call:
        """Returns the next call, or the next batch: one of each session, then a second of each, as far as they fit."""
        batch: list[_Utterance] = []
        longest = 0.0
        while self._waiting:
            session, queue = next(iter(self._waiting.items()))
            item = queue[0]
            if isinstance(item, _Call):
                if batch:
                    break
                self._pop(session)
                if item.answer.done():  # whoever asked has gone
                    continue
                return item
            longest = max(longest, self._seconds(item))
            is_too_much = len(batch) == self.config.size or longest * (len(batch) + 1) > self.config.seconds
            if batch and is_too_much:
                break
            self._pop(session)
            if not item.answer.done():
                batch.append(item)
        return batch

    def _pop(self, session: Hashable) -> None:
        """Take the session's first item out, and let it wait behind the others for its next turn."""
        queue = self._waiting[session]
        self._count(queue.popleft(), -1)
        if queue:
            self._waiting.move_to_end(session)
        else:
            del self._waiting[session]

    async def _recognize(self, batch: Sequence[_Utterance]) -> None:
        recognizer, start = self.recognizer, time.perf_counter()
        recordings = [item.samples for item in batch]
        found = await self._in_thread(lambda: recognize_batch(recognizer, recordings))
        answers = found if isinstance(found, list) else [found] * len(batch)
        for item, answer in zip(batch, answers, strict=True):
            _settle(item.answer, answer)
        taken, seconds = time.perf_counter() - start, sum(map(self._seconds, batch))
        self.metrics.batch_sizes.observe(len(batch))
        self.metrics.model_seconds.observe(taken)
        self.metrics.audio_seconds.inc(seconds)
        if seconds:
            self._share += 0.2 * (taken / seconds - self._share)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        """Call a function in the model's thread, and return what it returns, or what it raises."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, function)
        await asyncio.wait([done])  # which raises nothing
        return done.exception() or done.result()


def _settle(answer: asyncio.Future[Any], found: Any) -> None:
    """Give whoever waits the answer, or the error in its place."""
    if answer.done():  # it waits no longer
        return
    if isinstance(found, BaseException):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def recognize_batch(
    recognizer: Listener, recordings: Sequence[Float[np.ndarray, " _"]]
) -> list[Transcript | Exception]:
    """Returns one batch's transcripts, or why there is none of one; half of it at a time where the memory does not
    suffice.
    """
    try:
        return list(transcripts_alike(recognizer, recordings))
    except (MemoryError, *LIBRARY_FAILURES) as error:
        if len(recordings) == 1:
            return [error]
    middle = len(recordings) // 2
    return [*recognize_batch(recognizer, recordings[:middle]), *recognize_batch(recognizer, recordings[middle:])]
