"""Scans by Triton kernels, for a GPU: one launch for all time and both directions, forwards and one backwards.

It serves every cell of one band that is not projected, on processors with matrix units for bfloat16.
"""

import importlib.util
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from asr.model.scan.gpu.launch import BLOCK, MAX_CHUNK, TritonScan, is_interpreted, load_module, make_grid
from asr.model.scan.recurrence import Recurrence
from asr.model.scan.step import Program

LEAST_CAPABILITY = (8, 0)
TRIAL = """import triton
import triton.language as tl


@triton.jit
def trial(target):
    tl.store(target, 1.0)
"""


class TritonError(ValueError):
    """These kernels do not serve the cell or the machine; the message says what does."""


def most_utterances(units: int, directions: int, num_processors: int) -> int:
    """Returns how many utterances one launch can take; 0 where there are not even the processors for one of them."""
    return MAX_CHUNK * (num_processors // (directions * -(-units // BLOCK)))


@cache
def find_trouble(device: torch.device) -> str:
    """Returns why Triton cannot build and run a kernel on a GPU: it may be missing, or the C compiler that it needs."""
    if torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        return "the GPU has no matrix units for bfloat16 (compute capability 8.0)"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    from triton.errors import TritonError as Refusal

    try:
        load_module(TRIAL).trial[(1,)](torch.zeros(1, device=device))
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError, Refusal) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"Triton's kernels cannot be built: {first}"
    return ""


def num_processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def check_served(recurrence: Recurrence) -> None:
    """Raises TritonError where the kernels cannot run this."""
    gates = recurrence.gates
    if recurrence.form.projected or gates.shape[2] > 1:
        raise TritonError("triton: serves neither projections nor several bands; expected path: auto")
    if gates.device.type != "cuda" and not is_interpreted():
        raise TritonError(f"triton: the inputs are on {gates.device}; needs a CUDA device, or expected path: auto")


def scan_triton(
    recurrences: Sequence[Recurrence], program: Program, *, precision: torch.dtype, at_most: int | None = None
) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Computes `scan_reference` for each recurrence at once; all are of one shape.

    Gates, what is kept for the backward pass and the factors of the recurrent product are in `precision`; states and
    sums are in the weights' own. A batch of more utterances than `at_most` (None: than the processors can take at once)
    is cut.
    """
    first = recurrences[0]
    check_served(first)
    batch, units = first.gates.shape[0], first.recurrent_weight.shape[1]
    processors = 0 if is_interpreted() else num_processors(first.gates.device)
    most = at_most or (most_utterances(units, len(recurrences), processors) if processors else batch)
    if most == 0 and len(recurrences) == 1:
        raise TritonError(f"triton: {units} units need {-(-units // BLOCK)} processors; expected path: auto")
    if most == 0:
        return [scan_triton([recurrence], program, precision=precision)[0] for recurrence in recurrences]
    size = -(-batch // -(-batch // most))  # as even as may be
    pieces = [
        scan_at_once([of_utterances(r, start, start + size) for r in recurrences], program, precision, processors)
        for start in range(0, batch, size)
    ]
    if len(pieces) == 1:
        return pieces[0]
    joined = [[*zip(*((outputs, *last) for outputs, last in pieces_of_one))] for pieces_of_one in zip(*pieces)]
    return [(torch.cat(outputs), tuple(torch.cat(part) for part in last)) for outputs, *last in joined]


def of_utterances(recurrence: Recurrence, start: int, end: int) -> Recurrence:
    """Returns the same run of some of its utterances."""
    if start == 0 and end >= recurrence.gates.shape[0]:
        return recurrence
    r = recurrence
    return replace(
        r,
        gates=r.gates[start:end],
        state=tuple(part[start:end] for part in r.state),
        mask=None if r.mask is None else r.mask[start:end],
        noise=None if r.noise is None else r.noise[start:end],
    )


def scan_at_once(
    recurrences: Sequence[Recurrence], program: Program, precision: torch.dtype, processors: int
) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Scans in one launch."""

    def stack(name: str) -> Tensor | None:
        parts = [getattr(recurrence, name) for recurrence in recurrences]
        return None if parts[0] is None else torch.stack(parts)

    gates = [recurrence.gates.to(precision) for recurrence in recurrences]
    states = [torch.stack(parts) for parts in zip(*(recurrence.state for recurrence in recurrences))]
    grid = make_grid(gates[0].shape[0], gates[0].shape[-1] // program.form.num_gates, len(gates), processors)
    outputs, *last = TritonScan.apply(
        program, grid, len(gates), stack("recurrent_weight"), stack("weights"), stack("mask"), stack("noise"),
        *gates, *states,
    )  # fmt: skip
    return [
        (outputs[n].unsqueeze(2), (outputs[n, :, -1:], *(part[n].unsqueeze(1) for part in last)))
        for n in range(len(recurrences))
    ]
