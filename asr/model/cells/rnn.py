"""The plain recurrent network: Elman 1990."""

from typing import Literal

from pydantic import Field

from asr.model.cells.cell import Cell, CellOptions
from asr.model.scan.step import StepForm, Vector, Vectors


class RNNConfig(CellOptions):
    """A plain recurrent layer: the baseline without gates."""

    kind: Literal["rnn"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = Field("tanh", description="what bounds the output")

    def build(self, input_size: int) -> "RNN":
        return RNN(input_size, self)


class RNN(Cell):
    """One plain recurrent layer in one direction.

        h[t] = tanh(W x[t] + R h[t-1] + b)      or relu

    Source: Elman 1990, "Finding Structure in Time"; with the rectifier Le, Jaitly & Hinton 2015, "A Simple Way to
    Initialize Recurrent Networks of Rectified Linear Units".
    """

    def __init__(self, input_size: int, config: RNNConfig) -> None:
        super().__init__(input_size, config, FORMS[config.nonlinearity])


def tanh_step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    return ((inputs[0] + recurrent[0]).tanh(),)


def relu_step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    return ((inputs[0] + recurrent[0]).relu(),)


FORMS = {
    "tanh": StepForm(tanh_step, num_gates=1, num_states=1, bounded=True),
    "relu": StepForm(relu_step, num_gates=1, num_states=1),
}
