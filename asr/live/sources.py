"""Opens what live audio comes from: a microphone, a recorder's pipe, a file that is played, or raw samples on stdin.

A source is opened for a rate in hertz, and gives blocks of samples of one channel at that rate:

    with open_source(config, sample_rate=16_000) as blocks:
        for samples in blocks: ...
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from asr.audio.reading import stream_audio
from asr.live.background import in_background
from asr.live.config import ListenConfig
from asr.live.microphone import open_microphone
from asr.live.pcm import BLOCK_SECONDS, SourceError, read_pcm

Blocks = Iterator[Float32[np.ndarray, " sample"]]

REMEDY = (
    "expected a microphone: pip install 'earshot[live]' (sounddevice), or arecord (alsa-utils) or parec "
    "(pulseaudio-utils) on the path; without one, give a file to play, or raw samples on stdin (-)"
)
SECONDS_TO_END = 2.0  # that a recorder gets when it is asked to end


def open_source(config: ListenConfig, *, sample_rate: int) -> AbstractContextManager[Blocks]:
    """Opens what the configuration names. Raises SourceError where there is no such thing, AudioError for a file."""
    if config.source == "-":
        return contextlib.nullcontext(read_pcm(sys.stdin.buffer, from_rate=config.rate, to_rate=sample_rate))
    if config.source is not None:
        return contextlib.nullcontext(play(Path(config.source), sample_rate=sample_rate, is_paced=not config.fast))
    recorder = config.recorder if config.recorder != "auto" else find_recorder()
    if recorder == "sounddevice":
        return open_microphone(config.device, sample_rate=sample_rate)
    return open_recorder(recorder_command(recorder, config.device, sample_rate=sample_rate), sample_rate=sample_rate)


def find_recorder() -> str:
    """Returns the first of sounddevice, parec and arecord that is here. Raises SourceError where none is."""
    if _has_sounddevice():
        return "sounddevice"
    found = next((name for name in ("parec", "arecord") if shutil.which(name)), None)
    if found is None:
        raise SourceError(f"microphone: neither sounddevice, parec nor arecord is here; {REMEDY}")
    return found


def _has_sounddevice() -> bool:
    try:
        import sounddevice  # noqa: F401  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError):  # OSError: the package is here, and PortAudio is not
        return False
    return True


def play(path: Path, *, sample_rate: int, is_paced: bool) -> Blocks:
    """Yields a recording's samples: as they would come from a microphone, or as fast as they are taken."""
    size = max(1, round(BLOCK_SECONDS * sample_rate))
    begun, num_played = time.monotonic(), 0
    for samples in stream_audio(path, sample_rate=sample_rate):
        for start in range(0, len(samples), size):
            block = samples[start : start + size]
            num_played += len(block)
            if is_paced:
                time.sleep(max(0.0, begun + num_played / sample_rate - time.monotonic()))
            yield block


def recorder_command(recorder: str, device: str | None, *, sample_rate: int) -> list[str]:
    """Returns how `arecord` or `parec` is called to write raw samples."""
    if recorder == "arecord":
        chosen = ["-D", device] if device else []
        return ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(sample_rate), *chosen]
    chosen = [f"--device={device}"] if device else []
    return ["parec", "--raw", "--format=s16le", "--channels=1", f"--rate={sample_rate}", "--latency-msec=20", *chosen]


@contextmanager
def open_recorder(command: list[str], *, sample_rate: int) -> Iterator[Blocks]:
    """Starts a recorder and gives what it records; it is ended with the block.

    Raises SourceError, with what the recorder said, where it cannot be started, or ends by itself.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise SourceError(f"microphone: {command[0]} cannot be started ({error.strerror}); {REMEDY}") from error
    try:
        with contextlib.closing(in_background(_recorded(process, command[0], sample_rate=sample_rate))) as blocks:
            yield blocks
    finally:
        process.terminate()
        try:
            process.communicate(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _recorded(process: subprocess.Popen[bytes], name: str, *, sample_rate: int) -> Blocks:
    assert process.stdout is not None
    assert process.stderr is not None
    yield from read_pcm(process.stdout, from_rate=sample_rate, to_rate=sample_rate)
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    code = process.wait()
    raise SourceError(
        f"microphone: {name} has ended (exit code {code}): {said[-1] if said else 'it said nothing'}; expected it to "
        f"go on: plug the device in, choose another with --device (`arecord -L` and `pactl list short sources` name "
        f"them), or another --recorder"
    )
