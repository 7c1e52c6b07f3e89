"""Launches the Triton kernels of a layer: shares its work on a GPU, and scans by them differentiably."""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from asr.model.scan.cpu.build import cache_folder, check_owner
from asr.model.scan.gpu.source import count_means, kernel_source
from asr.model.scan.step import Program

BLOCK = 16  # units of a program: the least that a matrix unit takes
SPLITS = 4  # pieces of the recurrent product's inner dimension, in different warps; more cost more to be summed
MAX_CHUNK = 32  # utterances of a program; more do not fit its registers


@dataclass(frozen=True)
class Grid:
    """Says how a layer is shared among the programs of one launch, all of which must be at work at once."""

    batch: int  # utterances of a program
    chunks: int  # of the batch
    block: int  # units of a program
    programs: int  # for all units of a chunk
    splits: int  # of the recurrent product's inner dimension
    inner: int
    num_warps: int


def make_grid(batch: int, units: int, directions: int, num_processors: int) -> Grid:
    """Gives each program as few utterances as the processors allow; 0 processors: one program, for the interpreter."""
    padded = max(BLOCK, next_power(units))
    block = BLOCK if num_processors else padded
    programs = -(-units // block)
    splits = max(1, min(SPLITS, padded // BLOCK))
    num_warps = min(16, max(4, padded // 128))  # whose registers hold four gates' weights in bfloat16
    chunk = BLOCK
    while num_processors and chunk < MAX_CHUNK and programs * directions * -(-batch // chunk) > num_processors:
        chunk *= 2
    return Grid(chunk, -(-batch // chunk), block, programs, splits, padded // splits, num_warps)


def next_power(number: int) -> int:
    return 1 << (number - 1).bit_length()


def is_interpreted() -> bool:
    from triton import knobs

    return knobs.runtime.interpret


@cache
def load_triton(program: Program, interpreted: bool) -> Any:
    """Returns the module with a cell's kernels; Triton reads its source, so it lies in a file of the user's cache."""
    return load_module(kernel_source(program))


def constants_of(program: Program, direction: str) -> dict[str, int]:
    """Returns what the kernel of one direction is told of the cell."""
    form = program.form
    known = {
        "GATES": form.num_gates,
        "STATES": form.num_states,
        "WEIGHTS": form.num_weights,
        "NOISE": program.num_noise,
    }
    known |= {"SAVED": len(program.saved), "MEANS": count_means(program, direction)}
    return known if direction == "forward" else known | {"ADDITIVE": program.additive}


def load_module(source: str) -> Any:
    """Returns a module of that source."""
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
    return module


def launch(program: Program, grid: Grid, direction: str, tensors: dict[str, Tensor | None]) -> None:
    """Runs a kernel; all tensors are contiguous with direction and time first, and None stands for a missing one."""
    state, weight = tensors["state0"], tensors["recurrent_weight"]
    assert state is not None
    assert weight is not None
    directions, time, batch, units = state.shape[0], state.shape[1] - 1, *state.shape[2:]
    interpreted = is_interpreted()
    chunks = directions * grid.chunks
    counter = torch.zeros(chunks, dtype=torch.int32, device=state.device)
    partial = state.new_empty(chunks * count_means(program, direction), grid.programs, grid.batch)
    given = {name: state if tensor is None else tensor for name, tensor in tensors.items()}
    options = {} if interpreted else {"launch_cooperative_grid": True, "num_warps": grid.num_warps}
    getattr(load_triton(program, interpreted), f"{direction}_kernel")[(grid.programs, chunks)](
        **given, **constants_of(program, direction),
        counter=counter, partial=partial, batch=batch, time=time, chunks=grid.chunks,
        BATCH=grid.batch, UNITS=units, BLOCK=grid.block, SPLITS=grid.splits, INNER=grid.inner,
        PROGRAMS=grid.programs, COLUMNS=next_power(grid.programs), MASKED=tensors["mask"] is not None,
        PRECISION="tf32" if weight.itemsize == 2 else "tf32x3", **options,
    )  # fmt: skip


def time_first(tensor: Tensor) -> Tensor:
    """Returns [direction, batch, time, band, ...] of one band as [direction, time, batch, ...]."""
    return tensor.squeeze(3).transpose(1, 2).contiguous()


class TritonScan(torch.autograd.Function):
    """Runs the layers over all time; inside, time comes before the batch: [direction, time, batch, slot, unit]."""

    @staticmethod
    def forward(ctx: Any, program: Program, grid: Grid, directions: int, *tensors: Any) -> tuple[Tensor, ...]:
        recurrent_weight, weights, mask, noise, *rest = tensors
        gates, state = rest[:directions], rest[directions:]
        batch, time, _, rows = gates[0].shape
        units = rows // program.form.num_gates
        # Turned round to time first and put side by side in one copy.
        inputs = gates[0].new_empty(directions, time, batch, rows)
        for number, given in enumerate(gates):
            inputs[number] = given.squeeze(2).transpose(0, 1)
        states = [part.new_empty(directions, time + 1, batch, units) for part in state]
        for whole, part in zip(states, state, strict=True):
            whole[:, 0] = part.squeeze(2)
        halves = states[0]
        if inputs.dtype != halves.dtype:
            halves = torch.empty_like(halves, dtype=inputs.dtype)
            halves[:, 0] = states[0][:, 0]
        given = {
            "recurrent_weight": recurrent_weight.to(inputs.dtype).contiguous(),
            "weight": None if weights is None else weights.contiguous(),
            "noise": None if noise is None else time_first(noise),
            "mask": None if mask is None else mask.contiguous(),
            "state0": states[0],
            "state1": states[1] if len(states) > 1 else None,
            "halves": halves,
            "saved": inputs.new_empty(directions, time, batch, len(program.saved), units),
        }
        launch(program, grid, "forward", given | {"inputs": inputs})
        ctx.program, ctx.grid, ctx.names = program, grid, list(given)
        ctx.save_for_backward(*given.values())
        return states[0][:, 1:].transpose(1, 2), *(part[:, -1] for part in states[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        program, given = ctx.program, dict(zip(ctx.names, ctx.saved_tensors))
        output_gradient = gradients[0].transpose(1, 2).contiguous()
        directions, time, batch, units = output_gradient.shape
        of_gates = given["saved"].new_empty(directions, time, batch, program.form.num_gates * units)
        of_products = of_gates if program.additive else torch.empty_like(of_gates)
        of_weights = output_gradient.new_empty(directions, batch, program.form.num_weights, units)
        carried = [torch.zeros_like(output_gradient[:, 0]), *(part.contiguous().clone() for part in gradients[1:])]
        results = {
            "output_gradient": output_gradient,
            "carried0": carried[0],
            "carried1": carried[1] if len(carried) > 1 else None,
            "input_gradient": of_gates,
            "recurrent_gradient": of_products,
            "weight_gradient": of_weights,
        }
        launch(program, ctx.grid, "backward", given | results)
        before = given["halves"][:, :-1]
        if given["mask"] is not None:
            before = (before * given["mask"].squeeze(2).unsqueeze(1)).to(before.dtype)
        of_recurrent = torch.bmm(of_products.flatten(1, 2).transpose(1, 2), before.flatten(1, 2))
        return (
            None, None, None,
            of_recurrent.to(output_gradient.dtype),
            None if given["weight"] is None else of_weights.sum(1).unsqueeze(2),
            None, None,
            *(part.transpose(0, 1).unsqueeze(2) for part in of_gates),
            *(part.unsqueeze(2) for part in carried),
        )  # fmt: skip
