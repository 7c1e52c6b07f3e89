"""Batches: every utterance once an epoch, a pure function of seed, epoch and position, whoever computes them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.data.batches import FRAME_STEP, BatchPlan, DevDataset, StepDataset, StepOrder, collate, cut_batches
from asr.data.workers import open_loader
from asr.text import PAD_ID
from asr.training.experiment import RecognizerExperiment

DURATIONS = st.lists(st.floats(0.1, 30.0), min_size=1, max_size=60).map(np.float32)


@given(DURATIONS, st.floats(1.0, 100.0))
def test_cutting_keeps_the_order_and_the_limit(durations: np.ndarray, limit: float) -> None:
    order = np.argsort(durations)
    batches = cut_batches(order, durations, limit)
    assert np.concatenate(batches).tolist() == order.tolist()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * durations[batch].max() <= limit * (1 + 1e-6)


@given(DURATIONS, st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_every_utterance_once_and_is_a_pure_function(durations: np.ndarray, seed: int, epoch: int) -> None:
    plan = BatchPlan(durations, limit=40.0, seed=seed)
    batches = plan.epoch(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(durations)))
    again = BatchPlan(durations, limit=40.0, seed=seed).epoch(epoch)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in again]


def test_epochs_differ_and_their_batches_hold_like_durations() -> None:
    durations = np.random.default_rng(0).uniform(0.5, 10.0, 2000).astype(np.float32)
    plan = BatchPlan(durations, limit=60.0, seed=1)
    first, second = plan.epoch(0), plan.epoch(1)
    assert {tuple(sorted(batch)) for batch in first} != {tuple(sorted(batch)) for batch in second}
    padded = sum(len(batch) * durations[batch].max() for batch in first)
    assert durations.sum() / padded > 0.85


def test_weights_repeat_and_thin_out_sources() -> None:
    durations = np.ones(3000, np.float32)
    weights = np.repeat(np.float32([2.0, 0.5, 1.25]), 1000)
    chosen = np.concatenate(BatchPlan(durations, limit=10.0, seed=0, weights=weights).epoch(0))
    counts = [int(((chosen >= start) & (chosen < start + 1000)).sum()) for start in (0, 1000, 2000)]
    assert counts[0] == 2000
    assert abs(counts[1] - 500) < 60
    assert abs(counts[2] - 1250) < 60


def test_the_worst_batch_has_the_most_padded_audio() -> None:
    durations = np.float32([1, 1, 1, 30, 9, 9])
    plan = BatchPlan(durations, limit=20.0, seed=0)
    assert plan.worst().tolist() == [3]


def test_a_batch_pads_and_says_what_is_real(experiment: RecognizerExperiment) -> None:
    examples = [experiment.train.example(index) for index in (0, 1, 2)]
    batch = collate(examples)
    assert batch.ids == [example.id for example in examples]
    longest = max(len(example.features) for example in examples)
    assert longest <= batch.features.shape[1] < longest + FRAME_STEP
    assert batch.features.shape[1] % FRAME_STEP == 0
    for row, example in enumerate(examples):
        length, num_tokens = len(example.features), len(example.tokens)
        assert batch.feature_lengths[row] == length
        assert batch.token_lengths[row] == num_tokens
        assert torch.equal(batch.features[row, :length], example.features)
        assert not batch.features[row, length:].any()
        assert batch.tokens[row, :num_tokens].tolist() == example.tokens
        assert (batch.tokens[row, num_tokens:] == PAD_ID).all()
    assert batch.audio_seconds == pytest.approx(sum(example.audio_seconds for example in examples))


def step_ids(experiment: RecognizerExperiment, world_size: int, accumulation: int, position: int) -> list[list[str]]:
    shares = []
    for rank in range(world_size):
        steps = StepDataset(
            experiment.train, experiment.plan, accumulation=accumulation, rank=rank, world_size=world_size
        )
        step = steps[0, position]
        shares.append([] if step.is_idle else [identity for batch in step.batches for identity in batch.ids])
    return shares


def test_processes_and_accumulation_share_a_step_out_without_loss(experiment: RecognizerExperiment) -> None:
    (alone,) = step_ids(experiment, 1, 1, 0)
    for world_size, accumulation in ((2, 1), (3, 2), (1, 4), (len(alone) + 2, 1)):
        shares = step_ids(experiment, world_size, accumulation, 0)
        assert sorted(identity for share in shares for identity in share) == sorted(alone)
    assert [] in step_ids(experiment, len(alone) + 2, 1, 0)


def test_all_processes_divide_by_the_tokens_of_the_whole_step(experiment: RecognizerExperiment) -> None:
    tokens = {
        StepDataset(experiment.train, experiment.plan, rank=rank, world_size=2)[0, 1].num_tokens for rank in (0, 1)
    }
    whole = StepDataset(experiment.train, experiment.plan)[0, 1]
    assert tokens == {whole.num_tokens} == {int(whole.batches[0].token_lengths.sum())}


def test_the_order_goes_on_where_it_was_across_epochs(experiment: RecognizerExperiment) -> None:
    whole = list(StepOrder(experiment.plan, epoch=0, position=0, num_epochs=3))
    assert len(whole) == sum(len(experiment.plan.epoch(epoch)) for epoch in range(3))
    for start in (1, len(whole) // 2, len(whole) - 1):
        epoch, position = whole[start]
        assert list(StepOrder(experiment.plan, epoch=epoch, position=position, num_epochs=3)) == whole[start:]


def test_workers_change_nothing(experiment: RecognizerExperiment) -> None:
    steps = StepDataset(experiment.train, experiment.plan)
    order = StepOrder(experiment.plan, epoch=0, position=0, num_epochs=1)
    alone = list(open_loader(steps, order, num_workers=0))
    helped = list(open_loader(steps, order, num_workers=2))
    assert len(alone) == len(helped)
    for left, right in zip(alone, helped, strict=True):
        assert left.batches[0].ids == right.batches[0].ids
        assert torch.equal(left.batches[0].features, right.batches[0].features)


def test_dev_is_shared_out_without_loss(experiment: RecognizerExperiment) -> None:
    shares = [DevDataset(experiment.dev, limit=5.0, rank=rank, world_size=2) for rank in (0, 1)]
    indices = [index for share in shares for number in range(len(share)) for index in share[number].indices]
    assert sorted(indices) == list(range(len(experiment.dev)))
