"""Every fast path of the scan equals the plain loop, gradients too; the compiled kernel is built safely or not at all.

Tolerances: 1e-10 in float64; in float32 2e-5 of the size of each tensor over 12 steps.
"""

import ctypes
import logging
import platform
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.model.cells import Cell, CellConfig, LSTMConfig, PeepholeLSTMConfig
from asr.model.scan.cpu import build as kernel_module
from asr.model.scan.cpu.build import (
    LIBRARY_SUFFIX,
    KernelError,
    build_kernel,
    cache_folder,
    call_outer_product,
    cpu_flags,
    notice,
    try_kernel,
)
from asr.model.scan.recurrence import neighbours
from asr.model.scan.step import Program, trace
from tests.model.cells.test_cells import FEATURES, MEMBERS, OPTIONS, UNITS, build, every_cell, random


def program_of(config: CellConfig) -> Program:
    return trace(config.build(FEATURES).form, zoneout=config.zoneout > 0)


def need_kernel(path: str, config: CellConfig, kind: torch.dtype = torch.float64) -> None:
    if path == "compiled" and try_kernel(program_of(config), kind).library is None:
        pytest.skip("the kernel cannot be built here (needs a C++ compiler)")


def run(cell: Cell, path: str, *, batch: int = 3) -> list[Tensor]:
    """Outputs and last state, with and without gradients, and the gradients of everything."""
    cell.path = path
    dtype = cell.bias.dtype
    # Not contiguous, as the inputs of an encoder may be.
    inputs = random(batch, FEATURES, 12, dtype=dtype).transpose(1, 2).requires_grad_()
    sizes = [part.shape[0] for part in cell.initial_state]
    state = tuple(random(batch, size, seed=2 + n, dtype=dtype).requires_grad_() for n, size in enumerate(sizes))
    outputs, last = cell(inputs, state, generator=torch.Generator().manual_seed(1))
    loss = (outputs * random(*outputs.shape, seed=7, dtype=dtype)).sum()
    loss = loss + sum((part * random(*part.shape, seed=8, dtype=dtype)).sum() for part in last)
    wanted = [inputs, *state, *(p for name, p in cell.named_parameters() if "initial" not in name)]
    gradients = torch.autograd.grad(loss, wanted)
    with torch.no_grad():
        again, last_again = cell(inputs, state, generator=torch.Generator().manual_seed(1))
    return [outputs, *last, *gradients, again, *last_again]


@every_cell
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_the_reference_in_float64(config: CellConfig, options: dict[str, float]) -> None:
    config = config.model_copy(update=options)
    need_kernel("compiled", config)
    cell = build(config)
    for fast, plain in zip(run(cell, "compiled"), run(cell, "reference"), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)


@every_cell
@pytest.mark.parametrize("units", [UNITS, 40])  # less than a vector, and whole vectors with some units over
def test_equals_the_reference_in_float32(config: CellConfig, units: int) -> None:
    need_kernel("compiled", config, torch.float32)
    torch.manual_seed(0)
    cell = config.model_copy(update={"hidden_size": units}).build(FEATURES)
    for fast, plain in zip(run(cell, "compiled", batch=8), run(cell, "reference", batch=8), strict=True):
        assert (fast - plain).norm() <= 2e-5 * plain.norm()


def test_single_precision_is_as_good_far_from_zero() -> None:
    """The kernel's own sigmoid and tanh, through gates from -100 to 100, and through those next to zero."""
    need_kernel("compiled", MEMBERS["coupled_lstm"], torch.float32)
    cell = MEMBERS["coupled_lstm"].build(1)
    for scale in (1e-6, 1e-3, 1.0, 10.0, 100.0):
        inputs = scale * torch.linspace(-1, 1, 400).view(400, 1, 1)
        with torch.no_grad():
            cell.path = "compiled"
            single = cell(inputs)[0]
            cell.path = "reference"
            double = cell.double()(inputs.double())[0]
            cell.float()
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("path", ["reference", "compiled"])
@pytest.mark.parametrize("name", ["peephole_lstm", "layer_norm_lstm", "conv_lstm", "projected_lstm"])
def test_not_a_number_is_not_hidden(path: str, name: str) -> None:
    need_kernel(path, MEMBERS[name], torch.float32)
    cell = MEMBERS[name].build(FEATURES)
    cell.path = path
    inputs = torch.zeros(2, 4, FEATURES)
    inputs[0, 2] = torch.nan
    outputs = cell(inputs)[0]
    assert outputs[0, 2:].isnan().all()
    assert outputs[1].isfinite().all()
    assert outputs[0, :2].isfinite().all()


@pytest.mark.parametrize("name", ["gru", "layer_norm_lstm", "conv_lstm peepholes", "projected_lstm"])
def test_threads_change_nothing(name: str) -> None:
    need_kernel("compiled", MEMBERS[name])
    cell = build(MEMBERS[name])
    alone = run(cell, "compiled", batch=7)
    torch.set_num_threads(3)
    try:
        together = run(cell, "compiled", batch=7)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_several_callers_at_once_change_nothing() -> None:
    config = MEMBERS["peephole_lstm"]
    need_kernel("compiled", config)
    expected = run(build(config), "compiled")
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: run(build(config), "compiled"), range(8)):
            for result, wanted in zip(results, expected, strict=True):
                assert torch.equal(result, wanted)


@every_cell
@pytest.mark.parametrize("path", ["reference", "compiled", "auto"])
def test_autocast_keeps_the_state_in_float32(config: CellConfig, path: str) -> None:
    need_kernel(path, config, torch.float32)
    torch.manual_seed(0)
    cell = config.build(FEATURES)
    cell.path = path
    inputs = torch.randn(2, 12, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state = cell(inputs.bfloat16())
        loss = outputs.float().sum()
    loss.backward()
    expected, _ = cell(inputs)
    torch.testing.assert_close(outputs.float(), expected, rtol=0, atol=0.05)
    assert all(part.dtype == torch.float32 for part in state)
    for parameter in cell.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert cell.recurrent_weight.grad is not None
    assert cell.recurrent_weight.grad.dtype == torch.float32


def test_neighbours_of_a_band_are_zero_past_the_ends() -> None:
    bands = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    expected = [[0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 0, 0]]
    assert neighbours(bands, 3).tolist() == expected


@pytest.fixture
def program() -> Program:
    return program_of(MEMBERS["rnn"])


@pytest.fixture
def fresh_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No kernel loaded and none in the cache, during one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try_kernel.cache_clear()
    notice.cache_clear()
    yield tmp_path / "earshot" / "kernels"
    try_kernel.cache_clear()
    notice.cache_clear()


def counting_compiler(folder: Path) -> Path:
    """A compiler that notes each call before it does its work."""
    script = folder / "compiler"
    script.write_text(f'#!/bin/sh\necho call >> {folder / "calls"}\nexec c++ "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_a_kernel_is_built_once_by_many_and_then_found(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need_kernel("compiled", MEMBERS["rnn"])
    monkeypatch.setenv("CXX", str(counting_compiler(tmp_path)))
    folder = tmp_path / "kernels"
    with ThreadPoolExecutor(3) as pool:  # each opens the lock anew, as processes do
        paths = set(pool.map(lambda _: build_kernel(program, torch.float64, folder), range(3)))
    (library,) = paths
    assert (tmp_path / "calls").read_text() == "call\n"
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == [library.name]
    assert ctypes.CDLL(str(library)).forward
    build_kernel(program_of(MEMBERS["rnn relu"]), torch.float64, folder)
    assert (tmp_path / "calls").read_text() == "call\ncall\n"


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
def test_a_kernel_for_a_smaller_processor_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, fresh_kernels: Path, capability: str
) -> None:
    need_kernel("compiled", MEMBERS["peephole_lstm"], torch.float32)
    torch.manual_seed(0)
    cell = PeepholeLSTMConfig(hidden_size=19).build(FEATURES)
    here, expected = torch.backends.cpu.get_cpu_capability(), run(cell, "compiled")
    try_kernel.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for result, wanted in zip(run(cell, "compiled"), expected, strict=True):
        assert (result - wanted).norm() <= 2e-5 * wanted.norm()
    assert len(list(fresh_kernels.glob(f"*{LIBRARY_SUFFIX}"))) == len({capability, here})


@pytest.mark.parametrize("shape", [(300, 5, 40), (300, 40, 5), (7, 97, 97), (1, 1, 1)])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_outer_product_is_that_of_pytorch(shape: tuple[int, int, int], threads: int) -> None:
    need_kernel("compiled", MEMBERS["rnn"])
    library = try_kernel(program_of(MEMBERS["rnn"]), torch.float64).library
    assert library is not None
    rows, columns, inner = shape
    left, right = random(rows, columns + 3, seed=1)[:, 2:-1], random(rows, inner, seed=2)
    torch.set_num_threads(threads)
    try:
        result = call_outer_product(library, left, right)
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(result, left.T @ right, rtol=1e-12, atol=1e-12)


def test_no_compiler_is_an_error(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match=r"no C\+\+ compiler \(no-such-compiler\) on the path"):
        build_kernel(program, torch.float64, tmp_path)


def test_a_failing_compiler_is_an_error(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")  # without vectors it is never asked
    script = counting_compiler(tmp_path)
    script.write_text("#!/bin/sh\necho 'kernel.cpp:1: fatal error: no thread header' >&2\nexit 1\n")
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(KernelError, match=r"compiler failed: kernel\.cpp:1: fatal error: no thread header"):
        build_kernel(program, torch.float64, tmp_path / "kernels")
    assert not list((tmp_path / "kernels").glob("*.so"))


def test_a_compiler_that_hangs_is_an_error(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    script = counting_compiler(tmp_path)
    script.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setattr(kernel_module, "COMPILER_SECONDS", 0.2)
    with pytest.raises(KernelError, match="still busy after"):
        build_kernel(program, torch.float64, tmp_path / "kernels")


@pytest.mark.parametrize(("machine", "capability"), [("riscv64", "DEFAULT"), ("x86_64", "something new")])
def test_an_unknown_processor_is_an_error(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, capability: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setenv("CXX", "sh")
    with pytest.raises(KernelError, match=rf"this processor \({machine}, {capability}\) is neither x86-64 nor ARM64"):
        build_kernel(program, torch.float64, tmp_path)


@pytest.mark.parametrize("capability", ["DEFAULT", "SVE256"])
@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm64_needs_no_flags(monkeypatch: pytest.MonkeyPatch, machine: str, capability: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert cpu_flags() == ()


def test_without_a_home_the_cache_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "user_cache_path", lambda *_, **__: Path("~/.cache/earshot"))
    with pytest.raises(KernelError, match="this user has no home folder; set XDG_CACHE_HOME"):
        cache_folder()


def test_cells_need_no_module_that_only_unix_has() -> None:
    """On Windows there is no fcntl and no resource; filelock knows that."""
    program = (
        "import sys; sys.modules['resource'] = None\n"
        "import filelock; sys.modules['fcntl'] = None\n"
        "import pkgutil, importlib, asr.model.cells as cells\n"
        "for found in pkgutil.iter_modules(cells.__path__): importlib.import_module('asr.model.cells.' + found.name)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_cache_that_others_may_write_is_an_error(program: Program, tmp_path: Path) -> None:
    need_kernel("compiled", MEMBERS["rnn"])
    tmp_path.chmod(0o777)
    with pytest.raises(KernelError, match="another user may write there"):
        build_kernel(program, torch.float64, tmp_path)


@pytest.mark.usefixtures("fresh_kernels")
def test_without_a_kernel_one_notice_and_the_same_result(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    cell = build(MEMBERS["gru"])
    with caplog.at_level(logging.WARNING):
        results = run(cell, "auto")
        run(build(MEMBERS["coupled_lstm"]), "auto")
    assert [record.getMessage() for record in caplog.records] == [
        "compiled cells: no C++ compiler (no-such-compiler) on the path; cells run in PyTorch, more slowly"
    ]
    for result, wanted in zip(results, run(cell, "reference"), strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("fresh_kernels")
def test_the_switch_turns_kernels_off(
    program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EARSHOT_COMPILED_CELLS", "0")
    assert try_kernel(program, torch.float32).library is None
    assert not caplog.records


def test_the_plain_lstm_is_pytorchs_own_and_the_same() -> None:
    cell = build(LSTMConfig(hidden_size=UNITS))
    for builtin, plain in zip(run(cell, "auto"), run(cell, "reference"), strict=True):
        torch.testing.assert_close(builtin, plain, rtol=1e-10, atol=1e-10)
