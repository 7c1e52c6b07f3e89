"""Measures what attention looks like: whether it follows the speech, how sharply; and has a loss that teaches it to."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.model.layers.masking import valid_frames

Weights = Float[Tensor, "batch step time"]


def off_diagonal(
    step_lengths: Int[Tensor, " batch"],
    lengths: Int[Tensor, " batch"],
    *,
    num_steps: int,
    num_frames: int,
    width: float,
) -> Weights:
    """Returns how far each place of an attention map lies off the diagonal of its utterance, from 0 to 1.

        1 - exp(-(n / N - t / T)^2 / (2 width^2))

    Tachibana et al. 2018 (arXiv:1710.08969), section 3.3; 0 past the lengths.
    """
    steps = torch.arange(num_steps, device=lengths.device)[None, :] / step_lengths.clamp(min=1)[:, None]
    frames = torch.arange(num_frames, device=lengths.device)[None, :] / lengths.clamp(min=1)[:, None]
    distance = steps[:, :, None] - frames[:, None, :]
    inside = valid_frames(step_lengths, num_steps)[:, :, None] & valid_frames(lengths, num_frames)[:, None, :]
    return (1.0 - torch.exp(-(distance**2) / (2 * width**2))).masked_fill(~inside, 0.0)


def diagonality(weights: Weights, step_lengths: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Returns how well attention moves on with the tokens: the correlation of step and frame over the map's mass.

    1: each token has a place of its own, evenly later than the one before; 0: tokens look at one place, everywhere or
    anywhere; below: backwards. An utterance of one step has none: NaN.
    """
    inside = valid_frames(step_lengths, weights.shape[1])
    mass = weights.double().masked_fill(~inside[:, :, None], 0.0)
    mass = mass / mass.sum(dim=(1, 2), keepdim=True)
    steps = torch.arange(weights.shape[1], device=weights.device).double()[None, :, None]
    frames = torch.arange(weights.shape[2], device=weights.device).double()[None, None, :]
    steps, frames = (axis - (mass * axis).sum(dim=(1, 2), keepdim=True) for axis in (steps, frames))
    covariance, of_steps, of_frames = (
        (mass * left * right).sum(dim=(1, 2)) for left, right in ((steps, frames), (steps, steps), (frames, frames))
    )
    # All mass on one frame has no spread, hence no correlation: it does not follow anything.
    correlation = torch.where(of_frames > 1e-9, covariance / (of_steps * of_frames).sqrt(), 0.0)
    return correlation.masked_fill(step_lengths < 2, torch.nan)


def entropy(
    weights: Weights, step_lengths: Int[Tensor, " batch"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Returns the mean entropy of a step's weights as a share of the greatest there can be: 0 one frame,
    1 all alike.
    """
    inside = valid_frames(step_lengths, weights.shape[1])
    each = torch.special.entr(weights.double()).sum(dim=2).masked_fill(~inside, 0.0)
    greatest = lengths.clamp(min=2).double().log() * step_lengths.clamp(min=1)
    return each.sum(dim=1) / greatest
