"""AAC and what else libsndfile does not read, by PyAV (extra `m4a`), as an object that is used like a SoundFile.

The container is told by its first bytes and is given to FFmpeg by name, as an open file: it can not pass for a playlist
that fetches others. Decoding is on one thread. In a job it happens in the process with limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float32

HEAD_BYTES = 16  # that a container is told by
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
EBML = b"\x1aE\xdf\xa3"
UNSURE_SECONDS = 0.5  # what an encoder puts before and after the samples, and the container may not say


class AVError(ValueError):
    """Is raised for what FFmpeg cannot read, or where PyAV is missing; the message has no path."""

    def __init__(self, message: str, *, kind: str) -> None:
        """`kind` as of an AudioError."""
        super().__init__(message)
        self.kind = kind


def av_format(head: bytes) -> str | None:
    """FFmpeg's name of the container that begins with these bytes; None where it is none that is read by PyAV."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(ASF):
        return "asf"
    if head.startswith(EBML):
        return "matroska"
    # ADTS: twelve bits of ones, and layer 0, which no MP3 has
    return "aac" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else None


def _library() -> Any:
    """PyAV. Raises AVError where it is not installed or does not load."""
    try:
        import av  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise AVError(
            f"needs PyAV, which is not there ({error}); expected it: pip install 'earshot[m4a]'", kind="format"
        ) from None
    return av


class AVFile:
    """The first stream of audio of a file, read from front to back."""

    def __init__(self, path: Path, container: str) -> None:
        """Raises AVError."""
        self._path, self._container = path, container
        self.frames = self._count()
        self._input, self._stream = self._open()
        self.samplerate = int(self._stream.codec_context.sample_rate)
        self.channels = int(self._stream.codec_context.layout.nb_channels)
        self.format = container.upper()
        self._blocks = self._decode()
        self._held = np.zeros((0, self.channels), np.float32)

    def __enter__(self) -> AVFile:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._input.close()
        self._file.close()

    def _open(self) -> tuple[Any, Any]:
        av = _library()
        file = self._path.open("rb")  # FFmpeg is given no name: it could not find another file by it
        try:
            container = av.open(file, format=self._container, metadata_errors="replace")
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            file.close()
            raise AVError(f"not readable as audio ({_reason(error)})", kind="format") from None
        self._file = file
        if not container.streams.audio:
            container.close()
            file.close()
            raise AVError("no audio in it", kind="format")
        stream = container.streams.audio[0]
        if stream.codec_context is None or not stream.codec_context.layout.nb_channels:
            container.close()
            file.close()
            raise AVError("not readable as audio (no decoder for it, or no channels)", kind="format")
        stream.codec_context.thread_count = 1
        return container, stream

    def _count(self) -> int:
        """Samples of one channel by the durations of the packets: nothing is decoded, and no header is believed."""
        container, stream = self._open()
        with self._file, container:
            try:
                ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            except MemoryError:
                raise
            except (_library().error.FFmpegError, ValueError) as error:
                raise AVError(f"damaged ({_reason(error)})", kind="damaged") from None
            seconds = float(ticks * (stream.time_base or 0)) or (container.duration or 0) / 1e6
            return round(seconds * (stream.codec_context.sample_rate or 0))

    def _decode(self) -> Iterator[Float32[np.ndarray, "sample channel"]]:
        av = _library()
        resampler = av.AudioResampler(format="fltp", layout=self._stream.codec_context.layout, rate=self.samplerate)
        try:
            for frame in self._input.decode(self._stream):
                if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
                    raise AVError("damaged (its rate or channels change)", kind="damaged")
                for each in resampler.resample(frame):
                    yield each.to_ndarray().T
        except (MemoryError, AVError):
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise AVError(f"damaged ({_reason(error)})", kind="damaged") from None

    def seek(self, sample: int) -> None:
        """Go on from this sample, counted from the beginning; what is before it is decoded and dropped."""
        while sample > len(self._held):
            sample -= len(self._held)
            block = next(self._blocks, None)
            if block is None:
                self._held = self._held[:0]
                return
            self._held = block
        self._held = self._held[sample:]

    def read(
        self, frames: int, dtype: str = "float32", always_2d: bool = True
    ) -> Float32[np.ndarray, "sample channel"]:
        """Returns up to `frames` samples of every channel; fewer if no more are left."""
        assert dtype == "float32"
        assert always_2d
        blocks, missing = [self._held[:frames]], frames - len(self._held[:frames])
        self._held = self._held[frames:]
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            blocks.append(block[:missing])
            self._held = block[missing:]
            missing -= len(blocks[-1])
        return np.ascontiguousarray(np.concatenate(blocks))


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
