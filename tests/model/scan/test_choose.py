"""Which code runs a layer: every row of the choice by machines that are made up, and what emulated processors say."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace

import pytest
import torch

from asr.model.cells import Cell, ConvLSTMConfig, GRUConfig, LSTMConfig, ProjectedLSTMConfig
from asr.model.layers.chosen import sum_up, tabulate
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan.choose import Case, Choice, Problem, choose, describe
from asr.model.scan.cpu.build import KernelError
from asr.model.scan.cpu.compiled import open_kernel
from asr.model.scan.step import StepForm
from tests.model.scan.test_paths import fresh_kernels  # noqa: F401

CPU, GPU, METAL = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
FULL, HALF, FP16, BYTES = torch.float32, torch.bfloat16, torch.float16, torch.int8
LSTM, GRU = (config.build(4) for config in (LSTMConfig(hidden_size=8), GRUConfig(hidden_size=8)))
PROJECTED = ProjectedLSTMConfig(hidden_size=8, projection_size=4).build(4)
CONV = ConvLSTMConfig(hidden_size=4, num_bands=2, kernel_size=1).build(4)


@dataclass(frozen=True)
class Pretended:
    """A machine that has everything but what is named."""

    without_halves: str = ""
    without_kernels: dict[torch.dtype, Problem] = field(default_factory=dict)
    without_triton: str = ""
    utterances: int = 64

    def name(self) -> str:
        return "AVX512 with AMX"

    def lacks_halves(self) -> str:
        return self.without_halves

    def lacks_kernel(self, form: StepForm, kind: torch.dtype, *, zoneout: bool) -> Problem | None:
        return self.without_kernels.get(kind)

    def lacks_triton(self, device: torch.device) -> str:
        return self.without_triton

    def most_utterances(self, units: int, directions: int, device: torch.device) -> int:
        return self.utterances // directions


AMX, OLD = Pretended(), Pretended(without_halves="this processor (AVX2) has no products of it (AVX512_BF16 or AMX)")
BROKEN = Problem("no C++ compiler (c++) on the path")
NO_COMPILER = Pretended(without_kernels=dict.fromkeys((FULL, HALF, torch.float64, BYTES), BROKEN))
SWITCHED_OFF = Pretended(
    without_kernels=dict.fromkeys((FULL, HALF), Problem("EARSHOT_COMPILED_CELLS=0 is set", is_expected=True))
)
OLD_COMPILER = Pretended(without_kernels={HALF: Problem("c++ failed: unrecognized option")})


def case(cell: Cell, device: torch.device = CPU, **changes: object) -> Case:
    """A training step in float32 over many frames, but for the changes."""
    given = Case(
        cell.form, device, FULL, FULL, 4, 100, cell.recurrent_weight.shape[1], bands=cell.num_bands, gradients=True,
        has_builtin=cell.has_builtin(),
    )  # fmt: skip
    return replace(given, **changes)


ROWS = {
    # the LSTM on a CPU
    "lstm": (case(LSTM), AMX, "builtin", FULL, "nothing is faster here"),
    "lstm in float64": (
        case(LSTM, dtype=torch.float64, asked=torch.float64), AMX, "builtin", torch.float64, "nothing is faster"),
    "lstm with zoneout": (
        case(LSTM, has_builtin=False, zoneout=True), AMX, "compiled", FULL, "PyTorch has no layer of these equations"),
    "lstm trained in halves": (case(LSTM, asked=HALF), AMX, "compiled", HALF, "in training it is faster"),
    "lstm recognising in halves": (case(LSTM, asked=HALF, gradients=False), AMX, "builtin", HALF, "nothing is faster"),
    "lstm for single steps": (case(LSTM, asked=HALF, steps=1), AMX, "builtin", HALF, "here for a few steps"),
    "lstm in halves that the processor lacks": (
        case(LSTM, asked=HALF), OLD, "compiled", FULL, "PyTorch has no LSTM in bfloat16 on this processor"),
    "lstm in float16": (case(LSTM, asked=FP16), AMX, "compiled", FULL, "PyTorch has no LSTM in float16"),
    "lstm in halves without compiler": (
        case(LSTM, asked=HALF), NO_COMPILER, "builtin", HALF, "lacks bfloat16: no C++ compiler"),
    "lstm in halves, old compiler": (case(LSTM, asked=HALF), OLD_COMPILER, "builtin", HALF, "unrecognized option"),
    "lstm of bfloat16": (case(LSTM, dtype=HALF, asked=HALF), AMX, "builtin", HALF, "nothing is faster"),
    "lstm by the kernel": (case(LSTM, path="compiled"), AMX, "compiled", FULL, "it was asked for"),
    "lstm in bytes": (case(LSTM, has_bytes=True), AMX, "compiled", BYTES, "integers of 8 bits"),
    "lstm in bytes without compiler": (case(LSTM, has_bytes=True), NO_COMPILER, "builtin", FULL, "nothing is faster"),
    # other cells on a CPU
    "gru": (case(GRU), AMX, "compiled", FULL, "PyTorch has no layer of these equations"),
    "gru in halves": (case(GRU, asked=HALF), AMX, "compiled", HALF, "PyTorch has no layer of these equations"),
    "gru in halves that the processor lacks": (case(GRU, asked=HALF), OLD, "compiled", FULL, "PyTorch has no layer"),
    "gru in halves, old compiler": (case(GRU, asked=HALF), OLD_COMPILER, "compiled", FULL, "PyTorch has no layer"),
    "gru without compiler": (case(GRU), NO_COMPILER, "reference", FULL, "no C++ compiler"),
    "gru switched off": (case(GRU), SWITCHED_OFF, "reference", FULL, "EARSHOT_COMPILED_CELLS=0 is set"),
    "gru of bfloat16": (case(GRU, dtype=HALF, asked=HALF), AMX, "reference", HALF, "takes no weights in bfloat16"),
    # whatever the device
    "nobody": (case(LSTM, batch=0), AMX, "reference", FULL, "nothing to compute"),
    "no frames": (case(LSTM, GPU, steps=0), AMX, "reference", FULL, "nothing to compute"),
    "the plain loop": (case(GRU, path="reference"), AMX, "reference", FULL, "it was asked for"),
    "triton": (case(GRU, path="triton"), AMX, "triton", FULL, "it was asked for"),
    # a GPU
    "lstm on a GPU": (case(LSTM, GPU, asked=HALF), AMX, "triton", HALF, "nothing is faster"),
    "lstm for a few steps on a GPU": (case(LSTM, GPU, steps=7), AMX, "builtin", FULL, "a few steps"),
    "lstm without triton": (
        case(LSTM, GPU), Pretended(without_triton="Triton is not installed"), "builtin", FULL, "not installed"),
    "gru without triton": (
        case(GRU, GPU), Pretended(without_triton="Triton is not installed"), "reference", FULL, "not installed"),
    "gru on a small GPU": (case(GRU, GPU), Pretended(utterances=0), "reference", FULL, "more processors"),
    "projected on a GPU": (case(PROJECTED, GPU), AMX, "reference", FULL, "have no projection"),
    "convolution on a GPU": (case(CONV, GPU), AMX, "reference", FULL, "have no convolution"),
    "gru of float16 on a GPU": (case(GRU, GPU, dtype=FP16, asked=FP16), AMX, "reference", FP16, "weights in float16"),
    "the compiled kernel on a GPU": (case(GRU, GPU, path="compiled"), AMX, "reference", FULL, "is for CPUs"),
    "lstm on another device": (case(LSTM, METAL), AMX, "builtin", FULL, "need CUDA, not mps"),
    "gru on another device": (case(GRU, METAL), AMX, "reference", FULL, "need CUDA, not mps"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "machine", "runner", "precision", "reason"), ROWS.values(), ids=ROWS.keys())
def test_every_row_of_the_choice(
    given: Case, machine: Pretended, runner: str, precision: torch.dtype, reason: str
) -> None:
    chosen = choose(given, machine)
    assert (chosen.runner, chosen.precision) == (runner, precision)
    assert reason in chosen.reason


WITHOUT_HALVES = f"bfloat16: {OLD.without_halves}; cells and linear layers compute in float32 under autocast"
WITHOUT_COMPILER = "compiled cells: no C++ compiler (c++) on the path; cells run in PyTorch, more slowly"
WITH_OLD_COMPILER = "compiled cells: c++ failed: unrecognized option; cells keep to float32"
NOTICES = {
    "lstm in halves that the processor lacks": WITHOUT_HALVES,
    "gru in halves that the processor lacks": WITHOUT_HALVES,
    "lstm in halves without compiler": WITHOUT_COMPILER,
    "gru without compiler": WITHOUT_COMPILER,
    "lstm in halves, old compiler": WITH_OLD_COMPILER,
    "gru in halves, old compiler": WITH_OLD_COMPILER,
    "gru of bfloat16": "the compiled kernel takes no weights in bfloat16; cells run in PyTorch, more slowly",
}
ON_A_GPU = {
    "gru without triton": "Triton is not installed",
    "gru on a small GPU": "8 units in 1 direction(s) need more processors than the GPU has",
    "projected on a GPU": "Triton's kernels have no projection",
    "convolution on a GPU": "Triton's kernels have no convolution",
    "gru of float16 on a GPU": "Triton's kernels take no weights in float16",
    "the compiled kernel on a GPU": "the compiled kernel is for CPUs",
    "gru on another device": "Triton's kernels need CUDA, not mps",
}
NOTICES |= {name: f"{reason}; on a GPU cells run in PyTorch, more slowly" for name, reason in ON_A_GPU.items()}


@pytest.mark.parametrize("name", ROWS)
def test_a_fall_back_is_said_and_nothing_else(name: str) -> None:
    given, machine, *_ = ROWS[name]
    assert choose(given, machine).notice == NOTICES.get(name, "")


def test_both_directions_run_at_once_where_one_call_can_do_that() -> None:
    for cell, machine, device, at_once in (
        (GRU, AMX, CPU, True), (GRU, NO_COMPILER, CPU, False), (LSTM, AMX, CPU, False), (GRU, AMX, GPU, True),
        (GRU, Pretended(utterances=1), GPU, False), (PROJECTED, AMX, GPU, False), (PROJECTED, AMX, CPU, True),
    ):  # fmt: skip
        assert choose(case(cell, device, directions=2), machine).at_once == at_once
        assert not choose(case(cell, device), machine).at_once
    # One direction after the other the processors of that GPU suffice.
    assert choose(case(GRU, GPU, directions=2), Pretended(utterances=1)).runner == "triton"


def test_a_cell_without_a_layer_of_pytorchs_cannot_run_it() -> None:
    with pytest.raises(NotImplementedError, match="GRU: PyTorch has no layer of these equations; override has_builtin"):
        GRU.run_builtin(torch.zeros(1, 2, 4), None)


def test_a_choice_in_words() -> None:
    words = describe(choose(case(GRU, asked=HALF, directions=2), AMX), AMX)
    assert words == "compiled kernel in bfloat16, both directions at once (AVX512 with AMX)"
    assert describe(Choice("reference", FULL, ""), AMX) == "plain loop in PyTorch in float32"


def test_layers_are_listed_once_with_their_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [RecurrentLayer(LSTMConfig(hidden_size=4), 4, bidirectional=True) for _ in range(2)]
    model = torch.nn.ModuleList([*layers, RecurrentLayer(LSTMConfig(hidden_size=4), 4, bidirectional=False), LSTM])
    lines = tabulate(model)
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    assert all(line.endswith("PyTorch's own layer in float32: nothing is faster here") for line in lines)
    assert sum_up(model) == "recurrent layers: 4 x PyTorch's own layer in float32"
    assert sum_up(torch.nn.Linear(2, 2)) == "recurrent layers: none"


@pytest.mark.usefixtures("fresh_kernels")
def test_a_kernel_that_was_not_chosen_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSHOT_COMPILED_CELLS", "0")
    with pytest.raises(KernelError, match="compiled cells: EARSHOT_COMPILED_CELLS=0 is set; choose another path"):
        open_kernel(GRU.form, FULL, zoneout=False)
    assert GRU.choose(4, 100).runner == "reference"


SAY = """import torch
from asr.model.cells import GRUConfig, LSTMConfig
from asr.model.scan.choose import describe
from asr.model.scan.machine import HERE
for config in (LSTMConfig(hidden_size=8), GRUConfig(hidden_size=8)):
    with torch.autocast("cpu", torch.bfloat16):
        print(describe(config.build(4).choose(4, 100), HERE))
    cell = config.build(4).eval()
    with torch.no_grad():
        print(describe(cell.choose(4, 100), HERE))
"""


@pytest.mark.parametrize(("capability", "limit", "kind"), [("avx2", "AVX2", "AVX2"), ("default", "SSE41", "DEFAULT")])
def test_an_emulated_processor_runs_what_it_has(capability: str, limit: str, kind: str) -> None:
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("needs a processor with AVX2, which can do as if it were an older one")
    if GRU.choose(4, 100).runner != "compiled":
        pytest.skip("the kernel cannot be built here (needs a C++ compiler)")
    emulated = {"ATEN_CPU_CAPABILITY": capability, "ONEDNN_MAX_CPU_ISA": limit}
    result = subprocess.run(
        [sys.executable, "-c", SAY], env=os.environ | emulated, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [
        f"compiled kernel in float32 ({kind})",
        "PyTorch's own layer in float32",
        f"compiled kernel in float32 ({kind})",
        f"compiled kernel in float32 ({kind})",
    ]
    assert result.stderr.count("bfloat16: this processor") == 1
