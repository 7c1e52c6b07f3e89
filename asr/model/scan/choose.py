"""The scan over time that all cells share: the choice of the fastest path there is, all with the same result."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from asr.model.scan.cpu.build import load_kernel
from asr.model.scan.cpu.compiled import Kernel, scan_compiled
from asr.model.scan.gpu.triton import scan_triton, serves
from asr.model.scan.halves import asked_precision, multiplies_halves
from asr.model.scan.recurrence import Recurrence, scan_reference
from asr.model.scan.step import StepForm, trace

Path = Literal["auto", "reference", "compiled", "triton"]


def scan(
    recurrence: Recurrence, *, path: Path = "auto"
) -> tuple[Float[Tensor, "batch time band recurrent"], tuple[Tensor, ...]]:
    """The outputs of all steps and the last state, by the best path there is, or by the one asked for.

    Under autocast too the state is kept in the weights' own precision, so that rounding does not pile up over a long
    utterance.
    """
    device, zoneout = recurrence.gates.device.type, recurrence.noise is not None
    precision = asked_precision(recurrence.recurrent_weight)
    is_empty = recurrence.gates.shape[0] == 0 or recurrence.gates.shape[1] == 0
    fast = path in ("auto", "compiled") and not is_empty
    kernel = find_kernel(recurrence.form, recurrence.recurrent_weight, zoneout=zoneout) if fast else None
    with torch.autocast(device, enabled=False):
        if kernel is not None:
            outputs, last = scan_compiled(kernel, recurrence.gates.unsqueeze(3), [recurrence])
            return outputs.squeeze(3), (outputs[:, -1, :, 0], *last)
        steps, bands = recurrence.gates.shape[1:3]
        on_gpu = path == "auto" and bands == 1 and serves(recurrence.form, recurrence.recurrent_weight, steps)
        if (path == "triton" or on_gpu) and not is_empty:
            program = trace(recurrence.form, zoneout=zoneout)
            return scan_triton([recurrence], program, precision=precision)[0]
        return scan_reference(replace(recurrence, gates=recurrence.gates.to(recurrence.recurrent_weight.dtype)))


def find_kernel(form: StepForm, weight: Tensor, *, zoneout: bool) -> Kernel | None:
    """The compiled kernel for weights such as this one, or None on a GPU and where it cannot be built.

    Under autocast it keeps and multiplies in bfloat16, where the processor gains by that. Weights that are integers of
    8 bits it multiplies as such, and keeps all else in float32.
    """
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64, torch.int8):
        return None
    program = trace(form, zoneout=zoneout)
    if weight.dtype == torch.int8:
        library = load_kernel(program, torch.int8)
        return None if library is None else Kernel(library, program, torch.float32)
    kinds = [weight.dtype]
    if weight.dtype == torch.float32 and multiplies_halves(weight):
        kinds.insert(0, torch.bfloat16)
    kernels = ((load_kernel(program, kind), kind) for kind in kinds)
    return next((Kernel(library, program, kind) for library, kind in kernels if library is not None), None)
