"""The LSTM: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from asr.section import Section


class LSTMConfig(Section):
    """An LSTM of one layer and one direction."""

    kind: Literal["lstm"] = "lstm"
    hidden_size: int = Field(256, ge=1, description="units in the layer")
    forget_gate_bias: float = Field(1.0, description="initial bias of the forget gate; positive remembers at first")
    orthogonal_recurrent: bool = Field(False, description="start each gate's recurrent weights orthogonal")

    def build(self, input_size: int) -> "LSTM":
        return LSTM(input_size, self)


class LSTM(nn.Module):
    """One LSTM layer in one direction; sigma is the logistic function, * is elementwise.

        i[t] = sigma(W_i x[t] + R_i h[t-1] + b_i)      input gate
        f[t] = sigma(W_f x[t] + R_f h[t-1] + b_f)      forget gate
        z[t] = tanh (W_z x[t] + R_z h[t-1] + b_z)      candidate
        o[t] = sigma(W_o x[t] + R_o h[t-1] + b_o)      output gate
        c[t] = f[t] * c[t-1] + i[t] * z[t]             cell
        h[t] = o[t] * tanh(c[t])                       output

    Sources: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; the forget gate from Gers, Schmidhuber &
    Cummins 2000, "Learning to Forget", equations 2.1-2.5. The gates lie in this order in the weights, as in PyTorch.
    """

    def __init__(self, input_size: int, config: LSTMConfig) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.layer = nn.LSTM(input_size, config.hidden_size, batch_first=True)
        self._initialize(config)

    @torch.no_grad()
    def _initialize(self, config: LSTMConfig) -> None:
        for bias in (self.layer.bias_ih_l0, self.layer.bias_hh_l0):
            bias.zero_()
        self.layer.bias_ih_l0.view(4, -1)[1].fill_(config.forget_gate_bias)
        if config.orthogonal_recurrent:
            for gate in self.layer.weight_hh_l0.view(4, config.hidden_size, config.hidden_size):
                nn.init.orthogonal_(gate)

    def forward(
        self, inputs: Float[Tensor, "batch time feature"], state: tuple[Tensor, ...] | None = None
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        """Run the layer over `inputs` from `state` (h and c, each [batch, hidden]; zeros if None)."""
        before = None if state is None else tuple(part.unsqueeze(0) for part in state)
        outputs, after = self.layer(inputs, before)
        return outputs, tuple(part.squeeze(0) for part in after)
