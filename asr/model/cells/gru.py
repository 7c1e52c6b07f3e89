"""The gated recurrent unit: Cho et al. 2014, with the reset gate after the product as in cuDNN."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asr.model.cells.cell import Cell, CellOptions
from asr.model.scan.step import StepForm, Vector, Vectors


class GRUConfig(CellOptions):
    """A GRU layer."""

    kind: Literal["gru"] = "gru"

    def build(self, input_size: int) -> "GRU":
        return GRU(input_size, self)


class GRU(Cell):
    """One GRU layer in one direction; sigma is the logistic function, * is elementwise.

        r[t] = sigma(W_r x[t] + R_r h[t-1] + b_r)                  reset gate
        u[t] = sigma(W_u x[t] + R_u h[t-1] + b_u)                  update gate
        n[t] = tanh (W_n x[t] + b_n + r[t] * (R_n h[t-1] + d_n))   candidate
        h[t] = (1 - u[t]) * n[t] + u[t] * h[t-1]                   output

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", equations 5-8, where the
    reset gate acts on h[t-1]; here, as in cuDNN and PyTorch, it acts on the product. Gates lie in this order.
    """

    def __init__(self, input_size: int, config: GRUConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.candidate_bias = nn.Parameter(torch.zeros(config.hidden_size))

    def unit_weights(self) -> Float[Tensor, "weight band unit"]:
        return self.candidate_bias.view(1, 1, -1)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    reset = (inputs[0] + recurrent[0]).sigmoid()
    update = (inputs[1] + recurrent[1]).sigmoid()
    candidate = (inputs[2] + reset * (recurrent[2] + weights[0])).tanh()
    return (candidate + update * (state[0] - candidate),)


FORM = StepForm(step, num_gates=3, num_states=1, num_weights=1, bounded=True, gates=("reset", "update"))
