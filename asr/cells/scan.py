"""The scan over time that all cells share: the choice of the fastest path there is, all with the same result."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from asr.cells.compiled import can_compile, scan_compiled
from asr.cells.gpu import scan_triton
from asr.cells.kernel import load_kernel
from asr.cells.loop import scan_loop
from asr.cells.pointwise import trace
from asr.cells.recurrence import Recurrence, scan_reference

Path = Literal["auto", "reference", "loop", "compiled", "triton"]


def scan(
    recurrence: Recurrence, *, path: Path = "auto"
) -> tuple[Float[Tensor, "batch time band recurrent"], tuple[Tensor, ...]]:
    """The outputs of all steps and the last state, by the best path there is, or by the one asked for.

    Under autocast too the state is kept in the weights' own precision, so that rounding does not pile up over a long
    utterance.
    """
    device = recurrence.gates.device.type
    lower = torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False):
        recurrence = replace(recurrence, gates=recurrence.gates.to(recurrence.recurrent_weight.dtype))
        if path == "reference" or recurrence.gates.shape[0] == 0 or recurrence.gates.shape[1] == 0:
            return scan_reference(recurrence)
        program = trace(recurrence.form, zoneout=recurrence.noise is not None)
        if path == "triton":
            precision = torch.get_autocast_dtype(device) if lower else recurrence.gates.dtype
            return scan_triton(recurrence, program, precision=precision)
        library = load_kernel(program) if path != "loop" and can_compile(recurrence) else None
        if library is None:
            return scan_loop(recurrence, program)
        return scan_compiled(recurrence, program, library)
