"""The cost of recognising with trained runs: measured side by side, on one machine."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.audio.reading import read_stretch
from asr.audio.stretch import Stretch
from asr.data.manifest import Manifest
from asr.process.distributed import set_num_threads
from asr.recognizer import Recognizer
from asr.training.memory import multiply_adds

COMMAND_SECONDS = 2.0  # the length of a spoken command whose latency is measured
NUM_ROUNDS = 5
TIMED_SECONDS = 60.0  # of test speech, for the real-time factor


@dataclass(frozen=True)
class Speed:
    """Says what recognising costs."""

    multiply_adds: float  # for a second of audio
    real_time_factor: float  # seconds of computing for a second of audio, one utterance at a time, features included
    latency: float  # seconds from the end of a 2 s command to its transcript


@torch.inference_mode()
def measure_speed(runs: Mapping[str, Path], test: str, *, num_threads: int) -> dict[str, Speed]:
    """Returns the speed of each run, measured in turns, so that what else goes on in the machine meets all of them
    alike.
    """
    set_num_threads(num_threads)
    recognizers = {name: Recognizer.load(path) for name, path in runs.items()}
    chosen, duration = _some_utterances(test)
    factors: dict[str, list[float]] = {name: [] for name in runs}
    latencies: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(1 + NUM_ROUNDS):
        for name, recognizer in recognizers.items():
            command = _command(recognizer, chosen)
            started = time.perf_counter()
            recognizer.transcribe(command, sample_rate=recognizer.feature_config.sample_rate)
            transcribed = time.perf_counter()
            for stretch in chosen:
                next(recognizer.transcribe_stretches([stretch], [stretch.duration or 0.0], batch_size=1))
            if round_number:  # the first one warms up
                latencies[name].append(transcribed - started)
                factors[name].append((time.perf_counter() - transcribed) / duration)
    return {
        name: Speed(_multiply_adds(recognizer), statistics.median(factors[name]), statistics.median(latencies[name]))
        for name, recognizer in recognizers.items()
    }


def _some_utterances(test: str) -> tuple[list[Stretch], float]:
    """Returns every n-th utterance of the test split, about TIMED_SECONDS of them, and their seconds."""
    utterances = list(Manifest.read(test))
    step = max(1, int(sum(item.duration for item in utterances) / TIMED_SECONDS))
    chosen = utterances[::step]
    stretches = [item.stretch for item in chosen]
    return stretches, sum(item.duration for item in chosen)


def _command(recognizer: Recognizer, stretches: Sequence[Stretch]) -> Any:
    """COMMAND_SECONDS of real speech, [sample]: test utterances one after the other, repeated where they are few."""
    sample_rate = recognizer.feature_config.sample_rate
    number = round(COMMAND_SECONDS * sample_rate)
    parts, total = [], 0
    while total < number:
        for stretch in stretches:
            parts.append(read_stretch(stretch, sample_rate=sample_rate))
            total += len(parts[-1])
            if total >= number:
                break
    return np.concatenate(parts)[:number]


def _multiply_adds(recognizer: Recognizer) -> float:
    """Counts multiply-adds for a second of audio, of ten, so that edges do not count."""
    config = recognizer.feature_config
    num_frames = round(10_000 / config.hop_ms)
    features = torch.zeros(1, num_frames, config.num_mels)
    return multiply_adds(recognizer.model, features, torch.tensor([num_frames])) / 10
