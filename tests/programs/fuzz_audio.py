"""Damaged recordings by the thousand through the decoding processes: each has samples or a named error, none more.

    python -m tests.programs.fuzz_audio --inputs 100000

Input n of a seed is always the same bytes; --keep FOLDER keeps those that crashed, hung or swelled a decoder.
"""

import argparse
import io
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.pool import AudioLimits, AudioPool, Decoded
from asr.audio.stretch import Stretch
from tests.support.small_run import some_speech

SOURCES = [  # container, coding, hertz, channels
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_24", 44_100, 2),
    ("WAV", "FLOAT", 16_000, 1),
    ("WAV", "IMA_ADPCM", 8000, 1),
    ("WAVEX", "ULAW", 8000, 2),
    ("RF64", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_24", 48_000, 2),
    ("OGG", "VORBIS", 16_000, 1),
    ("OGG", "OPUS", 48_000, 2),
    ("MP3", "MPEG_LAYER_III", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),
]
SECONDS = 0.4  # of each
HEADER_BYTES = 128  # half of the damage is done here
KINDS = frozenset({"empty", "format", "truncated", "damaged", "samples", "too long", "stretch", "memory"})
"""What may be said of damaged bytes; crash and time are counted by themselves."""


@dataclass
class Fuzzed:
    """What became of some inputs."""

    num_inputs: int = 0
    results: Counter[str] = field(default_factory=Counter)  # read, or the kind of error
    faults: list[str] = field(default_factory=list)  # promises that were broken

    def add(self, number: int, decoded: Decoded) -> None:
        """Check one answer."""
        self.num_inputs += 1
        error = decoded.error
        self.results["read" if error is None else error.kind] += 1
        if error is None:
            self._check_samples(number, decoded)
        elif not str(error).startswith(f"{decoded.stretch.path}: "):
            self.faults.append(f"{number}: an error that does not name its recording: {error}")
        elif error.kind == "crash":
            if "exit code" in str(error):  # of Python, by a mistake of ours; a signal is libsndfile's
                self.faults.append(f"{number}: {error}")
        elif error.kind not in KINDS | {"time"}:
            self.faults.append(f"{number}: an error of a kind that bytes cannot have, {error.kind}: {error}")

    def _check_samples(self, number: int, decoded: Decoded) -> None:
        samples, facts = decoded.samples, decoded.facts
        if samples is None or facts is None or len(samples) != facts.num_samples:
            self.faults.append(f"{number}: {facts}, but other samples")
        elif not np.isfinite(samples).all():
            self.faults.append(f"{number}: samples that are not finite")


def write_sources() -> list[bytes]:
    """The whole recordings that damage is done to."""
    found = []
    for number, (container, coding, rate, channels) in enumerate(SOURCES):
        samples = np.stack([some_speech(number + 100 * each, SECONDS, rate) for each in range(channels)], axis=1)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format=container, subtype=coding)
        found.append(buffer.getvalue())
    return found


def damage(sources: list[bytes], number: int, *, seed: int) -> bytes:
    """Input `number`: a recording with some bytes changed, and perhaps a part cut off, taken out, doubled or mixed."""
    generator = np.random.default_rng((seed, number))
    content = bytearray(sources[generator.integers(len(sources))])
    reach = min(len(content), HEADER_BYTES if generator.random() < 0.5 else len(content))
    for _ in range(generator.integers(1, 16)):
        place, extreme = generator.integers(reach), generator.integers(4)
        content[place] = (0, 255, 127, generator.integers(256))[extreme]
    if generator.random() < 0.15:
        place = generator.integers(len(content) - 4)
        content[place : place + 4] = int(generator.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
    start, end = sorted(generator.integers(len(content), size=2).tolist())
    match generator.integers(10):
        case 0:
            del content[start:]
        case 1:
            del content[start:end]
        case 2:
            content[start:start] = content[start:end]
        case 3:
            content[start:end] = sources[generator.integers(len(sources))][start:end]
    return bytes(content)


def fuzz(num_inputs: int, *, seed: int, num_processes: int = 1, keep: Path | None = None, first: int = 0) -> Fuzzed:
    """Put so many inputs through the processes of a job, with limits that let a stuck one go soon."""
    sources, result = write_sources(), Fuzzed()
    limits = AudioLimits(memory_mb=512, seconds_per_block=5.0, stall_seconds=60.0)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:

        def stretches() -> Iterator[Stretch]:
            for number in range(first, first + num_inputs):
                path = Path(folder, f"{number}.audio")
                path.write_bytes(damage(sources, number, seed=seed))
                yield Stretch(str(path))

        with AudioPool(sample_rate=16_000, num_processes=num_processes, whole_seconds=1e6, limits=limits) as pool:
            for number, decoded in enumerate(pool.read(stretches(), num_ahead=16), first):
                result.add(number, decoded)
                path = Path(decoded.stretch.path)
                if keep is not None and decoded.error is not None and decoded.error.kind in ("crash", "time", "memory"):
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep)
                path.unlink()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that decode (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for what crashed, hung or swelled a decoder")
    options = parser.parse_args()
    start = time.perf_counter()
    found = fuzz(
        options.inputs, seed=options.seed, num_processes=options.processes, keep=options.keep, first=options.first
    )
    results = ", ".join(f"{number:,} {kind}" for kind, number in found.results.most_common())
    print(f"{found.num_inputs:,} inputs in {time.perf_counter() - start:.0f} s: {results}")
    for fault in found.faults[:20]:
        print(f"  {fault}")
    raise SystemExit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
