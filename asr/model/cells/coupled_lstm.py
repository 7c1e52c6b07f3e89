"""The LSTM with its input gate coupled to its forget gate (CIFG): Greff et al. 2017."""

from typing import Literal

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.step import StepForm, Vector, Vectors


class CoupledLSTMConfig(ForgetGateOptions):
    """An LSTM layer with coupled input and forget gates."""

    kind: Literal["coupled_lstm"] = "coupled_lstm"

    def build(self, input_size: int) -> "CoupledLSTM":
        return CoupledLSTM(input_size, self)


class CoupledLSTM(Cell):
    """One LSTM layer with coupled gates, in one direction: what it forgets it replaces, with a quarter fewer weights.

        f[t] = sigma(W_f x[t] + R_f h[t-1] + b_f)            forget gate
        z[t] = tanh (W_z x[t] + R_z h[t-1] + b_z)            candidate
        o[t] = sigma(W_o x[t] + R_o h[t-1] + b_o)            output gate
        c[t] = f[t] * c[t-1] + (1 - f[t]) * z[t]             cell
        h[t] = o[t] * tanh(c[t])                             output

    Source: Greff et al. 2017, "LSTM: A Search Space Odyssey", variant CIFG, here without peepholes.
    """

    def __init__(self, input_size: int, config: CoupledLSTMConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.set_gate_bias(0, config.forget_gate_bias)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    forget_gate, candidate, output_gate = (x + r for x, r in zip(inputs, recurrent))
    new = candidate.tanh()
    cell = new + forget_gate.sigmoid() * (state[1] - new)
    return output_gate.sigmoid() * cell.tanh(), cell


FORM = StepForm(step, num_gates=3, num_states=2, bounded=True, gates=("forget", "output"))
