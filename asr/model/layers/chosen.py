"""Which path a layer takes on this machine, in words, for whoever wants to know why it is fast or slow."""

import torch

from asr.model.cells.cell import Cell
from asr.model.scan import processor
from asr.model.scan.choose import find_kernel
from asr.model.scan.gpu.triton import serves
from asr.model.scan.halves import asked_precision

NUM_FRAMES = 100  # many enough for the paths that are not for single steps


def name_path(cell: Cell) -> str:
    """Returns what computes the layer over many frames, such as "compiled kernel in bfloat16 (AVX512 with AMX)".

    To be called under the autocast, and with or without gradients, that the layer will be called under.
    """
    weight = cell.recurrent_weight
    if cell.is_builtin(weight.new_empty(1, NUM_FRAMES, cell.input_size)):
        return f"PyTorch's own layer in {_name(asked_precision(weight))}"
    if cell.num_bands == 1 and serves(cell.form, weight, NUM_FRAMES):
        return f"Triton kernel in {_name(asked_precision(weight))}"
    kernel = find_kernel(cell.form, weight, zoneout=cell.options.zoneout > 0)
    if kernel is not None:
        return f"compiled kernel in {_name(kernel.stored)} ({processor.name()})"
    return f"plain loop in PyTorch in {_name(weight.dtype)}"


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
