"""Dropout: the right share, the mean kept, the same in the gradient, and reproducible."""

import pytest
import torch

from asr.model.layers.dropout import SIDES, Dropout, draw_kept


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_a_share_is_dropped_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(200, 1003)  # no multiple of eight
    dropped = Dropout(rate)(values)
    share = round(rate * SIDES) / SIDES
    deviation = (share * (1 - share) / values.numel()) ** 0.5
    assert abs(float((dropped == 0).double().mean()) - share) < 5 * deviation
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])


def test_decisions_are_independent_of_their_neighbours() -> None:
    torch.manual_seed(1)
    kept = draw_kept(torch.Size((1 << 20,)), 128).double() - 0.5
    for distance in (1, 2, 7, 8, 9, 64):
        assert abs(float((kept[distance:] * kept[:-distance]).mean())) < 0.25 * 5 / 2**10


def test_the_gradient_is_dropped_alike() -> None:
    torch.manual_seed(2)
    values = torch.ones(64, 64, requires_grad=True)
    dropped = Dropout(0.3)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())


def test_it_follows_the_generator_and_does_nothing_outside_of_training() -> None:
    layer, values = Dropout(0.4), torch.randn(5, 7)
    torch.manual_seed(3)
    first = layer(values)
    assert not torch.equal(layer(values), first)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert layer.eval()(values) is values
    assert Dropout(0.0)(values) is values
    halves = Dropout(0.4)(values.bfloat16())
    assert halves.dtype == torch.bfloat16


def test_it_is_pytorchs_where_it_is_compiled_or_not_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.manual_seed(4)
    found = Dropout(0.5)(torch.ones(100))
    torch.manual_seed(4)
    assert torch.equal(found, torch.nn.functional.dropout(torch.ones(100), 0.5))
