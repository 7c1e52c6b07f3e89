"""The scan by Triton kernels, for a GPU: one launch for all time, forwards and one backwards.

Not yet measured on a GPU, so it runs only where `path="triton"` asks for it; on a GPU the other cells take the loop.
It serves every cell whose step is elementwise, of one band and not projected.
"""

import hashlib
import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from asr.cells.gpu_source import kernel_source
from asr.cells.kernel import cache_folder, check_owner
from asr.cells.pointwise import Program
from asr.cells.products import outer_product
from asr.cells.recurrence import Recurrence

BLOCK = 16  # units of a program: the least that a matrix unit takes
INNER = 64  # units of h[t-1] that a program multiplies at a time
MAX_BATCH = 128


class TritonError(ValueError):
    """These kernels do not serve the cell, the batch or the machine; the message says what does."""


def check_served(recurrence: Recurrence, program: Program) -> None:
    """Raise TritonError where the kernels cannot run this."""
    remedy = "expected path: auto"
    if not program.elementwise or program.form.projected or recurrence.gates.shape[2] > 1:
        raise TritonError(f"triton: serves neither norms, projections nor several bands; {remedy}")
    if recurrence.gates.shape[0] > MAX_BATCH:
        raise TritonError(f"triton: {recurrence.gates.shape[0]} utterances are more than {MAX_BATCH}; {remedy}")
    if recurrence.gates.device.type != "cuda" and not is_interpreted():
        raise TritonError(f"triton: the inputs are on {recurrence.gates.device}; needs a CUDA device, or {remedy}")


def is_interpreted() -> bool:
    from triton import knobs

    return knobs.runtime.interpret


def scan_triton(
    recurrence: Recurrence, program: Program, *, precision: torch.dtype
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `scan_reference`; the recurrent product takes its factors in `precision` and sums in float32."""
    check_served(recurrence, program)
    r = recurrence
    outputs, *last = TritonScan.apply(
        program, precision, r.gates, r.recurrent_weight, r.weights, r.mask, r.noise, *r.state
    )
    return outputs.unsqueeze(2), (outputs[:, -1:], *(part.unsqueeze(1) for part in last))


@cache
def load_triton(program: Program, direction: str, interpreted: bool) -> Any:
    """The kernel of one direction; Triton reads its source, so it lies in a file of the user's cache."""
    source = kernel_source(program, direction)
    name = f"cell_{hashlib.sha256(source.encode()).hexdigest()[:32]}"
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(folder)
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != source:
        path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, f"{direction}_kernel")


def launch(program: Program, direction: str, tensors: dict[str, Tensor | None], *, precision: torch.dtype) -> None:
    """Run a kernel; all tensors are contiguous with time first, and None stands for one that the cell lacks."""
    state = tensors["state0"]
    assert state is not None
    time, batch, units = state.shape[0] - 1, state.shape[1], state.shape[2]
    interpreted = is_interpreted()
    block = BLOCK * -(-units // BLOCK) if interpreted else BLOCK
    block = 1 << (block - 1).bit_length()
    programs = -(-units // block)
    counter = torch.zeros(1, dtype=torch.int32, device=state.device)
    given = {name: state if tensor is None else tensor for name, tensor in tensors.items()}
    options = {} if interpreted else {"launch_cooperative_grid": True}
    load_triton(program, direction, interpreted)[(programs,)](
        **given, counter=counter, batch=batch, time=time, BATCH=max(16, 1 << (batch - 1).bit_length()), UNITS=units,
        BLOCK=block, INNER=min(INNER, max(16, 1 << (units - 1).bit_length())), PROGRAMS=programs,
        MASKED=tensors["mask"] is not None, PRECISION="tf32" if precision == torch.bfloat16 else "ieee", **options,
    )  # fmt: skip


def time_first(tensor: Tensor) -> Tensor:
    return tensor.squeeze(2).transpose(0, 1).contiguous()


class TritonScan(torch.autograd.Function):
    """The layer over all time; inside, time comes first: [time, batch, slot, unit]."""

    @staticmethod
    def forward(ctx: Any, program: Program, precision: torch.dtype, *tensors: Any) -> tuple[Tensor, ...]:
        gates, recurrent_weight, weights, mask, noise, *state = tensors
        inputs = time_first(gates)
        time, batch, rows = inputs.shape
        units = rows // program.form.num_gates
        states = [torch.cat((part.transpose(0, 1), part.new_empty(time, batch, units))) for part in state]
        given = {
            "recurrent_weight": recurrent_weight.to(precision).contiguous(),
            "weight": None if weights is None else weights.contiguous(),
            "noise": None if noise is None else time_first(noise),
            "mask": None if mask is None else mask.contiguous(),
            "state0": states[0],
            "state1": states[1] if len(states) > 1 else None,
            "saved": inputs.new_empty(time, batch, len(program.saved), units),
        }
        launch(program, "forward", given | {"inputs": inputs}, precision=precision)
        ctx.program, ctx.precision, ctx.names = program, precision, list(given)
        ctx.save_for_backward(*given.values())
        return states[0][1:].transpose(0, 1), *(part[-1] for part in states[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        program, given = ctx.program, dict(zip(ctx.names, ctx.saved_tensors))
        output_gradient = gradients[0].transpose(0, 1).contiguous()
        time, batch, units = output_gradient.shape
        new = output_gradient.new_empty
        of_gates = new(time, batch, program.form.num_gates * units)
        of_products = of_gates if program.additive else torch.empty_like(of_gates)
        of_weights = new(batch, program.form.num_weights, units)
        carried = [torch.zeros_like(output_gradient[0]), *(part.clone() for part in gradients[1:])]
        results = {
            "output_gradient": output_gradient,
            "carried0": carried[0],
            "carried1": carried[1] if len(carried) > 1 else None,
            "input_gradient": of_gates,
            "recurrent_gradient": of_products,
            "weight_gradient": of_weights,
        }
        launch(program, "backward", given | results, precision=ctx.precision)
        before = given["state0"][:-1] if given["mask"] is None else given["state0"][:-1] * given["mask"].squeeze(1)
        return (
            None, None,
            of_gates.transpose(0, 1).unsqueeze(2),
            outer_product(of_products.flatten(0, 1), before.flatten(0, 1)),
            None if given["weight"] is None else of_weights.sum(0).unsqueeze(1),
            None, None, *(part.unsqueeze(1) for part in carried),
        )  # fmt: skip
