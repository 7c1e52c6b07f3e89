"""The contract of every cell, the proofs of each against PyTorch or another cell, and refused configurations."""

import itertools
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from asr.model.cells import Cell, CellConfig, ConvLSTMConfig, LSTMConfig, RNNConfig
from asr.model.scan.step import reachable, trace

FEATURES, UNITS = 6, 5
NARROW = {"projected_lstm": {"projection_size": 3}, "conv_lstm": {"num_bands": 3, "kernel_size": 3}}


def members() -> dict[str, CellConfig]:
    """Every cell of the union, small."""
    union, _ = get_args(CellConfig)
    kinds = [member.model_fields["kind"].default for member in get_args(union)]
    build = TypeAdapter(CellConfig).validate_python
    return {kind: build({"kind": kind, "hidden_size": UNITS, **NARROW.get(kind, {})}) for kind in kinds}


MEMBERS: dict[str, CellConfig] = {
    **members(),
    "rnn relu": RNNConfig(hidden_size=UNITS, nonlinearity="relu"),
    "conv_lstm peepholes": ConvLSTMConfig(hidden_size=UNITS, num_bands=3, kernel_size=3, peepholes=True),
}
OPTIONS = {
    "plain": {},
    "learnt state": {"learnt_initial_state": True},
    "zoneout": {"zoneout": 0.3},
    "dropout": {"recurrent_dropout": 0.4},
    "all": {"learnt_initial_state": True, "zoneout": 0.3, "recurrent_dropout": 0.4, "orthogonal_recurrent": True},
}
every_cell = pytest.mark.parametrize("config", MEMBERS.values(), ids=MEMBERS.keys())


def build(config: CellConfig, *, dtype: torch.dtype = torch.float64, features: int = FEATURES) -> Cell:
    """A cell whose every parameter is random, so that none hides behind its initial zero."""
    cell = config.build(features).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return cell


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@every_cell
def test_cutting_in_time_changes_nothing(config: CellConfig) -> None:
    cell, inputs = build(config), random(2, 7, FEATURES)
    whole, last = cell(inputs)
    state, parts = None, []
    for start, end in itertools.pairwise((0, 1, 3, 7)):
        part, state = cell(inputs[:, start:end], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-12)
    assert whole.shape == (2, 7, cell.output_size)


@every_cell
def test_later_frames_never_change_earlier_outputs(config: CellConfig) -> None:
    cell, inputs = build(config), random(2, 7, FEATURES)
    changed = inputs.clone()
    changed[:, 4:] = random(2, 3, FEATURES, seed=5)
    outputs, others = cell(inputs)[0], cell(changed)[0]
    assert torch.equal(outputs[:, :4], others[:, :4])
    assert not torch.allclose(outputs[:, 4:], others[:, 4:])


@every_cell
def test_utterances_do_not_mix(config: CellConfig) -> None:
    cell, inputs = build(config), random(3, 5, FEATURES)
    together = cell(inputs)[0]
    alone = torch.cat([cell(inputs[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@every_cell
def test_no_frames_give_no_outputs_and_the_same_state(config: CellConfig) -> None:
    cell = build(config)
    outputs, state = cell(random(2, 0, FEATURES))
    assert outputs.shape == (2, 0, cell.output_size)
    torch.testing.assert_close(state, tuple(part.expand(2, -1) for part in cell.initial_state))


@every_cell
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradients_pass_gradcheck(config: CellConfig, options: dict[str, float]) -> None:
    cell = build(config.model_copy(update=options))
    parameters = [parameter for parameter in cell.parameters() if parameter.requires_grad]
    inputs = random(2, 3, FEATURES).requires_grad_()

    def run(inputs: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        outputs, state = cell(inputs, generator=torch.Generator().manual_seed(3))
        return outputs, *state

    assert torch.autograd.gradcheck(run, (inputs, *parameters), fast_mode=True)


@every_cell
def test_gradients_are_finite_for_wild_inputs(config: CellConfig) -> None:
    cell = config.build(FEATURES)
    inputs = (100 * random(2, 50, FEATURES, dtype=torch.float32)).requires_grad_()
    cell(inputs)[0].sum().backward()
    for gradient in (inputs.grad, *(p.grad for p in cell.parameters() if p.requires_grad)):
        assert gradient is not None
        assert gradient.isfinite().all()


def copy_from_pytorch(cell: Cell, layer: nn.RNNBase, *, last_gate_bias: bool = False) -> None:
    """Give a cell the weights of PyTorch's layer, whose two biases it sums (but for the GRU's candidate)."""
    with torch.no_grad():
        cell.input_weight.copy_(layer.weight_ih_l0)
        cell.recurrent_weight.copy_(layer.weight_hh_l0)
        cell.bias.copy_(layer.bias_ih_l0 + layer.bias_hh_l0)
        if last_gate_bias:
            cell.bias[-UNITS:] = layer.bias_ih_l0[-UNITS:]
            cell.candidate_bias.copy_(layer.bias_hh_l0[-UNITS:])
        for part in cell.initial_state:
            part.zero_()


PYTORCH = {
    "rnn": lambda: nn.RNN(FEATURES, UNITS, batch_first=True),
    "rnn relu": lambda: nn.RNN(FEATURES, UNITS, batch_first=True, nonlinearity="relu"),
    "lstm": lambda: nn.LSTM(FEATURES, UNITS, batch_first=True),
    "gru": lambda: nn.GRU(FEATURES, UNITS, batch_first=True),
    "projected_lstm": lambda: nn.LSTM(FEATURES, UNITS, batch_first=True, proj_size=3),
}


@pytest.mark.parametrize("member", PYTORCH)
def test_equals_pytorch_with_its_gradients(member: str) -> None:
    layer, cell = PYTORCH[member]().double(), build(MEMBERS[member])
    copy_from_pytorch(cell, layer, last_gate_bias=member == "gru")
    if member == "projected_lstm":
        cell.projection_weight.data.copy_(layer.weight_hr_l0)
    inputs = random(3, 20, FEATURES).requires_grad_()
    expected, last = layer(inputs)
    outputs, state = cell(inputs)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)
    for part, given in zip(state, last if isinstance(last, tuple) else (last,)):
        torch.testing.assert_close(part, given[0], rtol=0, atol=1e-10)
    weight = random(*outputs.shape, seed=9)
    pairs = ((cell.recurrent_weight, layer.weight_hh_l0), (cell.input_weight, layer.weight_ih_l0), (inputs, inputs))
    gradients = torch.autograd.grad((outputs * weight).sum(), [own for own, _ in pairs])
    given = torch.autograd.grad((expected * weight).sum(), [theirs for _, theirs in pairs])
    torch.testing.assert_close(gradients, given, rtol=0, atol=1e-10)


def copy_shared(source: Cell, target: Cell) -> None:
    target.load_state_dict({k: v for k, v in source.state_dict().items() if k in target.state_dict()}, strict=False)


def test_peephole_lstm_with_zero_peepholes_is_the_lstm() -> None:
    lstm, peephole = build(MEMBERS["lstm"]), build(MEMBERS["peephole_lstm"])
    copy_shared(lstm, peephole)
    inputs = random(2, 9, FEATURES)
    assert not torch.allclose(peephole(inputs)[0], lstm(inputs)[0])
    peephole.peepholes.data.zero_()
    torch.testing.assert_close(peephole(inputs)[0], lstm(inputs)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("peepholes", [False, True])
def test_conv_lstm_of_one_band_is_the_lstm(peepholes: bool) -> None:
    conv = build(ConvLSTMConfig(hidden_size=UNITS, num_bands=1, kernel_size=1, peepholes=peepholes))
    plain = build(MEMBERS["peephole_lstm" if peepholes else "lstm"])
    copy_shared(conv, plain) if not peepholes else None
    if peepholes:
        state = {key: value.squeeze(1) if key == "peepholes" else value for key, value in conv.state_dict().items()}
        plain.load_state_dict(state)
    inputs = random(2, 9, FEATURES)
    torch.testing.assert_close(conv(inputs)[0], plain(inputs)[0], rtol=0, atol=1e-12)


def test_conv_lstm_convolves_as_pytorch_does() -> None:
    """One step from a given state, its gates by `nn.functional.conv1d` over the bands."""
    cell = build(MEMBERS["conv_lstm"])
    inputs, state = random(2, 1, FEATURES), (random(2, 15, seed=1), random(2, 15, seed=2))
    bands, before = inputs.view(2, 3, 2).transpose(1, 2), state[0].view(2, 3, UNITS).transpose(1, 2)
    kernels = [weight.view(4 * UNITS, 3, -1).transpose(1, 2) for weight in (cell.input_weight, cell.recurrent_weight)]
    gates = nn.functional.conv1d(bands, kernels[0], cell.bias, padding=1)
    gates = gates + nn.functional.conv1d(before, kernels[1], padding=1)
    let_in, forget, candidate, let_out = gates.chunk(4, 1)
    inner = forget.sigmoid() * state[1].view(2, 3, UNITS).transpose(1, 2) + let_in.sigmoid() * candidate.tanh()
    expected = (let_out.sigmoid() * inner.tanh()).transpose(1, 2).flatten(1)
    torch.testing.assert_close(cell(inputs, state)[0][:, 0], expected, rtol=0, atol=1e-12)


def test_layer_norm_lstm_follows_its_equations() -> None:
    """One step from a given state, its norms by `nn.functional.layer_norm`."""
    cell = build(MEMBERS["layer_norm_lstm"])
    inputs, state = random(2, 1, FEATURES), (random(2, UNITS, seed=1), random(2, UNITS, seed=2))
    norm = nn.functional.layer_norm
    wide = (4 * UNITS,)
    gates = norm(inputs[:, 0] @ cell.input_weight.T, wide, cell.input_gain, cell.bias)
    gates = gates + norm(state[0] @ cell.recurrent_weight.T, wide, cell.recurrent_gain.flatten())
    let_in, forget, candidate, let_out = gates.chunk(4, 1)
    inner = forget.sigmoid() * state[1] + let_in.sigmoid() * candidate.tanh()
    expected = let_out.sigmoid() * norm(inner, (UNITS,), cell.cell_gain, cell.cell_bias).tanh()
    torch.testing.assert_close(cell(inputs, state)[0][:, 0], expected, rtol=0, atol=1e-12)


def test_coupled_lstm_is_an_lstm_whose_input_gate_mirrors_its_forget_gate() -> None:
    """sigma(-a) = 1 - sigma(a), so negated forget weights make the LSTM's input gate."""
    coupled, lstm = build(MEMBERS["coupled_lstm"]), build(MEMBERS["lstm"])
    with torch.no_grad():
        for name in ("input_weight", "recurrent_weight", "bias"):
            forget, candidate, output = getattr(coupled, name).chunk(3)
            getattr(lstm, name).copy_(torch.cat((-forget, forget, candidate, output)))
        for own, other in zip(lstm.initial_state, coupled.initial_state):
            own.copy_(other)
    inputs = random(2, 9, FEATURES)
    torch.testing.assert_close(coupled(inputs)[0], lstm(inputs)[0], rtol=0, atol=1e-12)


def test_janet_is_the_gru_with_its_reset_gate_open() -> None:
    janet, gru = build(MEMBERS["janet"]), build(MEMBERS["gru"])
    with torch.no_grad():
        for name in ("input_weight", "recurrent_weight", "bias"):
            getattr(gru, name)[UNITS:] = getattr(janet, name)
            getattr(gru, name)[:UNITS] = 0.0
        gru.bias[:UNITS] = 1000.0
        gru.candidate_bias.zero_()
        gru.initial_state[0].copy_(janet.initial_state[0])
    inputs = random(2, 9, FEATURES)
    torch.testing.assert_close(janet(inputs)[0], gru(inputs)[0], rtol=0, atol=1e-12)


def test_light_gru_follows_its_equations() -> None:
    cell = build(MEMBERS["light_gru"])
    inputs, before = random(2, 1, FEATURES), random(2, UNITS, seed=1)
    gates = nn.functional.layer_norm(inputs[:, 0] @ cell.input_weight.T, (2 * UNITS,), cell.input_gain, cell.bias)
    update, candidate = (gates + before @ cell.recurrent_weight.T).chunk(2, 1)
    expected = update.sigmoid() * before + (1 - update.sigmoid()) * candidate.relu()
    torch.testing.assert_close(cell(inputs, (before,))[0][:, 0], expected, rtol=0, atol=1e-12)


@every_cell
def test_dropout_and_zoneout_follow_the_generator_in_training_only(config: CellConfig) -> None:
    cell = build(config.model_copy(update={"zoneout": 0.5, "recurrent_dropout": 0.5}))
    inputs = random(2, 6, FEATURES)
    first, again, other = (cell(inputs, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    cell.eval()
    assert torch.equal(cell(inputs)[0], cell(inputs)[0])


def test_zoneout_keeps_the_states_it_says() -> None:
    cell = build(LSTMConfig(hidden_size=400, zoneout=0.25))
    state = (random(2, 400, seed=1), random(2, 400, seed=2))
    after = cell(random(2, 1, FEATURES), state, generator=torch.Generator().manual_seed(0))[1]
    for old, new in zip(state, after):
        assert 0.2 < torch.isclose(old, new, rtol=0, atol=1e-12).double().mean() < 0.3


def test_recurrent_dropout_drops_the_same_units_at_every_step() -> None:
    """With the identity as recurrent weights and no inputs, a dropped unit hears nothing from its past at any step."""
    cell = build(RNNConfig(hidden_size=50, nonlinearity="relu", recurrent_dropout=0.5), features=1)
    with torch.no_grad():
        cell.recurrent_weight.copy_(torch.eye(50))
        cell.bias.zero_()
    outputs = cell(torch.zeros(2, 4, 1).double(), (torch.ones(2, 50).double(),))[0]
    kept = outputs[:, 0] > 0
    assert 0 < kept.sum() < 100
    torch.testing.assert_close(outputs, kept.double()[:, None] * 2.0 ** torch.arange(1, 5)[:, None])


def test_forget_gate_bias_and_orthogonal_weights_are_set() -> None:
    for config in MEMBERS.values():
        if "forget_gate_bias" in type(config).model_fields:
            cell = config.model_copy(update={"forget_gate_bias": 2.0}).build(FEATURES)
            gate = cell.form.gates.index("forget")
            assert (cell.bias.view(cell.form.num_gates, -1)[gate] == 2.0).all()
            assert cell.bias.sum() == 2.0 * UNITS
    cell = LSTMConfig(hidden_size=UNITS, orthogonal_recurrent=True).build(FEATURES)
    for gate in cell.recurrent_weight.view(4, UNITS, UNITS):
        torch.testing.assert_close(gate @ gate.T, torch.eye(UNITS))


@every_cell
def test_the_traced_step_knows_its_sums(config: CellConfig) -> None:
    """Only the GRU and the layer-norm LSTM treat inputs and recurrent products apart."""
    program = trace(config.build(FEATURES).form, zoneout=False)
    assert program.additive == (config.kind not in ("gru", "layer_norm_lstm"))
    has_mean = any(symbol.operation == "mean" for symbol in reachable(program.next_state))
    assert has_mean == (config.kind == "layer_norm_lstm")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "lstmm"}, "does not match any of the expected tags"),
        ({"kind": "projected_lstm", "hidden_size": 8, "projection_size": 8}, "choose less than hidden_size"),
        ({"kind": "conv_lstm", "num_bands": 4, "kernel_size": 5}, r"wider than the 4 bands.*choose at most num_bands"),
        ({"kind": "conv_lstm", "num_bands": 8, "kernel_size": 4}, "choose 3 or 5"),
        ({"kind": "lstm", "zoneout": 1.0}, "less than 1"),
        ({"kind": "gru", "forget_gate_bias": 1.0}, "Extra inputs are not permitted"),
    ],
)
def test_bad_configurations_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(CellConfig).validate_python(fields)


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="PeepholeLSTM: inputs of 7 features; expected 6, as built"):
        build(MEMBERS["peephole_lstm"])(random(1, 2, 7))


def test_bands_that_do_not_divide_the_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs of 81 features .* choose a num_bands that divides 81"):
        ConvLSTMConfig(num_bands=40).build(81)
