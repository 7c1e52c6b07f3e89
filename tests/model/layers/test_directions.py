"""Both directions of a layer in one call are one after the other, in float64 to 1e-10, for every cell."""

import pytest
import torch
from torch import Tensor

from asr.model.cells import CellConfig, LSTMConfig
from asr.model.layers.directions import choose_for_both
from asr.model.layers.recurrent import RecurrentLayer
from tests.model.cells.test_cells import FEATURES, MEMBERS, OPTIONS, every_cell, random
from tests.model.scan.test_paths import need_kernel

LENGTHS = torch.tensor([9, 3, 1, 7, 9])


def build(config: CellConfig) -> RecurrentLayer:
    layer = RecurrentLayer(config, FEATURES, bidirectional=True).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer


def run(layer: RecurrentLayer, path: str, inputs: Tensor) -> list[Tensor]:
    """Outputs, with and without gradients, and the gradients of everything."""
    assert layer.backwards is not None
    layer.forwards.path = layer.backwards.path = path  # type: ignore[assignment]
    outputs = layer(inputs, LENGTHS, generator=torch.Generator().manual_seed(3))
    wanted = [inputs, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    gradients = torch.autograd.grad((outputs * random(*outputs.shape, seed=4)).sum(), wanted)
    with torch.no_grad():
        again = layer(inputs, LENGTHS, generator=torch.Generator().manual_seed(3))
    return [outputs, again, *gradients]


@every_cell
@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["all"]], ids=["plain", "all"])
def test_both_at_once_are_one_after_the_other(config: CellConfig, options: dict[str, float]) -> None:
    config = config.model_copy(update=options)
    need_kernel("compiled", config)
    layer, inputs = build(config), random(5, 9, FEATURES).requires_grad_()
    for fast, plain in zip(run(layer, "compiled", inputs), run(layer, "reference", inputs), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_threads", [2, 5])
def test_threads_share_out_the_directions_and_change_nothing(num_threads: int) -> None:
    need_kernel("compiled", MEMBERS["gru"])
    layer, inputs = build(MEMBERS["gru"]), random(5, 9, FEATURES).requires_grad_()
    alone = run(layer, "compiled", inputs)
    torch.set_num_threads(num_threads)
    try:
        together = run(layer, "compiled", inputs)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_run_at_once_is_left_to_one_after_the_other() -> None:
    need_kernel("compiled", MEMBERS["coupled_lstm"])
    layer = build(MEMBERS["coupled_lstm"])
    assert layer.backwards is not None
    cells = (layer.forwards, layer.backwards)
    assert choose_for_both(*cells, 5, 9).at_once
    assert not choose_for_both(*cells, 0, 9).at_once
    with layer.forwards.register_forward_hook(lambda *_: None):
        assert not choose_for_both(*cells, 5, 9).at_once
    layer.forwards.path = "reference"
    assert not choose_for_both(*cells, 5, 9).at_once
    builtin = build(LSTMConfig(hidden_size=4))
    assert builtin.backwards is not None
    assert choose_for_both(builtin.forwards, builtin.backwards, 5, 9).runner == "builtin"


def test_inputs_of_another_width_are_refused() -> None:
    layer = build(MEMBERS["gru"])
    with pytest.raises(ValueError, match=r"GRU: inputs of 7 features; expected 6, as built"):
        layer(random(5, 9, 7), LENGTHS)


def test_a_hook_on_a_cell_is_called(generator: torch.Generator) -> None:
    layer, seen = build(MEMBERS["gru"]), []
    inputs = random(5, 9, FEATURES)
    expected = layer(inputs, LENGTHS)
    for cell in (layer.forwards, layer.backwards):
        assert cell is not None
        cell.register_forward_hook(lambda module, *_: seen.append(module))
    torch.testing.assert_close(layer(inputs, LENGTHS), expected, rtol=1e-10, atol=1e-10)
    assert len(seen) == 2
