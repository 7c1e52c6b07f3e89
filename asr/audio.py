"""Recordings: what a file holds, its samples as one channel at the wanted rate, and writing them back."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Float, Float32

from asr.files import replacing

# m4a, aac, wma and webm are no format of libsndfile: they are listed so that they are named, not passed over.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".webm", ".aif", ".aiff", ".au"}
    | {".caf", ".w64", ".rf64", ".sph"}
)
SAMPLE_RATES = range(1_000, 768_001)  # a damaged header's 3 Hz would be resampled into gigabytes
LONGEST_OVERRUN = 0.1  # seconds a stretch may reach past the end: durations are rounded, lossy containers pad
BLOCK_VALUES = 1 << 22  # values read at a time, so that a header promising years of audio costs no memory


class AudioError(ValueError):
    """A recording that cannot be used as asked; the message starts with its path."""


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says; nothing of it is decoded."""

    path: Path
    sample_rate: int  # hertz
    num_channels: int
    num_samples: int  # of one channel
    duration: float  # seconds
    container: str  # libsndfile's name: WAV, FLAC, OGG (Vorbis and Opus), MP3, ...


def read_info(path: str | Path) -> AudioInfo:
    """Read a recording's header.

    Raises:
        AudioError: the file is missing, empty, not audio libsndfile can read, truncated, without samples, or states
            an impossible sample rate.
    """
    with _open(Path(path)) as file:
        return _info(Path(path), file)


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
        path: any container libsndfile reads.
        sample_rate: hertz to resample to; None keeps the recording's own.
        offset: seconds to skip from the start.
        duration: seconds to read; None reads to the end.
        channel: counted from 0, or "mix" for the mean of all.

    Raises:
        AudioError: as `read_info`, and where the stretch or the channel does not exist, or samples are not finite.
    """
    path = Path(path)
    with _open(path) as file:
        info = _info(path, file)
        start, num_samples = _stretch(info, offset, duration)
        samples = _one_channel(info, _read_samples(info, file, start, num_samples), channel)
    if not np.isfinite(samples.sum(dtype=np.float64)):
        raise AudioError(f"{path}: samples that are NaN or infinite; expected finite ones; write the file again")
    if sample_rate is None or sample_rate == info.sample_rate:
        return samples
    return resample(samples, from_rate=info.sample_rate, to_rate=sample_rate)


def resample(
    samples: Float[np.ndarray, " sample"], *, from_rate: int, to_rate: int
) -> Float32[np.ndarray, " resampled_sample"]:
    """Resample by soxr at high quality (linear phase, delay compensated); equal rates copy nothing."""
    for rate in (from_rate, to_rate):
        if rate not in SAMPLE_RATES:
            raise AudioError(f"resample: a sample rate of {rate} Hz; expected {_rates_in_words()}")
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


def _open(path: Path) -> soundfile.SoundFile:
    if not path.is_file():
        raise AudioError(f"{path}: {'not a file' if path.exists() else 'no such file'}; expected a recording")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: an empty file; expected a recording; fetch or write it again")
    _check_wav_is_whole(path)
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: not readable as audio ({error.error_string.rstrip('.')}); expected wav, flac, ogg, opus or mp3; "
            f"another format can be converted: ffmpeg -i IN OUT.wav"
        ) from error


def _check_wav_is_whole(path: Path) -> None:
    """Refuse a WAV whose `data` chunk is longer than the file: libsndfile reads what is there and says nothing."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return
        file.seek(12)
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                present = path.stat().st_size - file.tell()
                # A stream of unknown length is written with a size of 0xFFFFFFFF, and is whole as it is.
                if size > present and size < 0xFFFF_F000:
                    raise AudioError(
                        f"{path}: truncated: {present:,} bytes of samples; expected {size:,} by its header; "
                        f"fetch or write it again"
                    )
                return
            file.seek(size + size % 2, os.SEEK_CUR)


def _info(path: Path, file: soundfile.SoundFile) -> AudioInfo:
    if file.samplerate not in SAMPLE_RATES:
        raise AudioError(f"{path}: a sample rate of {file.samplerate} Hz; expected {_rates_in_words()}")
    if file.frames <= 0:
        raise AudioError(f"{path}: no samples; expected a recording with some")
    return AudioInfo(
        path=path,
        sample_rate=file.samplerate,
        num_channels=file.channels,
        num_samples=file.frames,
        duration=file.frames / file.samplerate,
        container=file.format,
    )


def _stretch(info: AudioInfo, offset: float, duration: float | None) -> tuple[int, int]:
    """First sample and number of samples of the stretch from `offset` that lasts `duration`, both in seconds."""
    start = round(offset * info.sample_rate) if 0 <= offset < info.duration else info.num_samples
    if start >= info.num_samples:
        raise AudioError(
            f"{info.path}: an offset of {offset} s; expected 0 or more, before its end at {info.duration:.3f} s"
        )
    if duration is None:
        return start, info.num_samples - start
    if not 0 < duration <= info.duration - offset + LONGEST_OVERRUN:
        raise AudioError(
            f"{info.path}: a duration of {duration} s from {offset} s; "
            f"expected above 0 and no further than its end at {info.duration:.3f} s"
        )
    return start, min(max(1, round(duration * info.sample_rate)), info.num_samples - start)


def _read_samples(
    info: AudioInfo, file: soundfile.SoundFile, start: int, num_samples: int
) -> Float32[np.ndarray, "sample channel"]:
    """Decode a stretch, block by block."""
    blocks = []
    missing = num_samples
    try:
        if start:
            file.seek(start)
        while missing > 0:
            block = file.read(min(missing, BLOCK_VALUES // info.num_channels), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            missing -= len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{info.path}: damaged ({error.error_string.rstrip('.')}); fetch or write it again") from error
    # What an MP3's header promises may be a frame off; half a file is not.
    if not blocks or missing > LONGEST_OVERRUN * info.sample_rate:
        raise AudioError(
            f"{info.path}: truncated: {num_samples - missing:,} samples from sample {start:,}; "
            f"expected {num_samples:,} by its header; fetch or write it again"
        )
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _one_channel(
    info: AudioInfo, samples: Float32[np.ndarray, "sample channel"], channel: int | Literal["mix"]
) -> Float32[np.ndarray, " sample"]:
    if channel == "mix":
        return samples[:, 0] if info.num_channels == 1 else samples.mean(axis=1)
    if not 0 <= channel < info.num_channels:
        raise AudioError(
            f"{info.path}: no channel {channel}; expected 0 to {info.num_channels - 1}, or 'mix' for the mean of all"
        )
    return np.ascontiguousarray(samples[:, channel])
