"""The scan over time that all cells share: the choice of the fastest path there is, all with the same result."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from asr.cells.compiled import can_compile, scan_compiled
from asr.cells.kernel import load_kernel
from asr.cells.loop import scan_loop
from asr.cells.pointwise import trace
from asr.cells.recurrence import Recurrence, scan_reference

Path = Literal["auto", "reference", "loop", "compiled"]


def scan(
    recurrence: Recurrence, *, path: Path = "auto"
) -> tuple[Float[Tensor, "batch time band recurrent"], tuple[Tensor, ...]]:
    """The outputs of all steps and the last state, by the best path there is, or by the one asked for."""
    if path == "reference" or recurrence.gates.shape[0] == 0 or recurrence.gates.shape[1] == 0:
        return scan_reference(recurrence)
    program = trace(recurrence.form, zoneout=recurrence.noise is not None)
    if path != "loop" and can_compile(recurrence):
        library = load_kernel(program)
        if library is not None:
            return scan_compiled(recurrence, program, library)
    return scan_loop(recurrence, program)
