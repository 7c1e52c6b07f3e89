"""Says how far a training is: it holds what a checkpoint has beside the weights, and writes and reads one."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from asr.data.batches import StepBatches
from asr.files.checked_json import check_values
from asr.files.tensors import shape_differences
from asr.optim import ExponentialAverage
from asr.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from asr.runs.folder import RunFolder


@dataclass
class Progress:
    """Numbers that JSON gives back exactly."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # of reading them again

    step: int = 0  # optimizer steps done, skipped ones included
    epoch: int = 0  # of the next batch
    position: int = 0  # of the next batch in its epoch
    bad_steps: int = 0  # skipped in a row
    loss_sum: float = 0.0  # since the last line of the log
    head_loss_sums: list[float] = field(default_factory=list)  # of each head, weighted
    num_tokens: int = 0
    norm_sum: float = 0.0
    num_steps: int = 0
    scores: list[dict[str, float]] = field(default_factory=list)  # each epoch and its figures, as they rank

    def best_scores(self, number: int) -> list[dict[str, Any]]:
        """Returns the scores of the best epochs, best first."""
        return sorted(self.scores, key=rank)[:number]

    @property
    def epochs_since_best(self) -> int:
        """Epochs since the first of the dev figures, such as the WER, was last lower than ever before."""
        if not self.scores:
            return 0
        return int(self.scores[-1]["epoch"] - min(self.scores, key=lambda score: rank(score)[0])["epoch"])

    def count_step(self, *, losses: Sequence[float], num_tokens: int, norm: float) -> None:
        """Counts a step that was taken: each head's weighted loss, summed over so many tokens, and its
        gradient's norm.
        """
        self.bad_steps = 0
        self.loss_sum += sum(losses)
        before = self.head_loss_sums or [0.0] * len(losses)
        self.head_loss_sums = [total + loss for total, loss in zip(before, losses)]
        self.num_tokens += num_tokens
        self.norm_sum += norm
        self.num_steps += 1

    def take_interval(self, losses: Sequence[tuple[str, float]]) -> dict[str, float]:
        """Means since the last call, for the log; `losses` has each one's name and weight.

        Of several losses each one's own is there too, without its weight.
        """
        num_tokens = max(1, self.num_tokens)
        means = {"train/loss": self.loss_sum / num_tokens}
        if len(losses) > 1:
            each = zip(losses, self.head_loss_sums)
            means |= {f"train/loss_{name}": total / weight / num_tokens for (name, weight), total in each}
        means["train/gradient_norm"] = self.norm_sum / max(1, self.num_steps)
        self.loss_sum, self.head_loss_sums, self.num_tokens, self.norm_sum, self.num_steps = 0.0, [], 0, 0.0, 0
        return means


def rank(score: Mapping[str, float]) -> tuple[float, ...]:
    """Returns what epochs are ordered by, best first: their figures, the first above all; smaller is better."""
    return tuple(value for name, value in score.items() if name != "epoch")


@dataclass(frozen=True)
class Learner:
    """All that learns: what is saved and restored together."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: ExponentialAverage | None

    def save(self, run: RunFolder, progress: Progress) -> None:
        tensors = with_prefix("model", self.model.state_dict())
        tensors |= with_prefix("optimizer", optimizer_tensors(self.optimizer))
        if self.average is not None:
            tensors |= with_prefix("average", self.average.weights)
        state = {"progress": asdict(progress), "scaler": self.scaler.state_dict()}
        save_checkpoint(run.checkpoints_path, step=progress.step, tensors=tensors, state=state)

    def restore(self, checkpoint: Checkpoint) -> Progress:
        """Take up a checkpoint again. Raises CheckpointError where it is of something else than this learner."""
        progress = self._check(checkpoint)
        self.model.load_state_dict(without_prefix("model", checkpoint.tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer", checkpoint.tensors))
        if self.average is not None:
            restored = without_prefix("average", checkpoint.tensors)
            for name, value in self.average.weights.items():
                value.copy_(restored[name])
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        return progress

    def _check(self, checkpoint: Checkpoint) -> Progress:
        """Compares names and shapes, and the progress with its schema, before anything is taken from it."""
        where = f"checkpoint of step {checkpoint.step}"
        remedy = "remove this checkpoint from the run folder to go on from the one before it"
        check_values(checkpoint.state, _State, where=where, error=CheckpointError, remedy=remedy)
        progress = checkpoint.state["progress"]
        if not all(type(score.get("epoch")) is int for score in progress.get("scores", [])):
            raise CheckpointError(f"{where}: progress.scores: a score without its epoch; {remedy}")
        expected = {f"model/{name}": tuple(value.shape) for name, value in self.model.state_dict().items()}
        if self.average is not None:
            expected |= {f"average/{name}": tuple(value.shape) for name, value in self.average.weights.items()}
        found = {name: tuple(value.shape) for name, value in checkpoint.tensors.items() if name in expected}
        if differences := shape_differences(found, expected):
            raise CheckpointError(f"{where}: not the weights of this model:\n{differences}\n{remedy}")
        return Progress(**progress)


class _State(BaseModel):
    """Holds what a checkpoint keeps beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    progress: Progress
    scaler: dict[str, float | int]


def drop_weights_of_other_epochs(run: RunFolder, epochs: Iterable[int]) -> None:
    """Keep of RUN/best/ only the weights of these epochs."""
    kept = {run.best_path(epoch) for epoch in epochs}
    for path in (run.path / "best").glob("epoch-*.safetensors"):
        if path not in kept:
            path.unlink()


class Stopwatch:
    """Measures where the time goes: how much audio a second, and how much of the time the model waited for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.started, self.waited, self.audio_seconds = time.perf_counter(), 0.0, 0.0

    def waiting(self, steps: Iterable[StepBatches]) -> Iterator[StepBatches]:
        """Yields the same steps; the time that each took to come counts as waited."""
        iterator = iter(steps)
        while True:
            before = time.perf_counter()
            step = next(iterator, None)
            self.waited += time.perf_counter() - before
            if step is None:
                return
            yield step

    def speed(self) -> dict[str, float]:
        elapsed = max(1e-9, time.perf_counter() - self.started)
        audio = {"speed/audio_seconds_per_second": self.audio_seconds / elapsed} if self.audio_seconds else {}
        return {**audio, "speed/data_wait_share": self.waited / elapsed}
