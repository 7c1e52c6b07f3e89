"""How long a large manifest takes to load, how much memory, and when a training on it has its first batch.

python -m tests.bench.manifest [NUM_LINES]
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from asr.audio.reading import write_audio
from asr.config.recognizer import load_config
from asr.data.batches import StepDataset
from asr.data.manifest import Manifest
from asr.training.experiment import build_experiment, train_tokenizer


def write_lines(path: Path, num_lines: int) -> None:
    """Lines of the size and form a corpus of short sentences has, written without the library's own checks."""
    words = [
        "turn",
        "the",
        "lights",
        "on",
        "in",
        "the",
        "kitchen",
        "and",
        "play",
        "some",
        "music",
        "for",
        "half",
        "an",
        "hour",
    ]
    with path.open("w") as file:
        for index in range(num_lines):
            text = " ".join(words[index % 5 : 6 + index % 9])
            record = {
                "id": f"speaker{index % 5000:04}-{index:07}",
                "audio_filepath": "silence.wav",  # the same for all: what is read of it does not matter here
                "duration": 1 + index % 997 / 100,
                "text": text,
                "speaker": f"speaker{index % 5000:04}",
            }
            file.write(json.dumps(record) + "\n")


def main() -> None:
    num_lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.jsonl")
        write_lines(path, num_lines)
        write_audio(path.with_name("silence.wav"), np.zeros(11 * 16000, np.float32), sample_rate=16000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        manifest = Manifest.read(path)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{len(manifest):,} lines, {path.stat().st_size / 1e6:.0f} MB")
        print(f"load: {seconds:.1f} s of one core (limit 10)")
        print(f"peak RSS: {peak / 1024:.0f} MB (limit 1024), of which {before / 1024:.0f} MB before loading")
        seconds, rows = first_batch(path, Path(folder))
        print(f"first batch, of {rows} utterances, {seconds:.1f} s of one core after the start (limit 60)")


def first_batch(path: Path, folder: Path) -> tuple[float, int]:
    """Seconds of one core from a configuration to its first batch, and the utterances in that."""
    (folder / "large.yaml").write_text(f"data: {{train: [{{manifest: {path}}}], dev: {{manifest: {path}}}}}\n")
    config = load_config(folder / "large.yaml")
    start = time.process_time()
    experiment = build_experiment(config, train_tokenizer(config), None)
    steps = StepDataset(experiment.train, experiment.plan)
    (batch,) = steps[0, 0].batches
    return time.process_time() - start, len(batch.ids)


if __name__ == "__main__":
    main()
