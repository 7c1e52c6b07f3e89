"""Both directions of a layer at once: one product with all inputs, and one scan."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from asr.cells.cell import Cell
from asr.cells.compiled import scan_compiled
from asr.cells.products import linear
from asr.cells.scan import find_kernel


def run_both(
    forwards: Cell,
    backwards: Cell,
    inputs: Float[Tensor, "batch time feature"],
    lengths: Int[Tensor, " batch"],
    *,
    generator: Generator | None = None,
) -> Float[Tensor, "batch time hidden"] | None:
    """The outputs of two cells of one kind, band by band, the second of which reads each utterance from its end.

    Zeros stand past each length. None where only one cell after the other can be had: on a GPU, without the compiled
    kernel, where PyTorch's own layer is faster, or for hooks. The result is the same as that of one after the other.
    """
    cells = (forwards, backwards)
    for cell in cells:
        if cell.path not in ("auto", "compiled") or cell.is_builtin(inputs) or cell.is_hooked():
            return None
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        return None
    kernel = find_kernel(forwards.form, forwards.recurrent_weight, zoneout=forwards.options.zoneout > 0)
    if kernel is None:
        return None
    gates = gates_of_both(forwards, backwards, inputs)
    directions = [cell.recurrence(gates.select(3, number), generator=generator) for number, cell in enumerate(cells)]
    with torch.autocast("cpu", enabled=False):
        outputs, _ = scan_compiled(kernel, gates, directions, lengths=lengths)
    return outputs.flatten(2)


def gates_of_both(
    forwards: Cell, backwards: Cell, inputs: Float[Tensor, "batch time feature"]
) -> Float[Tensor, "batch time band direction gate_unit"]:
    """The inputs' share of all gates: in one product, where the cells have nothing more to do to it."""
    if type(forwards).input_gates is not Cell.input_gates or forwards.input_product is not None:
        return torch.stack((forwards.input_gates(inputs), backwards.input_gates(inputs)), dim=3)
    weight = torch.cat((forwards.input_weight, backwards.input_weight))
    gates = linear(inputs, weight, torch.cat((forwards.bias, backwards.bias)))
    return gates.unflatten(-1, (2, -1)).unsqueeze(2)
