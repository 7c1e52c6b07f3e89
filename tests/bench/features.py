"""Log-mel features against librosa.feature.melspectrogram, one thread each, in one run.

    OMP_NUM_THREADS=1 python tests/bench/features.py

Both make 80 mels of the same framing from the same samples (real lengths, 1 to 15 seconds); librosa's figure has no
logarithm in it, ours has. Prints the time of each and the ratio; above 1 is faster than librosa.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable

import librosa
import numpy as np
import torch

from asr.data.features import FeatureConfig, LogMel

DURATIONS = (1.0, 2.0, 3.5, 7.0, 15.0)
ROUNDS = 9


def best_time(function: Callable[[], object], repeats: int) -> float:
    """Seconds of one call, the best of ROUNDS means."""
    function()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def main() -> None:
    torch.set_num_threads(1)
    config = FeatureConfig()
    log_mel = LogMel(config)
    rng = np.random.default_rng(0)
    print("duration    librosa       ours    times real time    ratio")
    for duration in DURATIONS:
        samples = (0.1 * rng.standard_normal(int(duration * config.sample_rate))).astype(np.float32)
        tensor = torch.from_numpy(samples)

        def by_librosa(samples: np.ndarray = samples) -> np.ndarray:
            return librosa.feature.melspectrogram(
                y=samples, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=80, fmin=20.0
            )

        def by_torch(tensor: torch.Tensor = tensor) -> torch.Tensor:
            return log_mel(tensor)

        theirs, ours = best_time(by_librosa, 20), best_time(by_torch, 20)
        times = f"{theirs * 1e3:8.2f} ms {ours * 1e3:8.2f} ms {duration / ours:14.0f}"
        print(f"{duration:6.1f} s {times} {theirs / ours:11.2f}")


if __name__ == "__main__":
    main()
