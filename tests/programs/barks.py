"""Minutes of barks that no dog gave, to count the words that a run hallucinates in them.

    python -m tests.programs.barks FOLDER [--minutes 10] [--seconds 5]
    python -m asr.evaluate RUN FOLDER/barks.jsonl

A bark is a falling buzz and a breath through three to five resonators, 80 to 300 ms long, over faint noise.
"""

import argparse
from pathlib import Path

import numpy as np

from asr.audio.reading import write_audio
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest

RATE = 16_000  # hertz


def bark(rng: np.random.Generator) -> np.ndarray:
    """One bark, as samples [sample] with a peak of at most 1."""
    seconds = np.arange(int(rng.uniform(0.08, 0.3) * RATE)) / RATE
    pitch = rng.uniform(120, 700) * np.exp(-rng.uniform(0, 2) * seconds)  # hertz
    buzz = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE)) * rng.uniform(0.3, 1)
    source = buzz + rng.standard_normal(len(seconds)) * rng.uniform(0.2, 1)
    sound = sum(rng.uniform(0.3, 1) * resonate(source, rng) for _ in range(rng.integers(3, 6)))
    sound *= (1 - np.exp(-seconds / rng.uniform(0.002, 0.02))) * np.exp(-seconds / rng.uniform(0.03, 0.15))
    return sound / np.abs(sound).max()


def resonate(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a resonator of 250 to 4,000 Hz, 50 to 400 Hz wide, makes of the samples."""
    frequency, width = rng.uniform(250, 4000), rng.uniform(50, 400)
    since = np.arange(int(0.1 * RATE)) / RATE
    response = np.exp(-np.pi * width * since) * np.sin(2 * np.pi * frequency * since)
    return np.convolve(source, response)[: len(source)]


def recording(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Barks, some in quick succession, as samples [sample]."""
    samples = 0.001 * rng.uniform() * rng.standard_normal(int(seconds * RATE))
    start = rng.uniform(0, min(1, seconds / 4))
    while start < seconds - 0.4:
        place, sound = int(start * RATE), bark(rng) * rng.uniform(0.05, 0.7)
        samples[place : place + len(sound)] += sound
        start += rng.uniform(0.2, 0.6) if rng.uniform() < 0.5 else rng.uniform(0.6, 3)
    return samples.astype(np.float32)


def write(folder: Path, *, minutes: float, seconds: float, seed: int = 0) -> Path:
    """Write the recordings and their manifest, whose transcripts are empty."""
    rng, found = np.random.default_rng(seed), []
    for number in range(round(minutes * 60 / seconds)):
        path = (folder / "barks" / f"{number:03d}.flac").absolute()
        write_audio(path, recording(seconds, rng), sample_rate=RATE)
        found.append(Utterance(f"barks/{number:03d}", str(path), seconds, ""))
    write_manifest(folder / "barks.jsonl", found)
    return folder / "barks.jsonl"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of barks, in all (10)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each recording (5)")
    options = parser.parse_args()
    print(write(options.folder, minutes=options.minutes, seconds=options.seconds))
