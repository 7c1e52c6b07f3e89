"""The LSTM with nothing but its forget gate: van der Westhuizen & Lasenby 2018."""

from typing import Literal

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.step import StepForm, Vector, Vectors


class JANETConfig(ForgetGateOptions):
    """A JANET layer ("just another network")."""

    kind: Literal["janet"] = "janet"

    def build(self, input_size: int) -> "JANET":
        return JANET(input_size, self)


class JANET(Cell):
    """One JANET layer in one direction; sigma is the logistic function, * is elementwise.

        f[t] = sigma(W_f x[t] + R_f h[t-1] + b_f)      forget gate
        z[t] = tanh (W_z x[t] + R_z h[t-1] + b_z)      candidate
        h[t] = f[t] * h[t-1] + (1 - f[t]) * z[t]       cell and output in one

    Source: van der Westhuizen & Lasenby 2018, "The unreasonable effectiveness of the forget gate" (arXiv:1804.04849),
    equation 4. Gates lie in this order.
    """

    def __init__(self, input_size: int, config: JANETConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.set_gate_bias(0, config.forget_gate_bias)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    forget_gate, candidate = (x + r for x, r in zip(inputs, recurrent))
    new = candidate.tanh()
    return (new + forget_gate.sigmoid() * (state[0] - new),)


FORM = StepForm(step, num_gates=2, num_states=1, bounded=True, gates=("forget",))
