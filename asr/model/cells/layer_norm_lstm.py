"""The LSTM with layer normalisation: Ba, Kiros & Hinton 2016."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.products import linear
from asr.model.scan.step import StepForm, Vector, Vectors, normalize


class LayerNormLSTMConfig(ForgetGateOptions):
    """An LSTM layer with layer normalisation inside."""

    kind: Literal["layer_norm_lstm"] = "layer_norm_lstm"

    def build(self, input_size: int) -> "LayerNormLSTM":
        return LayerNormLSTM(input_size, self)


class LayerNormLSTM(Cell):
    """One LSTM layer with layer normalisation, in one direction; norm(v) = (v - mean(v)) / sqrt(var(v) + 1e-5).

        a[t] = g * norm(W x[t]) + k * norm(R h[t-1]) + b     the four gates' sums, each norm over all four together
        i[t], f[t], o[t] = sigma(a_i), sigma(a_f), sigma(a_o);   z[t] = tanh(a_z)
        c[t] = f[t] * c[t-1] + i[t] * z[t]                   cell
        h[t] = o[t] * tanh(m * norm(c[t]) + d)               output

    Source: Ba, Kiros & Hinton 2016, "Layer Normalization", equations 20-22. Gates lie in the order i, f, z, o.
    """

    def __init__(self, input_size: int, config: LayerNormLSTMConfig) -> None:
        super().__init__(input_size, config, FORM)
        units = config.hidden_size
        self.input_gain = nn.Parameter(torch.ones(4 * units))  # g
        self.recurrent_gain = nn.Parameter(torch.ones(4, units))  # k
        self.cell_gain = nn.Parameter(torch.ones(units))  # m
        self.cell_bias = nn.Parameter(torch.zeros(units))  # d
        self.set_gate_bias(1, config.forget_gate_bias)

    def input_gates(self, inputs: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time band gate_unit"]:
        gates = linear(inputs, self.input_weight, None)
        return F.layer_norm(gates, self.bias.shape, self.input_gain, self.bias).unsqueeze(2)

    def unit_weights(self) -> Float[Tensor, "weight band unit"]:
        return torch.cat((self.recurrent_gain, self.cell_gain[None], self.cell_bias[None])).unsqueeze(1)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    *gains, cell_gain, cell_bias = weights
    gates = [x + gain * r for x, gain, r in zip(inputs, gains, normalize(recurrent))]
    let_in, keep, let_out = gates[0].sigmoid(), gates[1].sigmoid(), gates[3].sigmoid()
    cell = keep * state[1] + let_in * gates[2].tanh()
    (normal_cell,) = normalize([cell])
    return let_out * (cell_gain * normal_cell + cell_bias).tanh(), cell


FORM = StepForm(step, num_gates=4, num_states=2, num_weights=6, gates=("input", "forget", "output"))
