"""Recordings: what a file holds, its samples as one channel at the wanted rate, and writing them back."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Float, Float32

from asr.audio.av import HEAD_BYTES, UNSURE_SECONDS, AVError, AVFile, av_format
from asr.audio.containers import shortfall, with_mp3_table
from asr.audio.levels import ChannelLevels
from asr.files.replacing import replacing

# m4a, aac, wma and webm are no format of libsndfile: PyAV reads them, where it is installed.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".webm", ".aif", ".aiff", ".au"}
    | {".caf", ".w64", ".rf64", ".sph"}
)
SAMPLE_RATES = range(1_000, 768_001)  # a damaged header's 3 Hz would be resampled into gigabytes
LONGEST_OVERRUN = 0.1  # seconds a stretch may reach past the end: durations are rounded, lossy containers pad
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
    """What a recording's header says; nothing of it is decoded."""

    path: Path
    sample_rate: int  # hertz
    num_channels: int
    num_samples: int  # of one channel
    duration: float  # seconds
    container: str  # libsndfile's name: WAV, FLAC, OGG (Vorbis and Opus), MP3, ...; or FFmpeg's: MOV, AAC, ...


def read_info(path: str | Path) -> AudioInfo:
    """Read a recording's header.

    Raises:
        AudioError: the file is missing, empty, not audio libsndfile can read, truncated, without samples, or states
            an impossible sample rate.
    """
    with open_audio(path) as recording:
        return recording.info


def read_audio(
    path: str | Path,
    *,
    sample_rate: int | None = 16_000,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | Literal["mix"] = "mix",
) -> Float32[np.ndarray, " sample"]:
    """Read a stretch of a recording as one channel.

    Args:
        path: any container that libsndfile reads, or PyAV where it is installed.
        sample_rate: hertz to resample to; None keeps the recording's own.
        offset: seconds to skip from the start.
        duration: seconds to read; None reads to the end.
        channel: counted from 0, or "mix" for the mean of all.

    Raises:
        AudioError: as `read_info`, and where the stretch or the channel does not exist, or samples are not finite.
    """
    blocks = list(
        stream_audio(path, sample_rate=sample_rate, offset=offset, duration=duration, channel=channel),
    )
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def stream_audio(
    path: str | Path,
    *,
    sample_rate: int | None = 16_000,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | Literal["mix"] = "mix",
) -> Iterator[Float32[np.ndarray, " sample"]]:
    """What `read_audio` reads, block by block, at least one; joined, the blocks are exactly what it gives.

    Hours of audio cost no more memory than a block. Raises as `read_audio`, some of it only at the last block.
    """
    with open_audio(path) as recording:
        yield from recording.blocks(sample_rate=sample_rate, offset=offset, duration=duration, channel=channel)


@dataclass(frozen=True)
class OpenAudio:
    """A recording being read from front to back, once."""

    info: AudioInfo
    file: soundfile.SoundFile | AVFile
    levels: ChannelLevels  # of what has been read

    def blocks(
        self, *, sample_rate: int | None, offset: float, duration: float | None, channel: int | Literal["mix"]
    ) -> Iterator[Float32[np.ndarray, " sample"]]:
        """Yields samples in blocks, as `stream_audio` does."""
        stretch = _stretch(self.info, offset, duration)
        blocks = _finite(self.info, _channel_blocks(self, stretch, channel))
        if sample_rate is None or sample_rate == self.info.sample_rate:
            yield from blocks
            return
        _check_rate(sample_rate)
        stream = soxr.ResampleStream(self.info.sample_rate, sample_rate, 1, dtype="float32", quality="HQ")
        for block in blocks:
            yield stream.resample_chunk(block)
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


@contextmanager
def open_audio(path: str | Path) -> Iterator[OpenAudio]:
    """Open a recording, for both its header and its samples. Raises as `read_info`."""
    with _open(Path(path)) as file:
        info = _info(Path(path), file)
        yield OpenAudio(info, file, ChannelLevels(info.num_channels))


def resample(
    samples: Float[np.ndarray, " sample"], *, from_rate: int, to_rate: int
) -> Float32[np.ndarray, " resampled_sample"]:
    """Resample by soxr at high quality (linear phase, delay compensated); equal rates copy nothing."""
    for rate in (from_rate, to_rate):
        _check_rate(rate)
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if from_rate == to_rate:
        return samples
    return soxr.resample(samples, from_rate, to_rate, quality="HQ").astype(np.float32, copy=False)


def write_audio(path: str | Path, samples: Float[np.ndarray, " sample"], *, sample_rate: int) -> None:
    """Write one channel in the format of the path's suffix, whole or not at all.

    PCM formats have 16 bits, and what lies outside [-1, 1] is clipped.

    Raises:
        AudioError: libsndfile writes no such format, or the samples are not finite.
    """
    path = Path(path)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: samples to write that are NaN or infinite; expected finite ones")
    container, subtype = ("OGG", "OPUS") if path.suffix.lower() == ".opus" else (path.suffix[1:].upper(), None)
    if container not in soundfile.available_formats():
        raise AudioError(f"{path}: a suffix libsndfile cannot write; expected .wav, .flac, .ogg, .opus or .mp3")
    with replacing(path) as beside:
        try:
            soundfile.write(beside, samples, sample_rate, format=container, subtype=subtype)
        except (soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(
                f"{path}: cannot be written: {error}; expected a sample rate and a place that {container} allows"
            ) from error


def find_recordings(folder: str | Path) -> list[Path]:
    """List the recordings below a folder, by suffix, sorted; hidden files and linked folders are left out.

    Raises:
        AudioError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder}: not a folder; expected one with recordings in it")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_EXTENSIONS
        ]
    return sorted(found)


def _rates_in_words() -> str:
    return f"{SAMPLE_RATES.start:,} to {SAMPLE_RATES.stop - 1:,} Hz"


def _check_rate(rate: int) -> None:
    if rate not in SAMPLE_RATES:
        raise AudioError(f"resample: a sample rate of {rate} Hz; expected {_rates_in_words()}")


class _SequentialFile(soundfile.SoundFile):
    """A file read from front to back: soundfile seeks after every block, which FLACs of unknown length do not allow."""

    def seekable(self) -> bool:
        return False


def _open(path: Path) -> soundfile.SoundFile | AVFile:
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
    """Whether PyAV reads this file and libsndfile does not. Raises OSError where it cannot be read."""
    return _av_container(path) is not None


def _what_it_is(path: Path) -> str:
    if path.exists():
        return "not a file"
    return "a link to nothing" if path.is_symlink() else "no such file"


def _reason(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return text.rstrip(".")


def _info(path: Path, file: soundfile.SoundFile | AVFile) -> AudioInfo:
    if file.samplerate not in SAMPLE_RATES:
        raise AudioError(f"{path}: a sample rate of {file.samplerate} Hz; expected {_rates_in_words()}", kind="format")
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
    """Those of one channel, by decoding all of them: the header of a stream does not say."""
    with _SequentialFile(os.fsencode(path)) as file:  # type: ignore
        return sum(map(len, _blocks(path, file, None, expected=UNKNOWN_LENGTH)))


def _stretch(info: AudioInfo, offset: float, duration: float | None) -> tuple[int, int | None]:
    """First sample and number of samples of the stretch from `offset` that lasts `duration`, both in seconds.

    The number is None up to the recording's end, wherever that is found to be.
    """
    start = round(offset * info.sample_rate) if 0 <= offset < info.duration else info.num_samples
    if start >= info.num_samples:
        raise AudioError(
            f"{info.path}: an offset of {offset} s; expected 0 or more, before its end at {info.duration:.3f} s",
            kind="stretch",
        )
    if duration is None:
        return start, None
    if not 0 < duration <= info.duration - offset + LONGEST_OVERRUN:
        raise AudioError(
            f"{info.path}: a duration of {duration} s from {offset} s; "
            f"expected above 0 and no further than its end at {info.duration:.3f} s",
            kind="stretch",
        )
    return start, min(max(1, round(duration * info.sample_rate)), info.num_samples - start)


def _channel_blocks(
    recording: OpenAudio, stretch: tuple[int, int | None], channel: int | Literal["mix"]
) -> Iterator[Float32[np.ndarray, " sample"]]:
    """Decode one channel of a stretch, block by block."""
    info, file = recording.info, recording.file
    if channel != "mix" and not 0 <= channel < info.num_channels:
        raise AudioError(
            f"{info.path}: no channel {channel}; expected 0 to {info.num_channels - 1}, or 'mix' for the mean of all",
            kind="channel",
        )
    start, wanted = stretch
    expected = info.num_samples - start if wanted is None else wanted
    found = 0
    if start:
        file.seek(start)
    for block in _blocks(info.path, file, wanted, expected=expected):
        found += len(block)
        recording.levels.add(block)
        if channel == "mix":
            yield block[:, 0] if info.num_channels == 1 else block.mean(axis=1)
        else:
            yield np.ascontiguousarray(block[:, channel])
    # What an MP3's header promises may be a frame off; half a file is not.
    unsure = LONGEST_OVERRUN if isinstance(file, soundfile.SoundFile) else UNSURE_SECONDS
    if not found or expected - found > unsure * info.sample_rate:
        raise AudioError(
            f"{info.path}: truncated: {found:,} samples from sample {start:,}; "
            f"expected {expected:,} by its header; fetch or write it again",
            kind="truncated",
        )


def _blocks(
    path: Path, file: soundfile.SoundFile | AVFile, num_samples: int | None, *, expected: int
) -> Iterator[Float32[np.ndarray, "sample channel"]]:
    """Samples from where the file stands, as many or up to its end, which is `expected` after so many."""
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


def _finite(
    info: AudioInfo, blocks: Iterator[Float32[np.ndarray, " sample"]]
) -> Iterator[Float32[np.ndarray, " sample"]]:
    for block in blocks:
        if not np.isfinite(block.sum(dtype=np.float64)):
            raise AudioError(
                f"{info.path}: samples that are NaN or infinite; expected finite ones; write the file again",
                kind="samples",
            )
        yield block
