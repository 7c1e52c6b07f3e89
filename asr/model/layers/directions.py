"""Both directions of a layer: at once where the code that runs them can do that, else one after the other."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from asr.model.cells.cell import Cell
from asr.model.layers.masking import clear_padding, reverse_within_length
from asr.model.scan.choose import Choice
from asr.model.scan.cpu.compiled import open_kernel, scan_compiled
from asr.model.scan.gpu.triton import scan_triton
from asr.model.scan.products import linear
from asr.model.scan.step import trace


def run_both(
    forwards: Cell,
    backwards: Cell,
    inputs: Float[Tensor, "batch time feature"],
    lengths: Int[Tensor, " batch"],
    *,
    generator: Generator | None = None,
) -> Float[Tensor, "batch time hidden"]:
    """The outputs of two cells of one kind, band by band, the second of which reads each utterance from its end.

    Zeros stand past each length. The result is the same whatever runs them.
    """
    forwards.check_inputs(inputs)
    choice = choose_for_both(forwards, backwards, *inputs.shape[:2])
    if choice.at_once and choice.runner == "compiled":
        return _run_compiled(forwards, backwards, inputs, lengths, choice=choice, generator=generator)
    turned = reverse_within_length(inputs, lengths)
    if choice.at_once:
        ahead, back = _run_triton(forwards, backwards, inputs, turned, choice=choice, generator=generator)
    else:
        ahead, back = forwards(inputs, generator=generator)[0], backwards(turned, generator=generator)[0]
    outputs = join_bands((ahead, reverse_within_length(back, lengths)), forwards.num_bands)
    return clear_padding(outputs, lengths)


def choose_for_both(forwards: Cell, backwards: Cell, batch: int, steps: int) -> Choice:
    """Returns what runs a layer's cells; one after the other where somebody waits for one of them to be called."""
    apart = forwards.is_hooked() or backwards.is_hooked() or forwards.path != backwards.path
    return forwards.choose(batch, steps, directions=1 if apart else 2)


def _run_compiled(
    forwards: Cell, backwards: Cell, inputs: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"], *,
    choice: Choice, generator: Generator | None,
) -> Float[Tensor, "batch time hidden"]:  # fmt: skip
    """One product with all inputs, and one call, in which the second cell reads each utterance from its end."""
    kernel = open_kernel(forwards.form, choice.precision, zoneout=forwards.options.zoneout > 0)
    gates, in_bytes = gates_of_both(forwards, backwards, inputs), choice.precision == torch.int8
    directions = [
        cell.recurrence(gates.select(3, number), generator=generator, in_bytes=in_bytes)
        for number, cell in enumerate((forwards, backwards))
    ]
    with torch.autocast("cpu", enabled=False):
        outputs, _ = scan_compiled(kernel, gates, directions, lengths=lengths)
    return outputs.flatten(2)


def _run_triton(
    forwards: Cell, backwards: Cell, inputs: Float[Tensor, "batch time feature"],
    turned: Float[Tensor, "batch time feature"], *, choice: Choice, generator: Generator | None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch time hidden"]]:  # fmt: skip
    """One launch, in which each cell reads inputs of its own."""
    runs = [
        cell.recurrence(cell.input_gates(given), generator=generator)
        for cell, given in ((forwards, inputs), (backwards, turned))
    ]
    program = trace(forwards.form, zoneout=runs[0].noise is not None)
    with torch.autocast(inputs.device.type, enabled=False):
        (ahead, _), (back, _) = scan_triton(runs, program, precision=choice.precision)
    return ahead.squeeze(2), back.squeeze(2)


def gates_of_both(
    forwards: Cell, backwards: Cell, inputs: Float[Tensor, "batch time feature"]
) -> Float[Tensor, "batch time band direction gate_unit"]:
    """Returns the inputs' share of all gates: in one product, where the cells have nothing more to do to it."""
    if forwards.product_of_both is not None:
        return forwards.product_of_both(inputs).unflatten(-1, (2, -1)).unsqueeze(2)
    if type(forwards).input_gates is not Cell.input_gates or forwards.input_product is not None:
        return torch.stack((forwards.input_gates(inputs), backwards.input_gates(inputs)), dim=3)
    weight = torch.cat((forwards.input_weight, backwards.input_weight))
    gates = linear(inputs, weight, torch.cat((forwards.bias, backwards.bias)))
    return gates.unflatten(-1, (2, -1)).unsqueeze(2)


def join_bands(parts: Sequence[Float[Tensor, "batch time _"]], num_bands: int) -> Float[Tensor, "batch time joined"]:
    """Frames side by side, band by band, as a cell over bands wants them: [a1 a2] and [b1 b2] give [a1 b1 a2 b2]."""
    if num_bands == 1:
        return torch.cat(list(parts), dim=-1)
    bands = [part.unflatten(-1, (num_bands, -1)) for part in parts]
    return torch.cat(bands, dim=-1).flatten(2)
