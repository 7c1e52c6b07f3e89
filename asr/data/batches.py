"""Utterances to batches: which utterances make each batch, and in which order.

A batch is a pure function of the seed, the epoch and its position, so that a killed run goes on where it was,
and the same whatever the number of workers and processes.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.data.cutting import cut_in_order
from asr.data.examples import Example, Examples
from asr.text import PAD_ID

FRAME_STEP = 8  # of a batch's length: for 0.8 % more frames its compiled shapes come again (DECISIONS.md)


@dataclass(frozen=True)
class Batch:
    """Utterances padded to the longest of them."""

    ids: list[str]
    indices: list[int]  # into the dataset
    features: Float[Tensor, "batch time mel"]  # normalised log-mels, zeros past each length; a text has no mels
    feature_lengths: Int[Tensor, " batch"]  # frames
    tokens: Int[Tensor, "batch token"]  # PAD_ID past each length
    token_lengths: Int[Tensor, " batch"]
    audio_seconds: float  # without padding, of each utterance once
    num_views: int = 1  # the first rows are a first view of each utterance, the next ones a second of the same

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Returns what a model is called with: log-mels and tokens, and how many views; or a text's tokens alone."""
        of_text = self.tokens, self.token_lengths
        if not self.features.shape[2]:
            return of_text
        views = () if self.num_views == 1 else (self.num_views,)
        return self.features, self.feature_lengths, *of_text, *views

    def to(self, device: torch.device) -> "Batch":
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("features", "feature_lengths", "tokens", "token_lengths")
        }
        return Batch(self.ids, self.indices, audio_seconds=self.audio_seconds, num_views=self.num_views, **moved)


def collate(examples: Sequence[Example], *, num_views: int = 1) -> Batch:
    """Pad to the longest, and on to a multiple of FRAME_STEP; the lengths say what is real."""
    lengths = torch.tensor([len(example.features) for example in examples])
    token_lengths = torch.tensor([len(example.tokens) for example in examples])
    num_frames = -(-int(lengths.max()) // FRAME_STEP) * FRAME_STEP
    features = torch.zeros(len(examples), num_frames, examples[0].features.shape[1])
    tokens = torch.full((len(examples), max(1, int(token_lengths.max()))), PAD_ID)
    for row, example in enumerate(examples):
        features[row, : len(example.features)] = example.features
        tokens[row, : len(example.tokens)] = torch.tensor(example.tokens, dtype=torch.int64)
    return Batch(
        ids=[example.id for example in examples],
        indices=[example.index for example in examples],
        features=features,
        feature_lengths=lengths,
        tokens=tokens,
        token_lengths=token_lengths,
        audio_seconds=sum(example.audio_seconds for example in examples) / num_views,
        num_views=num_views,
    )


class BatchPlan:
    """Says which examples make each batch of an epoch: buckets of like size, drawn anew each epoch.

    Sizes are jittered by up to 10 %, sorted and cut where a padded batch would be larger than `limit`, so that
    padding stays small while batches differ from epoch to epoch; then the batches are shuffled. Sizes and limit are
    of one unit: seconds of audio, say, or tokens of text.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        *,
        limit: float,
        seed: int,
        weights: np.ndarray | None = None,
        usable: np.ndarray | None = None,
    ) -> None:
        self.sizes, self.limit, self.seed = sizes, limit, seed
        self.weights = np.ones(len(sizes), np.float32) if weights is None else weights
        self.usable = np.arange(len(sizes)) if usable is None else usable

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """Returns the batches of an epoch, as arrays of indices."""
        return self._epoch(epoch)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - one plan lives as long as its run
    def _epoch(self, epoch: int) -> list[np.ndarray]:
        generator = np.random.default_rng([self.seed, epoch])
        weights = self.weights[self.usable]
        whole = np.floor(weights)
        copies = whole.astype(np.int64) + (generator.random(len(weights)) < weights - whole)
        chosen = np.repeat(self.usable, copies)
        jitter = generator.uniform(0.9, 1.1, len(chosen))
        chosen = chosen[np.argsort(self.sizes[chosen] * jitter, kind="stable")]
        batches = cut_batches(chosen, self.sizes, self.limit)
        return [batches[number] for number in generator.permutation(len(batches))]

    def worst(self) -> np.ndarray:
        """Returns the largest padded batch of the first epoch."""
        return max(self.epoch(0), key=lambda batch: (len(batch) * self.sizes[batch].max(), len(batch)))


def cut_batches(order: np.ndarray, sizes: np.ndarray, limit: float) -> list[np.ndarray]:
    """Cut an order of examples where the largest so far times their number would pass `limit`."""
    measured = zip(order.tolist(), sizes[order].tolist(), strict=True)
    return [np.array(batch, order.dtype) for batch in cut_in_order(measured, most=limit)]


@dataclass(frozen=True)
class StepBatches:
    """Holds what one process computes for one optimizer step."""

    epoch: int
    position: int  # of the batch in its epoch
    batches: list[Batch]  # one for each round of gradient accumulation; some processes may have fewer
    num_tokens: int  # labels of the whole step, in all views and processes: what its loss is divided by
    is_idle: bool  # this process has no utterance in the step; its batch is there to keep step with the others


class StepDataset(torch.utils.data.Dataset[StepBatches]):
    """Whole steps, as data workers read them: item (epoch, position) -> StepBatches."""

    def __init__(
        self,
        dataset: Examples,
        plan: BatchPlan,
        *,
        accumulation: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.plan = dataset, plan
        self.accumulation, self.rank, self.world_size = accumulation, rank, world_size

    def __getitem__(self, key: tuple[int, int]) -> StepBatches:
        epoch, position = key
        indices = self.plan.epoch(epoch)[position]
        mine = indices[self.rank :: self.world_size]
        computed = mine if len(mine) else indices[:1]
        rounds = [part for start in range(self.accumulation) if len(part := computed[start :: self.accumulation])]
        batches = [self._batch(part, epoch) for part in rounds]
        is_idle = not len(mine)
        others = np.delete(indices, slice(self.rank, None, self.world_size))
        num_tokens = batches[0].num_views * sum(len(self.dataset.tokens(int(i))) for i in others)
        num_tokens += 0 if is_idle else sum(int(batch.token_lengths.sum()) for batch in batches)
        # A batch of nothing but noises has no tokens to share its loss among; each noise counts for one.
        num_tokens = num_tokens or batches[0].num_views * len(indices)
        return StepBatches(epoch, position, batches, num_tokens=num_tokens, is_idle=is_idle)

    def _batch(self, indices: np.ndarray, epoch: int) -> Batch:
        views = [self.dataset.views(int(index), epoch) for index in indices]
        return collate([example for view in zip(*views, strict=True) for example in view], num_views=len(views[0]))


class StepOrder(torch.utils.data.Sampler[tuple[int, int]]):
    """(epoch, position) from a starting point to the end of the last epoch."""

    def __init__(self, plan: BatchPlan, *, epoch: int, position: int, num_epochs: int) -> None:
        self.plan, self.start, self.num_epochs = plan, (epoch, position), num_epochs

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first_epoch, first_position = self.start
        for epoch in range(first_epoch, self.num_epochs):
            num_batches = len(self.plan.epoch(epoch))
            for position in range(first_position if epoch == first_epoch else 0, num_batches):
                yield epoch, position


class DevDataset(torch.utils.data.Dataset[Batch]):
    """This process's share of a split, in batches of like size, without augmentation."""

    def __init__(self, dataset: Examples, *, limit: float, rank: int = 0, world_size: int = 1) -> None:
        self.dataset = dataset
        order = np.argsort(dataset.sizes, kind="stable")
        self.batches = cut_batches(order, dataset.sizes, limit)[rank::world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return collate([self.dataset.example(int(index)) for index in self.batches[number]])
