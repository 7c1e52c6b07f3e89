"""Dropout whose masks cost a tenth of PyTorch's on a CPU, and as much of a training step as they should: little."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

SIDES = 256  # of the die: a byte


class Dropout(nn.Module):
    """Zeros a share of the values in training, and scales the others so that the mean stays (Srivastava et al. 2014).

    On a CPU, eight decisions are cut from one random number of 64 bits, so the share is a multiple of 1/256 (0.2 is
    51/256); the scale is that of the share. `nn.Dropout` draws a double for each: it took a tenth of a training step.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.rate == 0.0:
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.rate)
        return _ByteDropout.apply(values, round(self.rate * SIDES))  # type: ignore[return-value]

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, num_dropped: int) -> Tensor:
        ctx.kept, ctx.scale = draw_kept(values.shape, num_dropped), SIDES / max(SIDES - num_dropped, 1)
        return values * ctx.kept * ctx.scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.kept * ctx.scale, None


def draw_kept(shape: torch.Size, num_dropped: int) -> Bool[Tensor, "..."]:
    """True with a probability of 1 - num_dropped / 256, independently, from PyTorch's own generator."""
    number = shape.numel()
    words = torch.empty((number + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # None: to the largest
    return (words.view(torch.uint8)[:number] >= num_dropped).view(shape)
