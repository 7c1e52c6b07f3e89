"""Lengths to masks, and a sequence reversed within its own length."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def valid_frames(lengths: Int[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch time"]:
    """True where a frame belongs to its utterance, False where it is padding."""
    return torch.arange(num_frames, device=lengths.device)[None, :] < lengths[:, None]


def clear_padding(
    values: Float[Tensor, "batch time ..."], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch time ..."]:
    """Returns the same values with every frame past its utterance's length set to zero, whatever (even NaN) stood
    there.
    """
    return values.masked_fill(_padding_of(values, lengths), 0.0)


def clear_padding_(values: Float[Tensor, "batch time ..."], lengths: Int[Tensor, " batch"]) -> None:
    """Clears padding in place: for values that no one else has, and no gradient needs as they were."""
    values.masked_fill_(_padding_of(values, lengths), 0.0)


def _padding_of(values: Tensor, lengths: Tensor) -> Bool[Tensor, "batch time ..."]:
    padding = ~valid_frames(lengths, values.shape[1])
    return padding.view(*padding.shape, *(1,) * (values.dim() - 2))


class _ReverseWithinLength(torch.autograd.Function):
    """The reversal is its own inverse, so its gradient is the reversed gradient: one gather, no scatter-add."""

    @staticmethod
    def forward(ctx, values: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return values.gather(1, order[:, :, None].expand_as(values))

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        (gradient,) = gradients
        return gradient.gather(1, order[:, :, None].expand_as(gradient)), None


def reverse_within_length(
    values: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch time feature"]:
    """Returns each utterance reversed within its own length; padding stays where it is.

    length 3 of 5 frames:   a b c . .   ->   c b a . .
    frame read at t:        2 1 0 3 4   =    length - 1 - t inside, t outside
    """
    time = torch.arange(values.shape[1], device=values.device)[None, :]
    ends = lengths[:, None]
    order = torch.where(time < ends, ends - 1 - time, time)
    return _ReverseWithinLength.apply(values, order)  # type: ignore[return-value]
