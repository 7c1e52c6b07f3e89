"""A corpus that a tiny model learns in seconds: each letter is a tone, each word a few of them."""

from pathlib import Path

import numpy as np
import soundfile

from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest

SAMPLE_RATE = 8000
HERTZ = {"a": 400.0, "b": 900.0, "c": 1600.0, "d": 2600.0}
LETTER_SECONDS = 0.12
WORDS = ("ab", "ba", "cab", "dac", "bad", "cd")


def speak(text: str, generator: np.random.Generator) -> np.ndarray:
    """Samples of a text: tones with silence around them and between words, and a little noise."""
    parts = []
    time = np.arange(int(LETTER_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    for letter in f" {text} ":
        hertz = HERTZ.get(letter, 0.0) * generator.uniform(0.97, 1.03)
        parts.append(0.3 * np.sin(2 * np.pi * hertz * time) * np.hanning(len(time)))
    samples = np.concatenate(parts)
    return (samples + 0.003 * generator.standard_normal(len(samples))).astype(np.float32)


def write_split(folder: Path, name: str, num_utterances: int, *, seed: int, num_words: int = 3) -> Path:
    """Recordings of random word strings in folder/name/ and their manifest folder/name.jsonl."""
    generator = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    utterances = []
    for number in range(num_utterances):
        text = " ".join(generator.choice(WORDS, size=1 + generator.integers(num_words)))
        samples = speak(text, generator)
        path = folder / name / f"{name}-{number:03d}.wav"
        soundfile.write(path, samples, SAMPLE_RATE)
        duration = len(samples) / SAMPLE_RATE
        utterances.append(Utterance(path.stem, str(path), duration, text, speaker=f"speaker{number % 3}"))
    write_manifest(folder / f"{name}.jsonl", utterances)
    return folder / f"{name}.jsonl"


def write_tone_corpus(folder: Path, *, num_train: int = 60, num_dev: int = 12) -> Path:
    """folder/train.jsonl and folder/dev.jsonl; the folder."""
    write_split(folder, "train", num_train, seed=1)
    write_split(folder, "dev", num_dev, seed=2)
    return folder


CONFIG = """
seed: 7
data:
  train: [{{manifest: {folder}/train.jsonl}}]
  dev: {{manifest: {folder}/dev.jsonl}}
  batch_seconds: 12
  num_workers: 0
features: {{sample_rate: 8000, num_mels: 20}}
augment:
  - {{kind: gain, low_db: -3, high_db: 3}}
  - {{kind: spec_augment, num_time_masks: 1, max_time_frames: 3, num_frequency_masks: 1, max_frequency_bins: 2}}
encoder:
  kind: recurrent
  subsampling: {{factor: 2, num_channels: 4, output_size: 24}}
  cell: {{kind: lstm, hidden_size: 24}}
  num_layers: 1
  dropout: 0.1
optim:
  learning_rate: 0.02
  schedule: {{kind: warmup_cosine, warmup_steps: 10}}
train:
  max_epochs: 3
  precision: fp32
  log_every_steps: 3
  checkpoint_every_steps: 4
  average_best: 2
tracking: {{trackers: [jsonl]}}
"""


def write_config(path: Path, corpus: Path) -> Path:
    """A configuration that trains on a tone corpus in seconds."""
    path.write_text(CONFIG.format(folder=corpus))
    return path
