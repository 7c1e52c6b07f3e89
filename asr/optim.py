"""The optimizer, the learning rate as a function of progress, and averages of weights."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.operators.private import LERP_OF_MANY, find_operator
from asr.section import Section


class WarmupCosineConfig(Section):
    """Linear warm-up, then half a cosine down to a floor (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5)."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_steps: int = Field(500, ge=0, description="steps from 0 to the full learning rate")
    final_fraction: float = Field(0.01, ge=0.0, le=1.0, description="of the learning rate, at the end")

    def factor(self, step: int, progress: float) -> float:
        """Returns the factor of the learning rate at `step` (from 0), `progress` (0 to 1) through the training."""
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return warmup * (self.final_fraction + (1.0 - self.final_fraction) * cosine)


class NoamConfig(Section):
    """Linear warm-up, then the inverse square root of the step (Vaswani et al. 2017, section 5.3), 1 at its peak."""

    kind: Literal["noam"] = "noam"
    warmup_steps: int = Field(1000, ge=1, description="steps from 0 to the full learning rate")

    def factor(self, step: int, progress: float) -> float:
        """Returns the factor of the learning rate, as WarmupCosineConfig.factor; the progress does not matter here."""
        return min((step + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (step + 1)))


class OptimConfig(Section):
    """AdamW (Loshchilov & Hutter 2019); weight decay acts on matrices only, not on biases and norms."""

    learning_rate: float = Field(1e-3, gt=0.0, description="at the peak of the schedule")
    betas: tuple[float, float] = Field((0.9, 0.98), description="decay of the first and second moment")
    weight_decay: float = Field(1e-2, ge=0.0, description="a step shrinks matrices by learning rate times this")
    clip_norm: float = Field(5.0, gt=0.0, description="largest norm of the whole gradient (Pascanu et al. 2013)")
    schedule: Annotated[WarmupCosineConfig | NoamConfig, Field(discriminator="kind")] = Field(
        WarmupCosineConfig(), description="how the learning rate changes from step to step"
    )

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        decayed = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
        others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


class ExponentialAverage:
    """A moving average of a model's weights (Polyak & Juditsky 1992), warmed up so that it forgets its start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        new = model.state_dict()
        floating = [name for name, value in self.weights.items() if value.is_floating_point()]
        find_operator(LERP_OF_MANY)(
            [self.weights[name] for name in floating], [new[name] for name in floating], 1.0 - decay
        )
        for name in self.weights.keys() - floating:
            self.weights[name].copy_(new[name])


def average_weights(members: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the mean of several models' weights, summed in float64; tensors of integers are those of the first
    member.
    """
    members = list(members)
    if not members:
        raise ValueError("average_weights: no weights given; expected those of at least one model")
    return {
        name: torch.stack([member[name].double() for member in members]).mean(dim=0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in members[0].items()
    }
