"""The LSTM whose output is projected to fewer units before it recurs: Sak et al. 2014."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.step import StepForm, Vector, Vectors
from asr.section import LARGEST_WIDTH


class ProjectedLSTMConfig(ForgetGateOptions):
    """An LSTM layer with a recurrent projection."""

    kind: Literal["projected_lstm"] = "projected_lstm"
    projection_size: int = Field(128, ge=1, le=LARGEST_WIDTH, description="width of the projected output")

    @model_validator(mode="after")
    def _projection_is_narrower(self) -> "ProjectedLSTMConfig":
        if self.projection_size >= self.hidden_size:
            raise ValueError(
                f"projection_size: {self.projection_size} is not narrower than the {self.hidden_size} hidden units; "
                f"choose less than hidden_size, or kind: lstm"
            )
        return self

    def build(self, input_size: int) -> "ProjectedLSTM":
        return ProjectedLSTM(input_size, self)


class ProjectedLSTM(Cell):
    """One LSTM layer with a recurrent projection, in one direction: many cells, few recurrent weights.

        i, f, z, o and c as in the LSTM, from x[t] and the projected h[t-1]
        h[t] = P (o[t] * tanh(c[t]))                         output, projection_size wide

    Source: Sak, Senior & Beaufays 2014, "Long Short-Term Memory Recurrent Neural Network Architectures for Large
    Scale Acoustic Modeling", without peepholes and without the non-recurrent projection. Zoneout
    acts on the cell c alone.
    """

    def __init__(self, input_size: int, config: ProjectedLSTMConfig) -> None:
        super().__init__(input_size, config, FORM, recurrent_size=config.projection_size)
        bound = config.hidden_size**-0.5
        self.projection_weight = nn.Parameter(torch.empty(config.projection_size, config.hidden_size))
        nn.init.uniform_(self.projection_weight, -bound, bound)
        self.set_gate_bias(1, config.forget_gate_bias)

    def projection(self) -> Float[Tensor, "recurrent unit"]:
        return self.projection_weight


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    input_gate, forget_gate, candidate, output_gate = (x + r for x, r in zip(inputs, recurrent))
    let_in, keep, let_out = input_gate.sigmoid(), forget_gate.sigmoid(), output_gate.sigmoid()
    cell = keep * state[1] + let_in * candidate.tanh()
    return let_out * cell.tanh(), cell


FORM = StepForm(step, num_gates=4, num_states=2, projected=True, gates=("input", "forget", "output"))
