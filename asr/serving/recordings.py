"""A recording that a client sent, to its transcript: decoded in processes with limits, cut where it is long.

The bytes lie in a file for as long as that takes. Nothing here parses them: asr.audio.pool's processes do.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, BinaryIO

import numpy as np
from jaxtyping import Float

from asr.audio.levels import SILENCE
from asr.audio.pool import AudioLimits, AudioPool, Decoded
from asr.audio.reading import AudioError
from asr.audio.stretch import Stretch
from asr.serving.batching import Batcher
from asr.serving.config import ServingLimits
from asr.serving.refusal import Refusal
from asr.transcript import Transcript
from asr.transcription.segmentation import SegmentationConfig, transcribe_long

MOST_NAME_CHARACTERS = 80
COPIED_BYTES = 1 << 20  # at a time


@dataclass(frozen=True)
class Upload:
    """A recording as it came."""

    name: str  # that the client gave; it is only repeated in messages
    content: BinaryIO


@dataclass(frozen=True)
class _Waiting:
    """A recogniser for a decoding thread: it waits for the batches in which its recordings are."""

    batcher: Batcher
    loop: asyncio.AbstractEventLoop
    session: Hashable

    def transcripts(self, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]:
        return asyncio.run_coroutine_threadsafe(self._submitted(recordings), self.loop).result()

    async def _submitted(self, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]:
        return await asyncio.gather(*(self.batcher.submit(self.session, samples) for samples in recordings))


class RecordingReader:
    """Processes that decode, each with the thread that listens to it, and threads that follow long recordings.

    A long recording keeps its process until it has been recognised; another one takes the next recordings meanwhile.
    """

    def __init__(self, batcher: Batcher, *, num_decoders: int, limits: ServingLimits) -> None:
        self.batcher, self.limits = batcher, limits
        self.segmentation = SegmentationConfig()
        audio = AudioLimits(
            memory_mb=limits.decoder_mb,
            seconds_per_block=10.0,
            stall_seconds=30.0,
            longest_hours=limits.seconds / 3600,
        )
        self._threads = ThreadPoolExecutor(num_decoders, thread_name_prefix="decode")
        self._long_threads = ThreadPoolExecutor(limits.long_recordings, thread_name_prefix="long")
        self._num_long = 0
        self._pools = [
            AudioPool(
                sample_rate=batcher.sample_rate, num_processes=1, whole_seconds=self.segmentation.longest, limits=audio
            )
            for _ in range(num_decoders)
        ]
        self._idle: SimpleQueue[AudioPool] = SimpleQueue()  # as many as there are threads, so that none ever waits
        for pool in self._pools:
            self._idle.put(pool)

    def close(self) -> None:
        """Ends the processes; what they were decoding is given up."""
        for pool in self._pools:
            pool.close()
        for threads in (self._threads, self._long_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, upload: Upload, *, session: Hashable) -> Transcript:
        """The transcript of a recording; of several channels, the mean is recognised.

        Raises Refusal where it is no recording, damaged, or too long.
        """
        loop = asyncio.get_running_loop()
        with await loop.run_in_executor(self._threads, keep, upload.content) as file:
            path = Path(file.name)
            decoded = await loop.run_in_executor(self._threads, self._decode, path)
            try:
                return await self._recognize(decoded, session)
            except AudioError as error:
                raise _refusal(error, path, upload.name, self.limits.seconds) from error

    def _decode(self, path: Path) -> Decoded:
        pool = self._idle.get_nowait()
        try:
            (decoded,) = pool.read([Stretch(str(path))])
        finally:
            self._idle.put(pool)
        return decoded

    async def _recognize(self, decoded: Decoded, session: Hashable) -> Transcript:
        """Raises AudioError where it could not be decoded, to its end where it is long."""
        if decoded.error is not None:
            raise decoded.error
        if decoded.rest is not None:
            return await self._recognize_long(decoded, session)
        samples = decoded.samples
        assert samples is not None
        if len(samples) and np.abs(samples).max() >= SILENCE:
            found = await self.batcher.submit(session, samples)
        else:
            found = Transcript("", 0.0, (), len(samples) / self.batcher.sample_rate)
        return replace(found, warning=decoded.facts.warning if decoded.facts is not None else None)

    async def _recognize_long(self, decoded: Decoded, session: Hashable) -> Transcript:
        assert decoded.rest is not None
        loop = asyncio.get_running_loop()
        if self._num_long >= self.limits.long_recordings:
            decoded.rest.close()
            raise Refusal(
                429,
                f"file: longer than {self.segmentation.longest:g} s, as {self._num_long} others that are recognised; "
                f"expected fewer than {self.limits.long_recordings}; try later",
                code="busy",
                retry_after=max(5.0, self.batcher.expected_wait()),
            )
        self._num_long += 1
        try:
            waiting = _Waiting(self.batcher, loop, session)
            return await loop.run_in_executor(self._long_threads, self._follow, decoded, waiting)
        finally:
            self._num_long -= 1

    def _follow(self, decoded: Decoded, waiting: _Waiting) -> Transcript:
        assert decoded.rest is not None
        try:
            return transcribe_long(
                waiting, decoded.blocks(), sample_rate=self.batcher.sample_rate, config=self.segmentation
            )
        finally:
            decoded.rest.close()


def keep(content: BinaryIO) -> IO[bytes]:
    """Returns the bytes in a file that only this user can read, and that goes when it is closed.

    Raises Refusal where there is no room.
    """
    file = tempfile.NamedTemporaryFile(prefix="earshot-")  # noqa: SIM115 - whoever calls closes it
    try:
        content.seek(0)
        shutil.copyfileobj(content, file, COPIED_BYTES)
        file.flush()
    except OSError as error:
        file.close()
        raise Refusal(
            503, f"file: could not be kept ({error.strerror}); expected room on the server; try later", code="no_room"
        ) from error
    return file


def _refusal(error: AudioError, path: Path, name: str, seconds: float) -> Refusal:
    """Returns what a client is told of a recording that cannot be read, by the name that it gave."""
    shown = readable(name) or "file"
    if error.kind == "too long":
        return Refusal(413, f"{shown}: longer than {seconds:g} s; expected at most that; cut it", code="audio_too_long")
    message = str(error).replace(str(path), shown).replace(path.name, shown)
    return Refusal(415, message, code=f"audio_{error.kind}".replace(" ", "_"))


def readable(name: str) -> str:
    """Returns the printable part of a name that a client gave, shortened."""
    return "".join(each for each in name if each.isprintable())[:MOST_NAME_CHARACTERS]
