"""A recording that a client sent, to its transcript: decoded in processes with limits, cut where it is long.

The bytes lie in a file for as long as that takes. Nothing here parses them: asr.audio.pool's processes do.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Float32

from asr.audio.levels import SILENCE
from asr.audio.pool import AudioLimits, AudioPool, Decoded
from asr.audio.reading import AudioError
from asr.serving.batching import Batcher
from asr.serving.config import ServingLimits
from asr.serving.refusal import Refusal
from asr.stretch import Stretch
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
    """Processes that decode, each with the thread that listens to it."""

    def __init__(self, batcher: Batcher, *, num_decoders: int, limits: ServingLimits) -> None:
        self.batcher, self.limits = batcher, limits
        self.segmentation = SegmentationConfig()
        audio = AudioLimits(
            memory_mb=limits.decoder_mb,
            seconds_per_block=10.0,
            stall_seconds=30.0,
            longest_hours=limits.seconds / 3600,
        )
        self._threads = ThreadPoolExecutor(num_decoders, thread_name_prefix="recording")
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
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, upload: Upload, *, session: Hashable) -> Transcript:
        """The transcript of a recording; of several channels, the mean is recognised.

        Raises Refusal where it is no recording, damaged, or too long.
        """
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._threads, self._transcribe, upload, _Waiting(self.batcher, loop, session))
        return await done

    def _transcribe(self, upload: Upload, waiting: _Waiting) -> Transcript:
        pool = self._idle.get_nowait()
        try:
            with _as_file(upload.content) as path:
                (decoded,) = pool.read([Stretch(str(path))])
                try:
                    return self._recognize(decoded, waiting)
                except AudioError as error:
                    raise _refusal(error, path, upload.name, self.limits.seconds) from error
        finally:
            self._idle.put(pool)

    def _recognize(self, decoded: Decoded, waiting: _Waiting) -> Transcript:
        if decoded.error is not None:
            raise decoded.error
        assert decoded.samples is not None
        warning = decoded.facts.warning if decoded.facts is not None else None
        if decoded.rest is None:
            return replace(self._short(decoded.samples, waiting), warning=warning)
        try:
            return transcribe_long(
                waiting, decoded.blocks(), sample_rate=self.batcher.sample_rate, config=self.segmentation
            )
        finally:
            decoded.rest.close()

    def _short(self, samples: Float32[np.ndarray, " sample"], waiting: _Waiting) -> Transcript:
        if len(samples) and np.abs(samples).max() >= SILENCE:
            return waiting.transcripts([samples])[0]
        return Transcript("", 0.0, (), len(samples) / self.batcher.sample_rate)


@contextmanager
def _as_file(content: BinaryIO) -> Iterator[Path]:
    """The bytes in a file that only this user can read, gone afterwards. Raises Refusal where there is no room."""
    with tempfile.NamedTemporaryFile(prefix="earshot-") as file:
        content.seek(0)
        try:
            shutil.copyfileobj(content, file, COPIED_BYTES)
            file.flush()
        except OSError as error:
            raise Refusal(
                503,
                f"file: could not be kept ({error.strerror}); expected room on the server; try later",
                code="no_room",
            ) from error
        yield Path(file.name)


def _refusal(error: AudioError, path: Path, name: str, seconds: float) -> Refusal:
    """What a client is told of a recording that cannot be read, by the name that it gave."""
    shown = readable(name) or "file"
    if error.kind == "too long":
        return Refusal(413, f"{shown}: longer than {seconds:g} s; expected at most that; cut it", code="audio_too_long")
    message = str(error).replace(str(path), shown).replace(path.name, shown)
    return Refusal(415, message, code=f"audio_{error.kind}".replace(" ", "_"))


def readable(name: str) -> str:
    """Returns the printable part of a name that a client gave, shortened."""
    return "".join(each for each in name if each.isprintable())[:MOST_NAME_CHARACTERS]
