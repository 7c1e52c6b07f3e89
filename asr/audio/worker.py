"""A process that does nothing but decode recordings: what a broken one does to it, it does to nobody else.

    python -m asr.audio.worker        started by asr.audio.pool

It reads one request a line (JSON) and answers with frames: a letter, the number of bytes, the bytes.

    s   samples, float32, of one channel, at the rate asked for
    d   done: what the recording is, and the SHA-256 of its bytes (JSON)
    e   why it cannot be read: kind and message (JSON)

Memory is limited for the process. Time is limited for each block of samples, and is processor time: a busy machine or
a reader that does not keep up costs a recording nothing.
"""

import contextlib
import functools
import hashlib
import importlib
import io
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.opening import needs_av
from asr.audio.reading import AudioError, OpenAudio, open_audio
from asr.process.signals import use_signal_stack

try:
    import resource
except ImportError:  # Windows has no limits for a process; the time without an answer is limited all the same
    resource = None

FRAME_HEAD = "<cI"  # a letter, the number of bytes that follow
SAMPLES, DONE, ERROR = b"s", b"d", b"e"
SAMPLES_PER_FRAME = 1 << 16
LIBRARY_BYTES = 1 << 29  # of address space, for libraries that are loaded later


def main() -> int:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)  # what a library prints must not get between the frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the job's to answer
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process; SIG_IGN could be inherited
    use_signal_stack()
    limits = json.loads(requests.readline() or b"{}")
    if limits:
        limit_memory(limits["memory_bytes"])
    while line := requests.readline():
        answer(json.loads(line), answers, seconds_per_block=limits["seconds_per_block"])  # type: ignore
        answers.flush()
    return 0


def limit_memory(num_bytes: int) -> None:
    """Limits what is mapped beyond the present to `num_bytes`, if Linux says how much that is; forbids core files."""
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    limit = _mapped_bytes() + num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit + LIBRARY_BYTES))


def limit_time(seconds: float) -> None:
    """Allows so much processor time from now on, then SIGPROF ends the process; 0: no limit. Not on Windows."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def load_av() -> None:
    """Load PyAV, once and only for a recording that needs it; its libraries do not count as the recording's memory."""
    if resource is None or not sys.platform.startswith("linux"):
        return  # memory is not limited: opening the recording loads it
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = _mapped_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    with contextlib.suppress(ImportError):  # opening the recording will say so
        importlib.import_module("av")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (min(soft + _mapped_bytes() - before, hard), hard))


def answer(request: dict[str, Any], answers: io.BufferedIOBase, *, seconds_per_block: float) -> None:
    """Decode one recording; whatever is wrong with it is said, and the process goes on."""
    try:
        limit_time(seconds_per_block)
        _decode(request, answers, seconds_per_block)
    except AudioError as error:
        _say(answers, ERROR, {"kind": error.kind, "message": str(error)})
    except MemoryError:
        message = f"{request['path']}: more memory needed than a recording may take; see memory_mb"
        _say(answers, ERROR, {"kind": "memory", "message": message})
    except OSError as error:
        message = f"{request['path']}: cannot be read ({error.strerror or error}); expected a file to read"
        _say(answers, ERROR, {"kind": "unreadable", "message": message})
    finally:
        limit_time(0)


def _decode(request: dict[str, Any], answers: io.BufferedIOBase, seconds_per_block: float) -> None:
    path, start = Path(request["path"]), time.perf_counter()
    before = _state(path)
    digest = _digest(path, seconds_per_block)
    if digest and needs_av(path):
        load_av()
    with open_audio(path) as recording:
        num_samples = 0
        for block in _bounded_blocks(recording, request):
            num_samples += len(block)
            for begin in range(0, len(block), SAMPLES_PER_FRAME):
                _write(answers, SAMPLES, np.ascontiguousarray(block[begin : begin + SAMPLES_PER_FRAME]).data.cast("B"))
            limit_time(seconds_per_block)
    if before is None or before != _state(path):
        raise AudioError(f"{path}: changed while it was read; expected a finished file; run again", kind="changed")
    _say(
        answers,
        DONE,
        {
            "sha256": digest,
            "size": before[0],
            "num_channels": recording.info.num_channels,
            "num_samples": num_samples,
            "seconds": time.perf_counter() - start,
            "sample_rate": recording.info.sample_rate,
            "warning": recording.levels.warning(channel=request["channel"]),
        },
    )


def _bounded_blocks(recording: OpenAudio, request: dict[str, Any]) -> Iterator[np.ndarray]:
    """Yields what is asked for, as long as it is no longer than a recording may be, whatever its header says."""
    seconds, num_samples = recording.info.duration, 0
    for block in recording.blocks(
        sample_rate=request["sample_rate"],
        offset=request["offset"],
        duration=request["duration"],
        channel=request["channel"],
    ):
        num_samples += len(block)
        if max(seconds, num_samples / request["sample_rate"]) > request["longest"]:
            raise AudioError(
                f"{recording.info.path}: {seconds / 3600:.1f} hours; expected at most {request['longest'] / 3600:g}; "
                "cut it, or raise longest_hours",
                kind="too long",
            )
        yield block


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; None for what is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _digest(path: Path, seconds_per_block: float) -> str:
    """SHA-256 of a file's bytes, in hex; empty for what is no file, which reading it will name."""
    if not path.is_file():  # a pipe would wait for its writer for ever
        return ""
    state = path.stat()
    return _digest_of(path, state.st_size, state.st_mtime_ns, seconds_per_block)


@functools.lru_cache(maxsize=4)  # a manifest names a recording again and again
def _digest_of(path: Path, _size: int, _changed: int, seconds_per_block: float) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            hasher.update(block)
            limit_time(seconds_per_block)
    return hasher.hexdigest()


def _say(answers: io.BufferedIOBase, letter: bytes, values: dict[str, Any]) -> None:
    _write(answers, letter, json.dumps(values).encode("ascii"))


def _write(answers: io.BufferedIOBase, letter: bytes, content: bytes | memoryview) -> None:
    answers.write(struct.pack(FRAME_HEAD, letter, len(content)))
    answers.write(content)


if __name__ == "__main__":
    sys.exit(main())
