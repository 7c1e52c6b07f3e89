"""A look inside a cell while it reads: its gates and its state at every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from asr.model.cells.cell import Cell


@dataclass(frozen=True)
class Watched:
    """One run of a cell; units of several bands lie band by band."""

    outputs: Float[Tensor, "batch time hidden"]
    gates: Mapping[str, Float[Tensor, "batch time unit"]]  # by the names in the cell's form; 0 shut, 1 open
    memory: Float[Tensor, "batch time unit"]  # the state that is carried: the inner cell, or the output without one


class _Sigmoids(TorchFunctionMode):
    """Keeps what every `sigmoid` gives, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is Tensor.sigmoid:
            self.seen.append(result)
        return result


@torch.no_grad()
def watch(cell: Cell, inputs: Float[Tensor, "batch time feature"]) -> Watched:
    """Run a cell from its initial state by its reference path, one step at a time, and keep what its gates do."""
    path, cell.path = cell.path, "reference"
    outputs, memory, state = [], [], None
    try:
        with _Sigmoids() as sigmoids:
            for frame in inputs.split(1, dim=1):
                output, state = cell(frame, state)
                outputs.append(output)
                memory.append(state[-1])
    finally:
        cell.path = path
    names, seen = cell.form.gates, sigmoids.seen
    gates = {name: torch.stack(seen[place :: len(names)], dim=1).flatten(2) for place, name in enumerate(names)}
    return Watched(torch.cat(outputs, dim=1), gates, torch.stack(memory, dim=1))
