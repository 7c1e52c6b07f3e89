"""Looking inside a cell: the gates are those of its equations, and looking changes nothing."""

from typing import get_args

import pytest
import torch

from asr.explanation.watching import watch
from asr.model.cells import CellConfig, ConvLSTMConfig, CoupledLSTMConfig, GRUConfig, LSTMConfig
from asr.model.scan.step import StepForm, trace

CELLS = [member() for member in get_args(get_args(CellConfig)[0])]


def small(config):
    """Six units, or two in each of two bands; four features."""
    changes = {"hidden_size": 6, "projection_size": 3, "num_bands": 2, "kernel_size": 1}
    return config.model_copy(update={name: changes[name] for name in changes if name in type(config).model_fields})


@pytest.mark.parametrize("config", CELLS, ids=lambda config: config.kind)
def test_every_cell_can_be_watched_and_says_the_same(config, generator) -> None:
    torch.manual_seed(0)
    cell = small(config).build(4).double().eval()
    inputs = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    seen = watch(cell, inputs)
    outputs, state = cell(inputs)
    torch.testing.assert_close(seen.outputs, outputs.detach())
    torch.testing.assert_close(seen.memory[:, -1], state[-1].detach())
    assert tuple(seen.gates) == cell.form.gates
    for values in seen.gates.values():
        assert values.shape == (2, 5, seen.memory.shape[2])
        assert ((values > 0) & (values < 1)).all()
    assert cell.path == "auto"


def test_the_gates_of_an_lstm_make_its_cell_and_its_output(generator) -> None:
    torch.manual_seed(0)
    cell = LSTMConfig(hidden_size=3).build(4).double()
    inputs = torch.randn(1, 6, 4, generator=generator, dtype=torch.float64)
    seen = watch(cell, inputs)
    torch.testing.assert_close(seen.outputs, seen.gates["output"] * seen.memory.tanh())
    before = torch.nn.functional.pad(seen.memory, (0, 0, 1, 0))[:, :-1]
    sums = cell.input_gates(inputs)[:, :, 0] + torch.nn.functional.pad(seen.outputs, (0, 0, 1, 0))[:, :-1] @ (
        cell.recurrent_weight.T
    )
    candidate = sums.unflatten(-1, (4, 3))[:, :, 2].tanh()
    torch.testing.assert_close(seen.memory, seen.gates["forget"] * before + seen.gates["input"] * candidate)


@pytest.mark.parametrize(
    ("config", "gates"),
    [(GRUConfig(), ("reset", "update")), (CoupledLSTMConfig(), ("forget", "output")), (ConvLSTMConfig(), None)],
)
def test_a_gate_is_known_by_its_bias(config, gates, generator) -> None:
    """A gate whose bias is high is open: so the names belong to the right ones."""
    gates = gates or ("input", "forget", "output")
    rows = {"input": 0, "forget": 1, "output": 3, "reset": 0, "update": 1}
    if config.kind == "coupled_lstm":
        rows = {"forget": 0, "output": 2}
    for name in gates:
        torch.manual_seed(0)
        cell = small(config).build(4)
        cell.set_gate_bias(rows[name], 9.0)
        seen = watch(cell, torch.randn(1, 3, 4, generator=generator))
        assert seen.gates[name].min() > 0.99
        assert all(values.max() < 0.99 for other, values in seen.gates.items() if other != name)


def test_a_cell_names_all_of_its_gates_or_none() -> None:
    def step(inputs, recurrent, state, weights):
        return ((inputs[0] + recurrent[0]).sigmoid() * inputs[1].sigmoid(),)

    with pytest.raises(AssertionError, match="a step with 2 sigmoids names 1 gates"):
        trace(StepForm(step, num_gates=2, num_states=1, gates=("output",)), zoneout=False)
    assert not trace(StepForm(step, num_gates=2, num_states=1), zoneout=False).gates


def test_what_a_gate_does_is_not_taken_from_other_sigmoids(generator, monkeypatch) -> None:
    """A sigmoid that the cell computes before its step, of its inputs, is no gate."""
    cell = LSTMConfig(hidden_size=3).build(4).eval()
    inputs = torch.randn(1, 6, 4, generator=generator)
    expected = watch(cell, inputs)
    plain = cell.input_gates
    monkeypatch.setattr(cell, "input_gates", lambda given: plain(given) + 0.0 * given.sigmoid().sum())
    for name, values in watch(cell, inputs).gates.items():
        torch.testing.assert_close(values, expected.gates[name])
