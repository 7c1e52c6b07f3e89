"""The scan by the compiled kernel, as a differentiable function."""

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asr.cells.kernel import Arguments, call_kernel, call_outer_product
from asr.cells.pointwise import Program
from asr.cells.recurrence import Recurrence, neighbours


def can_compile(recurrence: Recurrence) -> bool:
    """Whether the kernel can serve this device and type; whether it can be built, `load_kernel` knows."""
    return recurrence.gates.device.type == "cpu" and recurrence.gates.dtype in (torch.float32, torch.float64)


def scan_compiled(recurrence: Recurrence, program: Program, library: ctypes.CDLL) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `scan_reference`, by the kernel."""
    r = recurrence
    tensors = (r.gates, r.recurrent_weight, r.weights, r.projection, r.mask, r.noise, *r.state)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    outputs, *last = CompiledScan.apply(program, library, training, *tensors)
    return outputs, (outputs[:, -1], *last)


@dataclass
class Given:
    """The tensors of one call, contiguous, of one type and on the CPU, as the kernel reads them."""

    gates: Tensor
    recurrent_weight: Tensor
    weights: Tensor | None
    projection: Tensor | None
    mask: Tensor | None
    noise: Tensor | None
    state: tuple[Tensor, ...]

    def arguments(self, program: Program, states: list[Tensor], **results: Tensor | None) -> Arguments:
        """The kernel's arguments; `results` are further pointers by the names of its fields."""
        batch, time, bands, rows = self.gates.shape
        recurrent = self.state[0].shape[2]
        given = {
            "inputs": self.gates,
            "recurrent_weight": self.recurrent_weight,
            "projection": self.projection,
            "weights": self.weights,
            "mask": self.mask,
            "noise": self.noise,
        }
        arguments = Arguments(
            batch=batch, time=time, bands=bands, units=rows // program.form.num_gates, recurrent=recurrent,
            taps=self.recurrent_weight.shape[1] // recurrent, threads=torch.get_num_threads(),
            noise_strides=(0,) * 4 if self.noise is None else self.noise.stride()[:4],
            initial=addresses(self.state), states=addresses(states),
        )  # fmt: skip
        for name, tensor in (given | results).items():
            setattr(arguments, name, None if tensor is None else tensor.data_ptr())
        return arguments


def addresses(tensors: "tuple[Tensor, ...] | list[Tensor]") -> ctypes.Array:
    return (ctypes.c_void_p * 2)(*(tensor.data_ptr() for tensor in tensors))


def as_given(
    gates: Tensor, recurrent_weight: Tensor, weights: Tensor | None, projection: Tensor | None, mask: Tensor | None,
    noise: Tensor | None, *state: Tensor,
) -> Given:  # fmt: skip
    """Make all tensors what the kernel expects; of the noise only the units must be adjacent."""

    def solid(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().to(gates.dtype).contiguous()

    if noise is not None:
        noise = noise.to(gates.dtype)
        noise = noise if noise.stride(-1) == 1 or noise.shape[-1] == 1 else noise.contiguous()
    states = tuple(part.detach().to(gates.dtype).contiguous() for part in state)
    return Given(
        gates.detach().contiguous(), recurrent_weight.detach().to(gates.dtype).contiguous(),
        solid(weights), solid(projection), solid(mask), noise, states,
    )  # fmt: skip


class CompiledScan(torch.autograd.Function):
    """The layer over all time; what the backward pass needs of every step lies in `saved`."""

    @staticmethod
    def forward(
        ctx: Any, program: Program, library: ctypes.CDLL, training: bool, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        given = as_given(*tensors)  # pyright: ignore[reportArgumentType]
        batch, time, bands, rows = given.gates.shape
        units = rows // program.form.num_gates
        frames = (batch, time, bands)
        new = given.gates.new_empty
        outputs = new(*frames, given.state[0].shape[2])
        inner = [new(batch, time if training else 1, bands, units) for _ in given.state[1:]]
        unprojected = new(*frames, units) if program.form.projected else None
        saved = new(*frames, len(program.saved), units) if training else None
        arguments = given.arguments(program, [outputs, *inner], unprojected=unprojected, saved=saved)
        arguments.training = training
        call_kernel(library, "forward", given.gates.dtype, arguments)
        ctx.program, ctx.library = program, library
        state = list(given.state)
        ctx.num_states = len(state)
        ctx.save_for_backward(
            given.gates, given.recurrent_weight, given.weights, given.projection, given.mask, given.noise, *state,
            outputs, *inner, saved, unprojected,
        )  # fmt: skip
        ctx.types = [None if tensor is None else tensor.dtype for tensor in tensors]
        return outputs, *(part[:, -1] for part in inner)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        program, count = ctx.program, ctx.num_states
        *tensors, saved, unprojected = ctx.saved_tensors
        given, states = Given(*tensors[:6], state=tuple(tensors[6 : 6 + count])), tensors[6 + count :]
        of_outputs = gradients[0].contiguous()
        of_last = [torch.zeros_like(given.state[0]), *(gradient.contiguous() for gradient in gradients[1:])]
        of_gates = torch.empty_like(given.gates)
        of_products = of_gates if program.additive else torch.empty_like(given.gates)
        of_initial = [torch.empty_like(part) for part in given.state]
        of_weights = None if given.weights is None else given.weights.new_zeros(len(of_gates), *given.weights.shape)
        of_projected = torch.empty_like(of_outputs) if program.form.projected else None
        arguments = given.arguments(
            program, states, saved=saved, output_gradients=of_outputs, input_gradients=of_gates,
            recurrent_gradients=of_products, product_gradients=of_projected, weight_gradients=of_weights,
        )  # fmt: skip
        arguments.training = True
        arguments.last_gradients, arguments.initial_gradients = addresses(of_last), addresses(of_initial)
        call_kernel(ctx.library, "backward", of_gates.dtype, arguments)
        results = (
            of_gates,
            recurrent_weight_gradient(ctx.library, given, states[0], of_products),
            None if of_weights is None else of_weights.sum(0),
            None
            if of_projected is None
            else call_outer_product(ctx.library, of_projected.flatten(0, 2), unprojected.flatten(0, 2)),
            None,
            None,
            *of_initial,
        )
        return (None, None, None, *(g if g is None else g.to(kind) for g, kind in zip(results, ctx.types)))


def recurrent_weight_gradient(library: ctypes.CDLL, given: Given, outputs: Tensor, of_products: Tensor) -> Tensor:
    """The recurrent weights' gradient of all steps in one product, with the outputs one step late."""
    before = torch.cat((given.state[0].unsqueeze(1), outputs[:, :-1]), 1)
    if given.mask is not None:
        before = before * given.mask.unsqueeze(1)
    taps = given.recurrent_weight.shape[1] // before.shape[-1]
    return call_outer_product(library, of_products.flatten(0, 2), neighbours(before, taps).flatten(0, 2))
