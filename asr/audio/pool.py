"""Recordings decoded ahead, in processes with limits: a decoder that crashes, hangs or swells costs one recording.

    with AudioPool(sample_rate=16_000, num_processes=2, limits=AudioLimits()) as pool:
        for decoded in pool.read(requests):          # in the order of the requests
            decoded.samples, decoded.error, decoded.blocks()

Short recordings come whole. Of a long one, the beginning comes, and the rest is decoded as fast as it is consumed.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from asr.audio.reading import AudioError
from asr.audio.stretch import Stretch
from asr.audio.worker import DONE, ERROR, FRAME_HEAD
from asr.section import Section

ROOT = Path(__file__).resolve().parents[2]
NUM_AHEAD = 256  # recordings decoded before they are asked for
SAMPLES_AHEAD = 32 << 20  # of all of these together: 128 MiB


class AudioLimits(Section):
    """Bounds what reading one recording may take."""

    memory_mb: int = Field(1024, ge=64, description="megabytes of a decoding process, beside its libraries")
    seconds_per_block: float = Field(
        20.0, gt=0, description="processor time for a block of about a million samples, then it is given up"
    )
    stall_seconds: float = Field(120.0, gt=0, description="time without any answer, as of a drive that hangs")
    longest_hours: float = Field(24.0, gt=0, description="longer recordings are refused")


@dataclass(frozen=True)
class AudioFacts:
    """Holds what is known of a recording that was read to its end."""

    sha256: str  # of the file's bytes, in hex
    size: int  # bytes of the file
    num_channels: int
    num_samples: int  # of the channel that was asked for, at the rate that was asked for
    seconds: float  # of time that decoding took
    sample_rate: int = 0  # hertz, the file's own
    warning: str | None = None  # channels that cancel each other, or one that is dead


@dataclass
class Decoded:
    """One request's answer: an error, all samples of a short recording, or the blocks of a long one."""

    stretch: Stretch
    error: AudioError | None = None
    samples: Float32[np.ndarray, " sample"] | None = None
    facts: AudioFacts | None = None  # of a long recording: once its blocks have been consumed
    rest: Generator[Float32[np.ndarray, " sample"]] | None = field(default=None, repr=False)

    def blocks(self) -> Iterator[Float32[np.ndarray, " sample"]]:
        """Yields the samples of a long recording, once. Raises AudioError where the rest of it cannot be read."""
        assert self.samples is not None
        yield self.samples
        if self.rest is not None:
            yield from self.rest


class _Died(Exception):
    """A decoding process that ended in the middle of an answer."""


class AudioPool:
    """Processes that decode, and the threads that listen to them."""

    def __init__(
        self, *, sample_rate: int, num_processes: int, whole_seconds: float = 40.0, limits: AudioLimits | None = None
    ) -> None:
        """Recordings longer than `whole_seconds` come in blocks."""
        self.sample_rate, self.limits = sample_rate, limits or AudioLimits()
        self.whole_samples = round(whole_seconds * sample_rate)
        self.num_processes = num_processes
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="audio")
        self._room = threading.Condition()  # of everything below
        self._processes = [_Process(self.limits) for _ in range(num_processes)]
        self._idle = list(self._processes)
        self._waiting = 0  # samples decoded and not asked for yet
        self._tickets = itertools.count()  # requests are begun in their order: of each its number, ...
        self._next, self._wanted = 0, -1  # that of the one to begin next, of the one that the reader waits for, ...
        self._skipped: set[int] = set()  # and those that nobody wants any more
        self._is_closed = False

    def __enter__(self) -> AudioPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._room:
            self._is_closed = True
            self._room.notify_all()
            for process in self._processes:
                process.kill_for_good()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.stop()

    def read(self, stretches: Iterable[Stretch], *, num_ahead: int = NUM_AHEAD) -> Generator[Decoded]:
        """Yields the answers, in the order of the stretches, of which so many are worked on ahead; one reader at a
        time.

        A long recording whose blocks have not been consumed keeps its process, and another is started in its stead
        where none is left for the recording that is asked for.
        """
        pending: deque[tuple[int, Future[Decoded]]] = deque()
        try:
            for stretch in stretches:
                ticket = next(self._tickets)
                pending.append((ticket, self._threads.submit(self._decode, stretch, ticket)))
                if len(pending) > num_ahead:
                    yield self._take(*pending.popleft())
            while pending:
                yield self._take(*pending.popleft())
        finally:
            for ticket, future in pending:
                self._give_up(ticket, future)

    def _take(self, ticket: int, future: Future[Decoded]) -> Decoded:
        with self._room:
            self._wanted = ticket
            self._room.notify_all()
        return self._counted(future)

    def _counted(self, future: Future[Decoded]) -> Decoded:
        """It waits no longer."""
        decoded = future.result()
        with self._room:
            self._waiting -= 0 if decoded.samples is None else len(decoded.samples)
            self._room.notify_all()
        return decoded

    def _give_up(self, ticket: int, future: Future[Decoded]) -> None:
        if not future.cancel():
            future.add_done_callback(self._drop)
            return
        with self._room:
            self._skipped.add(ticket)
            self._room.notify_all()

    def _drop(self, future: Future[Decoded]) -> None:
        rest = self._counted(future).rest
        if rest is not None:
            rest.close()

    def _begin(self, ticket: int) -> _Process:
        """Returns a process for this request, once its turn has come, and there is room for its samples."""
        with self._room:
            self._room.wait_for(lambda: self._is_closed or self._may_begin(ticket))
            self._next = ticket + 1
            self._room.notify_all()
            if self._idle:
                return self._idle.pop()
            self._processes.append(_Process(self.limits))
            if self._is_closed:
                self._processes[-1].kill_for_good()
            return self._processes[-1]

    def _may_begin(self, ticket: int) -> bool:
        """Returns whether a reader may begin a recording: what is waited for must never wait for the reader, so all
        before it has been handed over by then.
        """
        while self._next in self._skipped:
            self._skipped.remove(self._next)
            self._next += 1
        is_possible = bool(self._idle) and self._waiting < SAMPLES_AHEAD
        return ticket == self._next and (is_possible or ticket == self._wanted)

    def _release(self, process: _Process) -> None:
        with self._room:
            if len(self._idle) < self.num_processes:
                self._idle.append(process)
            else:  # it stood in for one that had a long recording
                process.stop()
                self._processes.remove(process)
            self._room.notify_all()

    def _decode(self, stretch: Stretch, ticket: int) -> Decoded:
        process = self._begin(ticket)
        answer = self._answer(process, stretch)
        with self._room:
            self._waiting += 0 if answer.samples is None else len(answer.samples)
        if answer.rest is None:
            self._release(process)
        return answer

    def _answer(self, process: _Process, stretch: Stretch) -> Decoded:
        """Whole, or its first `whole_samples` and the process that has the rest; a crash is tried once more."""
        for attempt in (1, 2):
            answer = Decoded(stretch)
            frames = self._frames(process, answer)
            parts: list[np.ndarray] = []
            try:
                for samples in frames:
                    parts.append(samples)
                    if sum(map(len, parts)) > self.whole_samples:
                        answer.rest = self._rest(process, frames, np.concatenate(parts))
                        answer.samples = next(answer.rest)  # it has begun: closing it frees the process
                        return answer
            except AudioError as error:
                if error.kind == "crash" and attempt == 1:
                    continue
                answer.error = error
                return answer
            break
        answer.samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return answer

    def _rest(
        self,
        process: _Process,
        frames: Iterator[Float32[np.ndarray, " sample"]],
        beginning: Float32[np.ndarray, " sample"],
    ) -> Generator[Float32[np.ndarray, " sample"]]:
        """Yields the beginning, and what has not come yet; the process is free when it ends, is closed, or fails."""
        is_whole = False
        try:
            yield beginning
            yield from frames
            is_whole = True
        except AudioError:
            is_whole = True  # it has said why, and waits for the next request; or it is dead
            raise
        finally:
            if not is_whole:
                process.stop()  # in the middle of an answer that nobody wants any more
            self._release(process)

    def _frames(self, process: _Process, answer: Decoded) -> Iterator[Float32[np.ndarray, " sample"]]:
        stretch = answer.stretch
        try:
            process.ask(stretch, sample_rate=self.sample_rate)
            while True:
                letter, content = process.hear()
                if letter == DONE:
                    answer.facts = AudioFacts(**json.loads(content))
                    return
                if letter == ERROR:
                    raise AudioError(**json.loads(content))
                yield np.frombuffer(content, np.float32)
        except _Died:
            raise process.obituary(stretch.path) from None


class _Process:
    """One decoding process, started when it is needed."""

    COMMAND = (sys.executable, "-m", "asr.audio.worker")

    def __init__(self, limits: AudioLimits) -> None:
        self.limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._has_stalled = self._is_closed = False

    def ask(self, stretch: Stretch, *, sample_rate: int) -> None:
        if self._is_closed:
            raise _Died
        if self._child is None or self._child.poll() is not None:
            self._start()
        question = {
            "path": stretch.path,
            "offset": stretch.offset,
            "duration": stretch.duration,
            "channel": "mix" if stretch.channel is None else stretch.channel,
            "sample_rate": sample_rate,
            "longest": self.limits.longest_hours * 3600,
        }
        self._write(question)

    def hear(self) -> tuple[bytes, bytearray]:
        """Returns the next frame of its answer."""
        letter, size = struct.unpack(FRAME_HEAD, self._read(struct.calcsize(FRAME_HEAD)))
        return letter, self._read(size)

    def obituary(self, path: str) -> AudioError:
        """Returns what the process died of, reading this recording."""
        if self._has_stalled:
            return AudioError(
                f"{path}: no answer for {self.limits.stall_seconds:g} s; expected a file that can be read", kind="time"
            )
        code = 0 if self._child is None else self._child.wait()
        if code == -getattr(signal, "SIGPROF", 0) < 0:
            return AudioError(
                f"{path}: more than {self.limits.seconds_per_block:g} s of processor time for one block; "
                "expected a recording that can be decoded; write it again",
                kind="time",
            )
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return AudioError(f"{path}: the decoder crashed on it ({how}); write the file again", kind="crash")

    def kill_for_good(self) -> None:
        """Kills it from any thread: the one that listens to it finds that it has died."""
        self._is_closed = True
        if (child := self._child) is not None:
            child.kill()

    def stop(self) -> None:
        """Stops the process; the next recording that is asked for starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()

    def _start(self) -> None:
        self.stop()
        self._has_stalled = False
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._child = subprocess.Popen(
            self.COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        )
        self._write({"memory_bytes": self.limits.memory_mb << 20, "seconds_per_block": self.limits.seconds_per_block})

    def _write(self, values: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(values).encode("ascii") + b"\n")
        except OSError:
            raise _Died from None

    def _read(self, size: int) -> bytearray:
        assert self._child is not None
        assert self._child.stdout is not None
        buffer, pipe = bytearray(size), self._child.stdout.fileno()
        view, place = memoryview(buffer), 0
        waiter = select.poll()
        waiter.register(pipe, select.POLLIN)
        while place < size:
            if not waiter.poll(self.limits.stall_seconds * 1000):
                self._has_stalled = True
                self._child.kill()
                self._child.wait()
                raise _Died
            found = os.readv(pipe, [view[place:]])
            if not found:
                raise _Died
            place += found
        return buffer
