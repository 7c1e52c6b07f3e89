"""Both directions of a layer at once: one product with all inputs, and one scan."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from asr.model.cells.cell import Cell
from asr.model.scan.choose import find_kernel
from asr.model.scan.cpu.compiled import scan_compiled
from asr.model.scan.gpu.triton import scan_triton, serves
from asr.model.scan.halves import asked_precision
from asr.model.scan.products import linear
from asr.model.scan.step import trace


def run_both(
    forwards: Cell,
    backwards: Cell,
    inputs: Float[Tensor, "batch time feature"],
    lengths: Int[Tensor, " batch"],
    *,
    generator: Generator | None = None,
) -> Float[Tensor, "batch time hidden"] | None:
    """The outputs of two cells of one kind, band by band, the second of which reads each utterance from its end.

    Zeros stand past each length. None where that cannot be had: on a GPU, without the compiled kernel, where PyTorch's
    own layer is faster, or for hooks. The result is the same as that of one after the other.
    """
    cells = (forwards, backwards)
    for cell in cells:
        if cell.path not in ("auto", "compiled") or cell.is_builtin(inputs) or cell.is_hooked():
            return None
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        return None
    kernel = find_kernel(forwards.form, forwards.scanned_weight(), zoneout=forwards.options.zoneout > 0)
    if kernel is None:
        return None
    gates = gates_of_both(forwards, backwards, inputs)
    directions = [cell.recurrence(gates.select(3, number), generator=generator) for number, cell in enumerate(cells)]
    with torch.autocast("cpu", enabled=False):
        outputs, _ = scan_compiled(kernel, gates, directions, lengths=lengths)
    return outputs.flatten(2)


def run_each(
    forwards: Cell,
    backwards: Cell,
    inputs: Float[Tensor, "batch time feature"],
    turned: Float[Tensor, "batch time feature"],
    *,
    generator: Generator | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch time hidden"]]:
    """The outputs of two cells of one kind, each of inputs of its own: by one launch on a GPU, else one by one."""
    cells, weight = (forwards, backwards), forwards.recurrent_weight
    if not (
        all(cell.path in ("auto", "triton") and not cell.is_hooked() for cell in cells)
        and forwards.num_bands == 1
        and inputs.shape[0] > 0
        and serves(forwards.form, weight, inputs.shape[1], directions=2)
    ):
        return forwards(inputs, generator=generator)[0], backwards(turned, generator=generator)[0]
    runs = [
        cell.recurrence(cell.input_gates(given), generator=generator)
        for cell, given in zip(cells, (inputs, turned), strict=True)
    ]
    program = trace(forwards.form, zoneout=runs[0].noise is not None)
    precision = asked_precision(weight)
    with torch.autocast(weight.device.type, enabled=False):
        (ahead, _), (back, _) = scan_triton(runs, program, precision=precision)
    return ahead.squeeze(2), back.squeeze(2)


def gates_of_both(
    forwards: Cell, backwards: Cell, inputs: Float[Tensor, "batch time feature"]
) -> Float[Tensor, "batch time band direction gate_unit"]:
    """The inputs' share of all gates: in one product, where the cells have nothing more to do to it."""
    if forwards.product_of_both is not None:
        return forwards.product_of_both(inputs).unflatten(-1, (2, -1)).unsqueeze(2)
    if type(forwards).input_gates is not Cell.input_gates or forwards.input_product is not None:
        return torch.stack((forwards.input_gates(inputs), backwards.input_gates(inputs)), dim=3)
    weight = torch.cat((forwards.input_weight, backwards.input_weight))
    gates = linear(inputs, weight, torch.cat((forwards.bias, backwards.bias)))
    return gates.unflatten(-1, (2, -1)).unsqueeze(2)
