"""Writes what tests/programs/arm64.sh compares: steps as C++, the numbers of a layer, and the reference's results.

    python -m tests.programs.arm64_cases float FOLDER

FOLDER/CELL/step.h is the step; FOLDER/CELL/case holds arrays, each as its size (int64) and its values.
"""

import argparse
import struct
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from asr.model.cells import Cell
from asr.model.scan.cpu.source import step_header
from asr.model.scan.recurrence import scan_reference
from asr.model.scan.step import trace
from tests.model.cells.test_cells import FEATURES, MEMBERS

BATCH, TIME = 5, 7


def write_array(file, values: Tensor | None) -> None:
    flat = torch.empty(0) if values is None else values.detach().flatten().contiguous()
    file.write(struct.pack("<q", flat.numel()) + flat.numpy().tobytes())


def write_case(cell: Cell, path: Path) -> None:
    """Writes sizes, the kernel's inputs, and the outputs and gradients that it should give."""
    kind = cell.bias.dtype
    recurrence = cell.recurrence(cell.input_gates(torch.randn(BATCH, TIME, FEATURES, dtype=kind)).detach())
    leaves = {name: getattr(recurrence, name) for name in ("gates", "recurrent_weight", "weights", "projection")}
    leaves = {name: None if leaf is None else leaf.detach().requires_grad_() for name, leaf in leaves.items()}
    state = tuple(torch.randn_like(part).requires_grad_() for part in recurrence.state)
    outputs, _ = scan_reference(replace(recurrence, **leaves, state=state))
    gradients = torch.randn_like(outputs)
    outputs.backward(gradients)
    units = recurrence.gates.shape[-1] // cell.form.num_gates
    sizes = (BATCH, TIME, cell.num_bands, units, cell.recurrent_size, recurrence.num_taps)
    inputs = [*leaves.values(), *state, *(None,) * (2 - len(state)), gradients]
    expected = [outputs, *(None if leaf is None else leaf.grad for leaf in (leaves["gates"], leaves["weights"]))]
    expected += [leaves["recurrent_weight"].grad if recurrence.num_taps == 1 else None]
    expected += [*(part.grad for part in state), *(None,) * (2 - len(state))]
    with path.open("wb") as file:
        file.write(struct.pack("<6q", *sizes))
        for values in (*inputs, *expected):
            write_array(file, values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("type", choices=("float", "double"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for name, config in MEMBERS.items():
        torch.manual_seed(0)
        cell = config.model_copy(update={"hidden_size": 22}).build(FEATURES)
        folder = arguments.folder / name.replace(" ", "_")
        folder.mkdir(parents=True)
        (folder / "step.h").write_text(step_header(trace(cell.form, zoneout=False)), encoding="utf-8")
        write_case(cell.double() if arguments.type == "double" else cell, folder / "case")


if __name__ == "__main__":
    main()
