"""Says what runs each recurrent layer on this machine and why, for whoever wants to know why it is fast or slow."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from asr.model.cells.cell import Cell
from asr.model.layers.directions import choose_for_both
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan.choose import Choice, describe
from asr.model.scan.machine import HERE

FRAMES = (8, 100)  # utterances and frames of a call: many enough for what is not for single steps


def choices(model: nn.Module) -> Iterator[tuple[str, Choice]]:
    """The name of each recurrent layer, and what runs it over many frames.

    To be called under the autocast, and with or without gradients, that the model will be called under.
    """
    cells: set[nn.Module] = set()
    for name, module in model.named_modules():
        if isinstance(module, RecurrentLayer):
            cells |= set(module.children())
            if module.backwards is None:
                yield name, module.forwards.choose(*FRAMES)
            else:
                yield name, choose_for_both(module.forwards, module.backwards, *FRAMES)
        elif isinstance(module, Cell) and module not in cells:
            yield name, module.choose(*FRAMES)


def tabulate(model: nn.Module) -> list[str]:
    """One line a layer: its name, what runs it, and why."""
    return [f"  {name:25} {describe(choice, HERE)}: {choice.reason}" for name, choice in choices(model)]


def sum_up(model: nn.Module) -> str:
    """One line for all layers, such as "recurrent layers: 3 x compiled kernel in bfloat16 (AVX512 with AMX)"."""
    counts = Counter(describe(choice, HERE) for _, choice in choices(model))
    found = "; ".join(f"{number} x {what}" for what, number in counts.items())
    return f"recurrent layers: {found or 'none'}"
