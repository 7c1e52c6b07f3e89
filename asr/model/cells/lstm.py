"""The LSTM: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.step import StepForm, Vector, Vectors
from asr.operators.private import LSTM_LAYER, find_operator


class LSTMConfig(ForgetGateOptions):
    """An LSTM layer."""

    kind: Literal["lstm"] = "lstm"

    def build(self, input_size: int) -> "LSTM":
        return LSTM(input_size, self)


class LSTM(Cell):
    """One LSTM layer in one direction; sigma is the logistic function, * is elementwise.

        i[t] = sigma(W_i x[t] + R_i h[t-1] + b_i)      input gate
        f[t] = sigma(W_f x[t] + R_f h[t-1] + b_f)      forget gate
        z[t] = tanh (W_z x[t] + R_z h[t-1] + b_z)      candidate
        o[t] = sigma(W_o x[t] + R_o h[t-1] + b_o)      output gate
        c[t] = f[t] * c[t-1] + i[t] * z[t]             cell
        h[t] = o[t] * tanh(c[t])                       output

    Sources: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; the forget gate from Gers, Schmidhuber &
    Cummins 2000, "Learning to Forget". The gates lie in this order in the weights, as in PyTorch.
    """

    def __init__(self, input_size: int, config: LSTMConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.set_gate_bias(1, config.forget_gate_bias)

    def has_builtin(self) -> bool:
        """PyTorch's LSTM has no zoneout, no dropout of the recurrent connection, and no products of 8 bits."""
        options = self.options
        is_plain = options.zoneout == 0.0 and (options.recurrent_dropout == 0.0 or not self.training)
        return is_plain and self.input_product is None

    def run_builtin(
        self, inputs: Float[Tensor, "batch time feature"], state: tuple[Tensor, ...] | None
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        if state is None:
            state = tuple(part.expand(len(inputs), -1) for part in self.initial_state)
        before = [part.unsqueeze(0).contiguous() for part in state]
        weights = [self.input_weight, self.recurrent_weight, self.bias, torch.zeros_like(self.bias)]
        outputs, *after = find_operator(LSTM_LAYER)(inputs, before, weights, True, 1, 0.0, self.training, False, True)
        return outputs, tuple(part.squeeze(0).to(self.bias.dtype) for part in after)  # under autocast too


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    input_gate, forget_gate, candidate, output_gate = (x + r for x, r in zip(inputs, recurrent))
    let_in, keep, let_out = input_gate.sigmoid(), forget_gate.sigmoid(), output_gate.sigmoid()
    cell = keep * state[1] + let_in * candidate.tanh()
    return let_out * cell.tanh(), cell


FORM = StepForm(step, num_gates=4, num_states=2, bounded=True, gates=("input", "forget", "output"))
