"""A few frames of the future for an encoder that reads forwards only: row convolution."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asr.model.layers.masking import clear_padding


class RowConvolution(nn.Module):
    """Each unit's sum over its own present and next values, with weights of its own.

        y[t] = w[0] * x[t] + w[1] * x[t+1] + ... + w[n] * x[t+n]       past the end x is 0

    Source: Amodei et al. 2016, "Deep Speech 2" (arXiv:1512.02595), section 3.7. It starts as the identity.
    """

    def __init__(self, size: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.weight = nn.Parameter(torch.zeros(size, num_frames + 1))
        nn.init.ones_(self.weight[:, 0].detach())

    def forward(
        self, frames: Float[Tensor, "batch time size"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time size"]:
        ahead = F.pad(clear_padding(frames, lengths).transpose(1, 2), (0, self.num_frames))
        return F.conv1d(ahead, self.weight[:, None], groups=len(self.weight)).transpose(1, 2)
