"""The light gated recurrent unit (Li-GRU), made for speech: Ravanelli et al. 2018."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asr.model.cells.cell import Cell, CellOptions
from asr.model.scan.products import linear
from asr.model.scan.step import StepForm, Vector, Vectors


class LightGRUConfig(CellOptions):
    """A light GRU layer."""

    kind: Literal["light_gru"] = "light_gru"

    def build(self, input_size: int) -> "LightGRU":
        return LightGRU(input_size, self)


class LightGRU(Cell):
    """One light GRU layer in one direction: no reset gate, a rectifier for the candidate, normalised inputs.

        u[t] = sigma(norm(W x[t])_u + R_u h[t-1])            update gate
        n[t] = relu (norm(W x[t])_n + R_n h[t-1])            candidate
        h[t] = u[t] * h[t-1] + (1 - u[t]) * n[t]             output

    Source: Ravanelli, Brakel, Omologo & Bengio 2018, "Light Gated Recurrent Units for Speech Recognition". There norm
    is batch normalisation; here it is layer normalisation over both gates together, with a gain and a bias, so that
    an utterance's result depends neither on what shares its batch nor on padding.
    """

    def __init__(self, input_size: int, config: LightGRUConfig) -> None:
        super().__init__(input_size, config, FORM)
        self.input_gain = nn.Parameter(torch.ones(2 * config.hidden_size))

    def input_gates(self, inputs: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time band gate_unit"]:
        gates = linear(inputs, self.input_weight, None)
        return F.layer_norm(gates, self.bias.shape, self.input_gain, self.bias).unsqueeze(2)


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    update = (inputs[0] + recurrent[0]).sigmoid()
    candidate = (inputs[1] + recurrent[1]).relu()
    return (candidate + update * (state[0] - candidate),)


FORM = StepForm(step, num_gates=2, num_states=1, gates=("update",))
