"""Describes one run of a layer over time, and has the plain loop that every faster path must equal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor
from torch.nn import functional as F

from asr.model.scan.step import StepForm, zone_out


@dataclass(frozen=True)
class Recurrence:
    """Holds one run of a layer over time, its inputs' share of the gates already computed.

    Every cell sees a frame as bands of units: one band, but for a cell that convolves over frequency. The kernel of
    the recurrent product spans `tap` bands; a plain layer's spans its only one.
    """

    form: StepForm
    gates: Float[Tensor, "batch time band gate_unit"]
    recurrent_weight: Float[Tensor, "gate_unit tap_recurrent"] | Int8[Tensor, "gate_unit tap_recurrent"]
    state: tuple[Float[Tensor, "batch band _"], ...]  # the output first
    weights: Float[Tensor, "weight band unit"] | None
    projection: Float[Tensor, "recurrent unit"] | None
    mask: Float[Tensor, "batch band recurrent"] | None  # of variational dropout, scaled
    noise: Float[Tensor, "batch time band state unit"] | None  # of zoneout: 1 keeps the old state
    scales: Float[Tensor, " gate_unit"] | None = None  # what one stands for where the recurrent weights are integers

    @property
    def num_taps(self) -> int:
        return self.recurrent_weight.shape[1] // self.state[0].shape[2]


def scan_reference(recurrence: Recurrence) -> tuple[Float[Tensor, "batch time band recurrent"], tuple[Tensor, ...]]:
    """Runs the plain loop, differentiated by autograd, which every other path must equal."""
    form = recurrence.form
    weights = () if recurrence.weights is None else recurrence.weights.unbind(0)
    state, outputs = recurrence.state, []
    noise = [None] * recurrence.gates.shape[1] if recurrence.noise is None else recurrence.noise.unbind(1)
    for gates, keep in zip(recurrence.gates.unbind(1), noise):
        products = recurrent_products(recurrence, state[0])
        new = form.step(gates.chunk(form.num_gates, -1), products.chunk(form.num_gates, -1), state, weights)
        if keep is not None:
            new = zone_out(new, state, keep.unbind(2), projected=form.projected)
        if recurrence.projection is not None:
            new = (F.linear(new[0], recurrence.projection), *new[1:])
        state = new
        outputs.append(state[0])
    empty = recurrence.gates.new_zeros(*recurrence.gates.shape[:3], recurrence.state[0].shape[2])
    return torch.stack(outputs, 1) if outputs else empty, tuple(state)


def recurrent_products(
    recurrence: Recurrence, output: Float[Tensor, "batch band recurrent"]
) -> Float[Tensor, "batch band gate_unit"]:
    """Returns R h[t-1], over the bands' neighbours where the cell convolves."""
    if recurrence.mask is not None:
        output = output * recurrence.mask
    return F.linear(neighbours(output, recurrence.num_taps), recurrence.recurrent_weight)


def neighbours(vectors: Float[Tensor, "*batch band unit"], num_taps: int) -> Float[Tensor, "*batch band tap_unit"]:
    """Puts each band beside its neighbours, zeros past the ends: with 3 taps, row f is [f-1 | f | f+1]."""
    if num_taps == 1:
        return vectors
    side = num_taps // 2
    padded = F.pad(vectors, (0, 0, side, side))
    return padded.unfold(-2, num_taps, 1).transpose(-1, -2).flatten(-2)
