"""A look inside a cell while it reads: its gates and its state at every step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from asr.model.cells.cell import Cell
from asr.model.scan.choose import Choice
from asr.model.scan.run import scan
from asr.model.scan.step import Vector, Vectors, evaluate, trace


@dataclass(frozen=True)
class Watched:
    """One run of a cell; units of several bands lie band by band."""

    outputs: Float[Tensor, "batch time hidden"]
    gates: Mapping[str, Float[Tensor, "batch time unit"]]  # by the names in the cell's form; 0 shut, 1 open
    memory: Float[Tensor, "batch time unit"]  # the state that is carried: the inner cell, or the output without one


@torch.no_grad()
def watch(cell: Cell, inputs: Float[Tensor, "batch time feature"]) -> Watched:
    """Run a cell from its initial state by the plain loop, its step symbol by symbol, and keep its gates' values.

    The gates are symbols of the traced step, which knows them by name.
    """
    program = trace(cell.form, zoneout=False)
    gates: dict[str, list[Tensor]] = {name: [] for name in program.gates}
    before: list[Tensor] = []

    def step(inputs: Vectors, recurrent: Vectors, state: Vectors, weights: Vectors) -> tuple[Vector, ...]:
        leaves = {"input": inputs, "recurrent": recurrent, "state": state, "weight": weights}
        values = evaluate([*program.next_state, *program.gates.values()], leaves)
        for name, symbol in program.gates.items():
            gates[name].append(values[symbol])
        before.append(state[-1])
        return tuple(values[symbol] for symbol in program.next_state)

    recurrence = cell.recurrence(cell.input_gates(inputs))
    recurrence = replace(recurrence, form=replace(cell.form, step=step))
    outputs, last = scan(recurrence, Choice("reference", recurrence.recurrent_weight.dtype, "its step is watched"))
    memory = torch.stack([*before[1:], last[-1]], dim=1)
    return Watched(
        outputs.flatten(2),
        {name: torch.stack(values, dim=1).flatten(2) for name, values in gates.items()},
        memory.flatten(2),
    )
