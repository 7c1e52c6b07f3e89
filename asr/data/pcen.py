"""Per-channel energy normalisation: each mel beside its own recent level, so that steady noise and distance fade."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor

from asr.section import Section

# Powers are those of samples that are counted in 16 bits, as the source's are; FLOOR is in them too.
LOG_SCALE = 30 * math.log(2)
FLOOR = 1e-6
FRAMES_PER_BLOCK = 64  # smoothed by one product of matrices


class PCENConfig(Section):
    """Wang et al. 2017, "Trainable frontend for robust and far-field keyword spotting", equations 1 and 2, untrained.

    (power / (FLOOR + smoothed)^gain + bias)^exponent - bias^exponent, where a frame's smoothed power is (1 - smoothing)
    times that of the frame before, plus smoothing times its own power.
    """

    smoothing: float = Field(0.025, gt=0, le=1, description="share of a frame's own power in its smoothed power")
    gain: float = Field(0.98, ge=0, le=1, description="how much the level is levelled; 0: not at all")
    bias: float = Field(2.0, ge=0, description="what is far below it counts little")
    exponent: float = Field(0.5, gt=0, le=1, description="how much the range is compressed; 1: not at all")


@torch.no_grad()
def pcen(log_mels: Float[Tensor, "frame mel"], config: PCENConfig) -> Float[Tensor, "frame mel"]:
    """Un-normalised log-mels to their PCEN, each frame of itself and those before it; 0.1 ms a second.

    Before the first frame the level is taken to have been that frame's.
    """
    scaled = log_mels + LOG_SCALE
    level = _smoothed(scaled.double().exp_(), config.smoothing).add_(FLOOR).log_().to(scaled.dtype)
    levelled = (scaled - config.gain * level).exp_()
    return (levelled + config.bias).pow_(config.exponent) - config.bias**config.exponent


def _smoothed(power: Float64[Tensor, "frame mel"], smoothing: float) -> Float64[Tensor, "frame mel"]:
    """Returns a first-order filter over frames, block by block: a frame-wise loop would take 20 times as long."""
    ages = torch.arange(FRAMES_PER_BLOCK, dtype=power.dtype, device=power.device)
    kept = (1 - smoothing) ** (ages[:, None] - ages).clamp(min=0)
    weights = (smoothing * kept).tril()
    smoothed = torch.empty_like(power)
    level = power[:1]
    for block, smoothed_block in zip(power.split(FRAMES_PER_BLOCK), smoothed.split(FRAMES_PER_BLOCK)):
        size = len(block)
        torch.addmm(kept[:size, :1] * (1 - smoothing) * level, weights[:size, :size], block, out=smoothed_block)
        level = smoothed_block[-1:]
    return smoothed
