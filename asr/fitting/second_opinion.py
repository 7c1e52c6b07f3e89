"""The second opinion of a run: an autoencoder that knows the sounds which the run was trained on."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from asr.data.batches import BatchPlan, collate
from asr.data.dataset import Dataset
from asr.files.digest import file_digest
from asr.runs.recognizer import RunParts, load_run
from asr.training.experiment import check_prepared, seeded
from asr.understanding.autoencoder import FILE_NAME, Autoencoder, SecondOpinion, load_autoencoder, save_autoencoder

NUM_STEPS = 300
BATCH_SECONDS = 60.0
LEARNING_RATE = 5e-3
MAX_NORM = 1.0
LONGEST = 10.0  # seconds; longer utterances are left out, unless there is nothing else


def open_second_opinion(run: Path) -> SecondOpinion:
    """Returns the run's autoencoder; trained now and kept where it has none, with a bar on stderr.

    It stays for all grammars of the run. Raises what `train_autoencoder` and `load_run` raise.
    """
    path = run / FILE_NAME
    if path.is_file():
        return load_autoencoder(run, digest=file_digest(path))
    steps = train_autoencoder(load_run(run), num_steps=NUM_STEPS)
    bar = track(steps, "learning the sounds of the training", NUM_STEPS, console=Console(stderr=True), transient=True)
    [(autoencoder, _)] = collections.deque(bar, maxlen=1)
    return save_autoencoder(run, autoencoder)


def train_autoencoder(parts: RunParts, *, num_steps: int) -> Iterator[tuple[Autoencoder, float]]:
    """Step by step the autoencoder, always the same one, and its mean squared error; a minute or two on one core.

    The recordings are the run's own, with the augmentations of its waveforms: noise that the model was trained with is
    familiar too. The same run gives the same weights. Raises DataError where its recordings are not there.
    """
    config = parts.config
    check_prepared(config)
    dataset = Dataset(
        config.data.train,
        features=parts.features,
        tokenizer=parts.tokenizer,
        statistics=parts.statistics,
        augment=[step for step in config.augment if step.domain == "samples"],
        seed=config.seed,
    )
    usable = np.flatnonzero(dataset.durations <= LONGEST)
    plan = BatchPlan(
        dataset.durations,
        limit=BATCH_SECONDS,
        seed=config.seed,
        weights=dataset.weights,
        usable=usable if len(usable) else None,
    )
    with seeded(config.seed):
        autoencoder = Autoencoder(parts.features.num_mels)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps)
    batches = ((epoch, indices) for epoch in itertools.count() for indices in plan.epoch(epoch))
    for epoch, indices in itertools.islice(batches, num_steps):
        batch = collate([dataset.example(int(index), epoch) for index in indices])
        optimizer.zero_grad()
        loss = autoencoder.loss(batch.features, batch.feature_lengths)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), MAX_NORM)
        optimizer.step()
        schedule.step()
        yield autoencoder, loss.item()
