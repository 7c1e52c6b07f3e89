"""A recording's file: opened by whatever library reads its format, its header, and its samples in blocks."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from asr.audio.av import HEAD_BYTES, AVError, AVFile, av_format
from asr.audio.containers import shortfall, with_mp3_table

SAMPLE_RATES = range(1_000, 768_001)  # a damaged header's 3 Hz would be resampled into gigabytes
BLOCK_VALUES = 1 << 20  # values read at a time, so that a header promising years of audio costs no memory
SMALL_BLOCK = 1 << 12  # samples asked for where none should be left
UNKNOWN_LENGTH = 1 << 62  # libsndfile's number of samples where a stream does not say it


class AudioError(ValueError):
    """A recording that cannot be used as asked; the message starts with its path."""

    def __init__(self, message: str, *, kind: str = "unusable") -> None:
        """`kind` sorts errors in a report: missing, unreadable, empty, format, truncated, damaged, samples, ..."""
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class AudioInfo:
    """Holds what a recording's header says; nothing of it is decoded."""

    path: Path
    sample_rate: int  # hertz
    num_channels: int
    num_samples: int  # of one channel
    duration: float  # seconds
    container: str  # libsndfile's name: WAV, FLAC, OGG (Vorbis and Opus), MP3, ...; or FFmpeg's: MOV, AAC, ...


class _SequentialFile(soundfile.SoundFile):
    """A file read from front to back: soundfile seeks after every block, which FLACs of unknown length do not allow."""

    def seekable(self) -> bool:
        return False


def open_file(path: Path) -> soundfile.SoundFile | AVFile:
    """Returns the file, ready to be read by the library that reads its format.

    Raises AudioError for a file that is missing, empty, unreadable, truncated, or in a format that no library reads.
    """
    try:
        if not path.is_file():
            raise AudioError(f"{path}: {_what_it_is(path)}; expected a recording", kind="missing")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: an empty file; expected a recording; fetch or write it again", kind="empty")
        missing = shortfall(path)
        mended = with_mp3_table(path)
        container = _av_container(path)
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be read ({error.strerror}); expected a file that this user may read", kind="unreadable"
        ) from error
    if missing is not None:
        raise AudioError(f"{path}: truncated: {missing}; fetch or write it again", kind="truncated")
    try:
        if container is not None:
            return AVFile(path, container)
        # A name need not be UTF-8.
        return _SequentialFile(os.fsencode(path) if mended is None else io.BytesIO(mended))  # type: ignore
    except AVError as error:
        raise AudioError(
            f"{path}: {error}; another format can be converted: ffmpeg -i IN OUT.wav", kind=error.kind
        ) from error
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, samples without a header
        raise AudioError(
            f"{path}: not readable as audio ({_reason(error)}); expected wav, flac, ogg, opus or mp3; "
            f"another format can be converted: ffmpeg -i IN OUT.wav",
            kind="format",
        ) from error


def _av_container(path: Path) -> str | None:
    with path.open("rb") as file:
        return av_format(file.read(HEAD_BYTES))


def needs_av(path: Path) -> bool:
    """Returns whether PyAV reads this file and libsndfile does not. Raises OSError where it cannot be read."""
    return _av_container(path) is not None


def _what_it_is(path: Path) -> str:
    if path.exists():
        return "not a file"
    return "a link to nothing" if path.is_symlink() else "no such file"


def _reason(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return text.rstrip(".")


def read_header(path: Path, file: soundfile.SoundFile | AVFile) -> AudioInfo:
    """Returns what the header says. Raises AudioError for an impossible sample rate, and where there are no samples."""
    if file.samplerate not in SAMPLE_RATES:
        raise AudioError(f"{path}: a sample rate of {file.samplerate} Hz; expected {rates_in_words()}", kind="format")
    num_samples = file.frames
    if num_samples >= UNKNOWN_LENGTH:
        num_samples = _count_samples(path)
    if num_samples <= 0:
        raise AudioError(f"{path}: no samples; expected a recording with some", kind="samples")
    return AudioInfo(
        path=path,
        sample_rate=file.samplerate,
        num_channels=file.channels,
        num_samples=num_samples,
        duration=num_samples / file.samplerate,
        container=file.format,
    )


def _count_samples(path: Path) -> int:
    """Returns the number of samples of one channel. It decodes them all, since no header says it."""
    with _SequentialFile(os.fsencode(path)) as file:  # type: ignore
        return sum(map(len, read_blocks(path, file, None, expected=UNKNOWN_LENGTH)))


def read_blocks(
    path: Path, file: soundfile.SoundFile | AVFile, num_samples: int | None, *, expected: int
) -> Iterator[Float32[np.ndarray, "sample channel"]]:
    """Yields `num_samples` from where the file stands, or all up to its end, which is expected after `expected`."""
    size = max(1, BLOCK_VALUES // file.channels)
    missing = UNKNOWN_LENGTH if num_samples is None else num_samples
    try:
        while missing > 0:
            # libsndfile clears what it does not fill: a megabyte for a second of audio takes longer than reading it.
            wanted = min(missing, size, max(expected, SMALL_BLOCK))
            block = file.read(wanted, dtype="float32", always_2d=True)
            if not len(block):
                return
            missing, expected = missing - len(block), expected - len(block)
            yield block
    except AVError as error:
        raise AudioError(f"{path}: {error}; fetch or write it again", kind=error.kind) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: damaged ({_reason(error)}); fetch or write it again", kind="damaged") from error


def rates_in_words() -> str:
    """Returns the sample rates that are possible, for messages."""
    return f"{SAMPLE_RATES.start:,} to {SAMPLE_RATES.stop - 1:,} Hz"
