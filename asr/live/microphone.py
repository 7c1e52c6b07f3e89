"""A microphone by PortAudio, as the package `sounddevice` has it (extra `live`)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float32

from asr.live.background import in_background
from asr.live.pcm import BLOCK_SECONDS, Resampler, SourceError, from_int16

Blocks = Iterator[Float32[np.ndarray, " sample"]]


@contextmanager
def open_microphone(device: str | None, *, sample_rate: int) -> Iterator[Blocks]:
    """Opens a device by its number or a part of its name, or the default, and gives what it records.

    A device that cannot record at the model's rate records at its own, and is resampled. Raises SourceError without
    the package, without a device, and where a device is unplugged.
    """
    sounddevice = _import()
    try:
        stream, rate = _open(sounddevice, int(device) if device and device.isdecimal() else device, sample_rate)
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no device of that name, or several
        raise SourceError(f"microphone: {_first_line(error)}; {_devices(sounddevice)}") from error
    with stream, contextlib.closing(in_background(_recorded(sounddevice, stream, rate, sample_rate))) as blocks:
        yield blocks


def _import() -> Any:
    try:
        import sounddevice  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SourceError(
            "microphone: sounddevice is not installed; expected pip install 'earshot[live]', or --recorder arecord"
        ) from None
    except OSError as error:
        raise SourceError(
            f"microphone: sounddevice finds no PortAudio ({_first_line(error)}); expected it: apt-get install "
            "libportaudio2, or --recorder arecord"
        ) from None
    return sounddevice


def _open(sounddevice: Any, device: int | str | None, sample_rate: int) -> tuple[Any, int]:
    """Returns a stream of the model's rate, or else of the device's own, and that rate."""
    chosen = {"device": device, "channels": 1, "dtype": "int16"}
    try:
        sounddevice.check_input_settings(**chosen, samplerate=sample_rate)
        rate = sample_rate
    except sounddevice.PortAudioError:
        rate = round(sounddevice.query_devices(device, "input")["default_samplerate"])
    return sounddevice.RawInputStream(**chosen, samplerate=rate, blocksize=max(1, round(BLOCK_SECONDS * rate))), rate


def _recorded(sounddevice: Any, stream: Any, rate: int, sample_rate: int) -> Blocks:
    resampler = Resampler(rate, sample_rate)
    was_late = False
    while True:
        try:
            data, is_late = stream.read(max(1, round(BLOCK_SECONDS * rate)))
        except sounddevice.PortAudioError as error:
            raise SourceError(
                f"microphone: the device gives nothing any more ({_first_line(error)}); expected it to stay: plug it "
                "in and start again, or choose another with --device"
            ) from error
        if is_late and not was_late:
            print("microphone: samples were lost, for they were not taken in time", file=sys.stderr)
        was_late = is_late
        yield resampler.push(from_int16(bytes(data)))


def _devices(sounddevice: Any) -> str:
    """Returns what can be given to --device."""
    try:
        found = [
            f"{number}: {each['name']}"
            for number, each in enumerate(sounddevice.query_devices())
            if each["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError:
        found = []
    if not found:
        return (
            "expected a device that records, and there is none: plug a microphone in, or give a file to play, or raw "
            "samples on stdin (-)"
        )
    return f"expected --device with one of {'; '.join(found)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
