"""The convolutional LSTM, over the frequency bands of speech: Shi et al. 2015; Zhang, Chan & Jaitly 2016."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from asr.model.cells.cell import BandOptions, Cell, ForgetGateOptions
from asr.model.cells.lstm import FORM as PLAIN_FORM
from asr.model.cells.peephole_lstm import FORM as PEEPHOLE_FORM
from asr.model.scan.products import linear
from asr.model.scan.recurrence import neighbours
from asr.section import LARGEST_WIDTH


class ConvLSTMConfig(BandOptions, ForgetGateOptions):
    """A convolutional LSTM layer over frequency; `hidden_size` is its channels in each band."""

    kind: Literal["conv_lstm"] = "conv_lstm"
    hidden_size: int = Field(32, ge=1, le=LARGEST_WIDTH, description="channels of the state in each band")
    peepholes: bool = Field(False, description="let the gates see the cell, by one weight a band and channel")

    def build(self, input_size: int) -> "ConvLSTM":
        """Raises ValueError where `input_size` is no whole number of channels in each of the bands."""
        if input_size % self.num_bands:
            raise ValueError(
                f"conv_lstm: inputs of {input_size} features are no whole number of channels in {self.num_bands} "
                f"bands; choose a num_bands that divides {input_size}"
            )
        return ConvLSTM(input_size, self)


class ConvLSTM(Cell):
    """One convolutional LSTM layer in one direction; % is convolution over the bands of a frame, * is elementwise.

        i[t] = sigma(W_i % x[t] + R_i % h[t-1] + p_i * c[t-1] + b_i)      input gate
        f[t] = sigma(W_f % x[t] + R_f % h[t-1] + p_f * c[t-1] + b_f)      forget gate
        z[t] = tanh (W_z % x[t] + R_z % h[t-1] + b_z)                     candidate
        c[t] = f[t] * c[t-1] + i[t] * z[t]                                cell
        o[t] = sigma(W_o % x[t] + R_o % h[t-1] + p_o * c[t] + b_o)        output gate
        h[t] = o[t] * tanh(c[t])                                          output

    x, h and c hold channels for every band; features and outputs lie band by band, [band, channel] flattened. Past
    the outermost bands lie zeros. Without peepholes p = 0.

    Sources: Shi et al. 2015, "Convolutional LSTM Network", equation 3; over frequency alone, as for speech in Zhang,
    Chan & Jaitly 2016, "Very Deep Convolutional Networks for End-to-End Speech Recognition".
    """

    def __init__(self, input_size: int, config: ConvLSTMConfig) -> None:
        form = PEEPHOLE_FORM if config.peepholes else PLAIN_FORM
        super().__init__(input_size, config, form, num_bands=config.num_bands, kernel_size=config.kernel_size)
        shape = (form.num_weights, config.num_bands, config.hidden_size)
        self.peepholes = nn.Parameter(torch.zeros(shape)) if config.peepholes else None
        self.set_gate_bias(1, config.forget_gate_bias)

    def input_gates(self, inputs: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time band gate_unit"]:
        bands = inputs.unflatten(-1, (self.num_bands, -1))
        return linear(neighbours(bands, self.kernel_size), self.input_weight, self.bias)

    def unit_weights(self) -> Float[Tensor, "weight band unit"] | None:
        return self.peepholes
