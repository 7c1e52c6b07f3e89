"""Scans by the compiled kernel: a differentiable function over one direction of a layer or both at once."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.model.scan.cpu.build import Arguments, KernelError, call_kernel, call_outer_product, try_kernel
from asr.model.scan.cpu.source import saved_apart
from asr.model.scan.processor import is_intel
from asr.model.scan.products import half_outer_product
from asr.model.scan.recurrence import Recurrence, neighbours
from asr.model.scan.step import Program, StepForm, trace


@dataclass(frozen=True)
class Kernel:
    """Holds a built kernel, and the type in which it keeps and multiplies what it need not sum: that of the gates."""

    library: ctypes.CDLL
    program: Program
    stored: torch.dtype

    @property
    def summed(self) -> torch.dtype:
        return torch.float64 if self.stored == torch.float64 else torch.float32


def open_kernel(form: StepForm, precision: torch.dtype, *, zoneout: bool) -> Kernel:
    """Returns the kernel that multiplies numbers of that type; raises KernelError where this machine has none.

    Beside weights that are integers of 8 bits it keeps all else in float32.
    """
    program = trace(form, zoneout=zoneout)
    found = try_kernel(program, precision)
    if found.library is None:
        raise KernelError(f"compiled cells: {found.problem and found.problem.reason}; choose another path")
    return Kernel(found.library, program, torch.float32 if precision == torch.int8 else precision)


def scan_compiled(
    kernel: Kernel,
    gates: Float[Tensor, "batch time band direction gate_unit"],
    directions: Sequence[Recurrence],
    *,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time band direction recurrent"], tuple[Tensor, ...]]:
    """Computes `scan_reference` for each direction, the second of which reads each utterance from its end.

    With `lengths`, no utterance takes a step past its own, and outputs are zeros there. The states after the last
    step, without the output, are given for one direction and no lengths only. The gates of `directions` are not read.
    """
    groups = [(*multiplied(r), r.mask, r.noise, *r.state) for r in directions]
    tensors = [gates, *(tensor for group in groups for tensor in group)]
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if lengths is not None:
        lengths = lengths.to("cpu", torch.int64).contiguous()
    outputs, *last = CompiledScan.apply(kernel, training, lengths, *tensors)
    return outputs, tuple(last)


def multiplied(recurrence: Recurrence) -> tuple[Tensor | None, ...]:
    """Returns the weights; integers of 8 bits come with their scales in the place of a projection."""
    scales = recurrence.projection if recurrence.scales is None else recurrence.scales
    return recurrence.recurrent_weight, recurrence.weights, scales


@dataclass(frozen=True)
class Direction:
    """Holds the tensors of one direction as the kernel reads them: contiguous and of one type."""

    number: int
    recurrent_weight: Tensor
    weights: Tensor | None
    projection: Tensor | None
    mask: Tensor | None
    noise: Tensor | None  # of which only the units must be adjacent
    state: tuple[Tensor, ...]

    def tensors(self) -> tuple[Tensor | None, ...]:
        return (self.recurrent_weight, self.weights, self.projection, self.mask, self.noise, *self.state)

    def arguments(self, kernel: Kernel, shape: Sequence[int], lengths: Tensor | None) -> Arguments:
        """Returns the kernel's arguments for gates of that shape, without the gates and without results."""
        batch, time, bands, count, rows = shape
        recurrent = self.state[0].shape[2]
        arguments = Arguments(
            batch=batch, time=time, bands=bands, units=rows // kernel.program.form.num_gates, recurrent=recurrent,
            taps=self.recurrent_weight.shape[1] // recurrent, reversed=self.number, gate_stride=count * rows,
            output_stride=count * recurrent, noise_strides=(0,) * 4 if self.noise is None else self.noise.stride()[:4],
            initial=addresses(self.state),
        )  # fmt: skip
        point(
            arguments, lengths=lengths, recurrent_weight=self.recurrent_weight, projection=self.projection,
            weights=self.weights, mask=self.mask, noise=self.noise,
        )  # fmt: skip
        return arguments

    def one_of(self, frames: Tensor) -> Tensor:
        """Returns this direction's share of [batch, time, band, direction, _]; the kernel begins at its first value."""
        return frames.select(3, self.number)


def as_directions(tensors: Sequence[Tensor | None], count: int, kind: torch.dtype) -> list[Direction]:
    def solid(tensor: Any) -> Any:
        if tensor is None:
            return None
        return tensor.detach().to(tensor.dtype if tensor.dtype == torch.int8 else kind).contiguous()

    size = len(tensors) // count
    directions = []
    for number in range(count):
        recurrent_weight, weights, projection, mask, noise, *state = tensors[size * number : size * (number + 1)]
        if noise is not None:
            noise = noise.to(kind)
            noise = noise if noise.stride(-1) == 1 or noise.shape[-1] == 1 else noise.contiguous()
        solids = (solid(tensor) for tensor in (recurrent_weight, weights, projection, mask))
        directions.append(Direction(number, *solids, noise, tuple(map(solid, state))))
    return directions


def point(arguments: Arguments, **tensors: Tensor | None) -> None:
    """Sets pointers of the arguments by the names of their fields."""
    for name, tensor in tensors.items():
        setattr(arguments, name, None if tensor is None else tensor.data_ptr())


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * 2)(*(tensor.data_ptr() for tensor in tensors))


@dataclass(frozen=True)
class KeptForBackward:
    """Holds what the forward pass of one direction leaves for the backward pass, besides the outputs."""

    inner: tuple[Tensor, ...]  # the states behind the output, [batch, time, band, unit]
    saved: Tensor | None
    saved_for_row: Tensor | None
    unprojected: Tensor | None

    def tensors(self) -> tuple[Tensor | None, ...]:
        return (*self.inner, self.saved, self.saved_for_row, self.unprojected)


class CompiledScan(torch.autograd.Function):
    """Runs a layer over all time, in one direction or both."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, training: bool, lengths: Tensor | None, gates: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        given = gates.detach().to(kernel.stored).contiguous()
        *frames, count, rows = given.shape
        directions = as_directions(tensors, count, kernel.summed)
        outputs = given.new_empty(*frames, count, directions[0].state[0].shape[2], dtype=kernel.summed)
        of_units, of_rows = saved_apart(kernel.program)
        form, calls, kept = kernel.program.form, [], []
        for direction in directions:
            inner_frames = frames if training else (frames[0], 1, frames[2])
            wide = (*inner_frames, rows // form.num_gates)
            own = KeptForBackward(
                inner=tuple(outputs.new_empty(wide) for _ in direction.state[1:]),
                saved=given.new_empty(*frames, len(of_units), wide[-1]) if training else None,
                saved_for_row=outputs.new_empty(*frames, len(of_rows)) if training else None,
                unprojected=outputs.new_empty(*frames, wide[-1]) if form.projected else None,
            )
            call = direction.arguments(kernel, given.shape, lengths)
            call.training, call.states = training, addresses((direction.one_of(outputs), *own.inner))
            point(call, inputs=direction.one_of(given), saved=own.saved, unprojected=own.unprojected)
            point(call, saved_for_row=own.saved_for_row)
            calls.append(call)
            kept.append(own)
        call_kernel(kernel.library, "forward", calls)
        ctx.kernel, ctx.count, ctx.types = kernel, count, [None if t is None else t.dtype for t in (gates, *tensors)]
        ctx.shape = given.shape
        own_tensors = (tensor for own in kept for tensor in own.tensors())
        solids = (tensor for direction in directions for tensor in direction.tensors())
        ctx.save_for_backward(lengths, outputs, *solids, *own_tensors)
        last = kept[0].inner if count == 1 and lengths is None else ()
        return outputs, *(part[:, -1] for part in last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        kernel = ctx.kernel
        lengths, outputs, directions, kept = restore(ctx)
        of_outputs = gradients[0].contiguous()
        of_gates = outputs.new_empty(ctx.shape, dtype=kernel.stored)
        of_products = of_gates if kernel.program.additive else torch.empty_like(of_gates)
        calls, results = [], []
        for direction, own in zip(directions, kept, strict=True):
            of_last = [torch.zeros_like(part) for part in direction.state]
            of_last[1:] = [part.contiguous() for part in gradients[1:]] or of_last[1:]
            of_initial = [torch.empty_like(part) for part in direction.state]
            of_projected = None
            if own.unprojected is not None:
                of_projected = outputs.new_empty(*outputs.shape[:3], outputs.shape[4])
            weights = direction.weights
            of_weights = None if weights is None else weights.new_zeros(len(outputs), *weights.shape)
            call = direction.arguments(kernel, ctx.shape, lengths)
            call.training, call.states = True, addresses((direction.one_of(outputs), *own.inner))
            call.last_gradients, call.initial_gradients = addresses(of_last), addresses(of_initial)
            point(
                call, saved=own.saved, saved_for_row=own.saved_for_row, output_gradients=direction.one_of(of_outputs),
                input_gradients=direction.one_of(of_gates), recurrent_gradients=direction.one_of(of_products),
                product_gradients=of_projected, weight_gradients=of_weights,
            )  # fmt: skip
            calls.append((call, of_last))
            results.append((of_weights, of_projected, of_initial))
        call_kernel(kernel.library, "backward", [call for call, _ in calls])
        found = [of_gates]
        for direction, own, (of_weights, of_projected, of_initial) in zip(directions, kept, results, strict=True):
            before = hidden_before(direction, outputs, lengths, kernel.stored)
            found += [
                outer_product(kernel, direction.one_of(of_products), before),
                None if of_weights is None else of_weights.sum(0),
                None if own.unprojected is None else outer_product(kernel, of_projected, own.unprojected),
                None, None, *of_initial,
            ]  # fmt: skip
        return (None, None, None, *(g if g is None else g.to(kind) for g, kind in zip(found, ctx.types, strict=True)))


def restore(ctx: Any) -> tuple[Tensor | None, Tensor, list[Direction], list[KeptForBackward]]:
    """Holds what the forward pass saved: lengths, outputs, and each direction's tensors."""
    lengths, outputs, *tensors = ctx.saved_tensors
    count, num_states = ctx.count, ctx.kernel.program.form.num_states
    size = 5 + num_states
    directions, kept = [], []
    for number in range(count):
        *five, last = tensors[size * number : size * number + 5], tensors[size * number + 5 : size * (number + 1)]
        directions.append(Direction(number, *five[0], tuple(last)))
    tensors = tensors[size * count :]
    for number in range(count):
        *inner, saved, of_rows, unprojected = tensors[(num_states + 2) * number : (num_states + 2) * (number + 1)]
        kept.append(KeptForBackward(tuple(inner), saved, of_rows, unprojected))
    return lengths, outputs, directions, kept


def hidden_before(
    direction: Direction, outputs: Tensor, lengths: Tensor | None, kind: torch.dtype
) -> Float[Tensor, "batch time band tap_recurrent"]:
    """Returns what the recurrent weights were multiplied with at each frame: the output of the step before, masked.

    forwards, length 3 of 4:   initial a b 0        backwards:   b c initial 0
    """
    own, initial = direction.one_of(outputs), direction.state[0]
    before = own.new_empty(own.shape, dtype=kind)
    if direction.number == 0:
        before[:, 1:], before[:, 0] = own[:, :-1], initial
    else:
        before[:, :-1], before[:, -1] = own[:, 1:], 0.0
        last = torch.full((len(own),), own.shape[1]) if lengths is None else lengths
        before[torch.arange(len(own)), last - 1] = initial.to(kind)
    if direction.mask is not None:
        before = before * direction.mask.to(kind).unsqueeze(1)
    return neighbours(before, direction.recurrent_weight.shape[1] // before.shape[-1])


def outer_product(kernel: Kernel, left: Tensor, right: Tensor) -> Tensor:
    """Returns a weight's gradient: of [batch, time, band, row] and [batch, time, band, inner], over all frames."""
    left, right = left.flatten(0, 2), right.flatten(0, 2).to(kernel.stored)
    if kernel.stored == torch.bfloat16:
        return half_outer_product(left.to(kernel.stored), right)
    # MKL multiplies twice as fast as the kernel on Intel's processors, half as fast on AMD's.
    return left.T @ right if is_intel() else call_outer_product(kernel.library, left, right)
