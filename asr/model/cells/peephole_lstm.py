"""The LSTM whose gates see the cell: Gers & Schmidhuber 2000."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.step import StepForm, Vector, Vectors


class PeepholeLSTMConfig(ForgetGateOptions):
    """An LSTM layer with peepholes."""

    kind: Literal["peephole_lstm"] = "peephole_lstm"

    def build(self, input_size: int) -> "PeepholeLSTM":
        return PeepholeLSTM(input_size, self)


class PeepholeLSTM(Cell):
    """One LSTM layer with peepholes, in one direction; sigma is the logistic function, * is elementwise.

        i[t] = sigma(W_i x[t] + R_i h[t-1] + p_i * c[t-1] + b_i)      input gate
        f[t] = sigma(W_f x[t] + R_f h[t-1] + p_f * c[t-1] + b_f)      forget gate
        z[t] = tanh (W_z x[t] + R_z h[t-1] + b_z)                     candidate
        c[t] = f[t] * c[t-1] + i[t] * z[t]                            cell
        o[t] = sigma(W_o x[t] + R_o h[t-1] + p_o * c[t] + b_o)        output gate, which sees the new cell
        h[t] = o[t] * tanh(c[t])                                      output

    Source: Gers & Schmidhuber 2000, "Recurrent Nets that Time and Count"; the form of Graves 2013, "Generating
    Sequences With Recurrent Neural Networks", equations 7-11, with diagonal peepholes. They start at zero: an LSTM.
    """

    def __init__(self, input_size: int, config: PeepholeLSTMConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.peepholes = nn.Parameter(torch.zeros(3, config.hidden_size))  # of the input, forget and output gates
        self.set_gate_bias(1, config.forget_gate_bias)

    def unit_weights(self) -> Float[Tensor, "weight band unit"]:
        return self.peepholes.unsqueeze(1)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    input_gate, forget_gate, candidate, output_gate = (x + r for x, r in zip(inputs, recurrent))
    input_peephole, forget_peephole, output_peephole = weights
    let_in = (input_gate + input_peephole * state[1]).sigmoid()
    keep = (forget_gate + forget_peephole * state[1]).sigmoid()
    cell = keep * state[1] + let_in * candidate.tanh()
    return (output_gate + output_peephole * cell).sigmoid() * cell.tanh(), cell


FORM = StepForm(step, num_gates=4, num_states=2, num_weights=3, bounded=True, gates=("input", "forget", "output"))
