"""Runs a layer over time by the code that was chosen for it, always with the same result."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from asr.model.scan.choose import Choice
from asr.model.scan.cpu.compiled import open_kernel, scan_compiled
from asr.model.scan.gpu.triton import scan_triton
from asr.model.scan.recurrence import Recurrence, scan_reference
from asr.model.scan.step import trace


def scan(
    recurrence: Recurrence, choice: Choice
) -> tuple[Float[Tensor, "batch time band recurrent"], tuple[Tensor, ...]]:
    """Returns the outputs of all steps and the last state.

    Under autocast too the state is kept in the weights' own precision, so that rounding does not pile up over a long
    utterance.
    """
    zoneout = recurrence.noise is not None
    with torch.autocast(recurrence.gates.device.type, enabled=False):
        if choice.runner == "compiled":
            kernel = open_kernel(recurrence.form, choice.precision, zoneout=zoneout)
            outputs, last = scan_compiled(kernel, recurrence.gates.unsqueeze(3), [recurrence])
            return outputs.squeeze(3), (outputs[:, -1, :, 0], *last)
        if choice.runner == "triton":
            program = trace(recurrence.form, zoneout=zoneout)
            return scan_triton([recurrence], program, precision=choice.precision)[0]
        return scan_reference(replace(recurrence, gates=recurrence.gates.to(recurrence.recurrent_weight.dtype)))
