"""The LSTM: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from asr.model.cells.cell import Cell, ForgetGateOptions
from asr.model.scan.choose import find_kernel
from asr.model.scan.gpu.triton import serves
from asr.model.scan.halves import asked_precision, multiplies_halves
from asr.model.scan.step import StepForm, Vector, Vectors

MANY_STEPS = 16


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

    def forward(
        self,
        inputs: Float[Tensor, "batch time feature"],
        state: tuple[Tensor, ...] | None = None,
        *,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        """Run the layer as any cell, by PyTorch's own LSTM where no option stands in the way."""
        if not self.is_builtin(inputs):
            return super().forward(inputs, state, generator=generator)
        if state is None:
            state = tuple(part.expand(len(inputs), -1) for part in self.initial_state)
        before = [part.unsqueeze(0).contiguous() for part in state]
        weights = [self.input_weight, self.recurrent_weight, self.bias, torch.zeros_like(self.bias)]
        outputs, *after = torch.lstm(inputs, before, weights, True, 1, 0.0, self.training, False, True)
        return outputs, tuple(part.squeeze(0).to(self.bias.dtype) for part in after)  # under autocast too

    def is_builtin(self, inputs: Float[Tensor, "batch time feature"]) -> bool:
        """It is as fast as the scan or faster, but on a GPU that the Triton kernels serve, and for a training in
        bfloat16, where the compiled kernel is.

        The kernel packs its weights anew in each call, so a decoder that takes single steps stays here.
        """
        options = self.options
        free = options.zoneout == 0.0 and (options.recurrent_dropout == 0.0 or not self.training)
        return (
            self.path == "auto"
            and self.input_product is None
            and free
            and inputs.shape[1] > 0
            and inputs.shape[-1] == self.input_size
            and self._has_builtin()
            and not serves(self.form, self.recurrent_weight, inputs.shape[1])
            and not (torch.is_grad_enabled() and inputs.shape[1] >= MANY_STEPS and self._has_kernel_in_halves())
        )

    def _has_builtin(self) -> bool:
        """Whether PyTorch has this layer in the precision asked for: in less than float32 not on every CPU."""
        asked = asked_precision(self.bias)
        in_full = asked in (torch.float32, torch.float64)
        return in_full or self.bias.device.type != "cpu" or multiplies_halves(self.bias)

    def _has_kernel_in_halves(self) -> bool:
        """Whether autocast asks for bfloat16 and the compiled kernel has it."""
        if not torch.is_autocast_enabled(self.bias.device.type):
            return False
        kernel = find_kernel(self.form, self.recurrent_weight, zoneout=False)
        return kernel is not None and kernel.stored == torch.bfloat16


def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
    input_gate, forget_gate, candidate, output_gate = (x + r for x, r in zip(inputs, recurrent))
    let_in, keep, let_out = input_gate.sigmoid(), forget_gate.sigmoid(), output_gate.sigmoid()
    cell = keep * state[1] + let_in * candidate.tanh()
    return let_out * cell.tanh(), cell


FORM = StepForm(step, num_gates=4, num_states=2, bounded=True, gates=("input", "forget", "output"))
