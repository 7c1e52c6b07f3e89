"""Recordings: what a file holds, its samples as one channel at the wanted rate, and writing them back."""

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

from asr.audio.av import UNSURE_SECONDS, AVFile
from asr.audio.levels import ChannelLevels
from asr.audio.opening import (
    SAMPLE_RATES,
    AudioError,
    AudioInfo,
    open_file,
    rates_in_words,
    read_blocks,
    read_header,
)
from asr.audio.stretch import Stretch
from asr.files.replacing import replacing

# m4a, aac, wma and webm are no format of libsndfile: PyAV reads them, where it is installed.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".webm", ".aif", ".aiff", ".au"}
    | {".caf", ".w64", ".rf64", ".sph"}
)
LONGEST_OVERRUN = 0.1  # seconds a stretch may reach past the end: durations are rounded, lossy containers pad


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
    sample_rate: int | None,
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


def read_stretch(stretch: Stretch, *, sample_rate: int) -> Float32[np.ndarray, " sample"]:
    """Read a stretch at the rate of whoever hears it, in hertz. Raises as `read_audio`."""
    channel = "mix" if stretch.channel is None else stretch.channel
    return read_audio(
        stretch.path, sample_rate=sample_rate, offset=stretch.offset, duration=stretch.duration, channel=channel
    )


def stream_audio(
    path: str | Path,
    *,
    sample_rate: int | None,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | Literal["mix"] = "mix",
) -> Iterator[Float32[np.ndarray, " sample"]]:
    """Yields what `read_audio` reads, block by block, at least one; joined, the blocks are exactly what it gives.

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
    with open_file(Path(path)) as file:
        info = read_header(Path(path), file)
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


def _check_rate(rate: int) -> None:
    if rate not in SAMPLE_RATES:
        raise AudioError(f"resample: a sample rate of {rate} Hz; expected {rates_in_words()}")


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
    for block in read_blocks(info.path, file, wanted, expected=expected):
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
