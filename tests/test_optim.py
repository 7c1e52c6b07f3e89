"""Learning rates over a training, decay of matrices only, and averages of weights."""

import pytest
import torch
from torch import nn

from asr.optim import ExponentialAverage, NoamConfig, OptimConfig, WarmupCosineConfig, average_weights


def test_the_cosine_rises_to_the_learning_rate_and_falls_to_its_floor() -> None:
    schedule = WarmupCosineConfig(warmup_steps=9, final_fraction=0.1)
    assert [schedule.factor(step, 0.0) for step in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert [schedule.factor(50, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1])


def test_noam_is_highest_at_the_end_of_its_warm_up() -> None:
    factors = [NoamConfig(warmup_steps=100).factor(step, 0.0) for step in range(400)]
    assert factors.index(max(factors)) == 99
    assert [factors[0], factors[99], factors[399]] == pytest.approx([0.01, 1.0, 0.5])


def test_only_matrices_decay() -> None:
    model = nn.Linear(3, 2)
    optimizer = OptimConfig(weight_decay=0.3).build(model)
    decays = {id(value): group["weight_decay"] for group in optimizer.param_groups for value in group["params"]}
    assert decays == {id(model.weight): 0.3, id(model.bias): 0.0}


def test_weights_are_averaged_and_whole_numbers_are_those_of_the_first() -> None:
    members = [{"weight": torch.tensor([value]), "count": torch.tensor(int(value))} for value in (1.0, 2.0, 6.0)]
    averaged = average_weights(members)
    assert averaged == {"weight": torch.tensor([3.0]), "count": torch.tensor(1)}
    with pytest.raises(ValueError, match="average_weights: no weights given; expected those of at least one model"):
        average_weights([])


def test_the_moving_average_forgets_its_start_fast() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = ExponentialAverage(model, decay=0.999)
    nn.init.constant_(model.weight, 1.0)
    average.update(model, step=0)  # at first by (1 + 0) / (10 + 0) instead of 0.999
    assert average.weights["weight"].item() == pytest.approx(0.9)
    average.update(model, step=10_000_000)
    assert average.weights["weight"].item() == pytest.approx(0.9 + 0.001 * 0.1)
