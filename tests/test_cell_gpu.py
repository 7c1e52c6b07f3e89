"""The Triton kernels equal the plain loop: in Triton's interpreter everywhere, and on a GPU where there is one.

Tolerance in float32: 2e-5 of the size of each tensor. The interpreter runs one program, so that the meeting of several
after each step is seen only by the compiler here, and runs only in the tests marked `gpu`.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from asr.cells import CellConfig, LSTMConfig, PeepholeLSTMConfig
from asr.cells.gpu import TritonError, load_triton
from asr.cells.gpu_source import BACKWARD_POINTERS, FORWARD_POINTERS
from asr.cells.pointwise import trace
from tests.test_cell_paths import run
from tests.test_cells import FEATURES, MEMBERS, OPTIONS

SERVED = ["rnn", "rnn relu", "lstm", "gru", "peephole_lstm", "coupled_lstm", "light_gru"]
every_served = pytest.mark.parametrize("config", [MEMBERS[name] for name in SERVED], ids=SERVED)


def start_interpreting() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    """A process of its own, for the interpreter changes Triton for good."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=start_interpreting) as pool:
        yield pool


def worst_error(config: CellConfig, batch: int = 3) -> float:
    """How far the kernels are from the plain loop, in outputs, states and gradients, by the size of each."""
    torch.manual_seed(0)
    cell = config.build(FEATURES)
    pairs = zip(run(cell, "triton", batch=batch), run(cell, "reference", batch=batch), strict=True)
    return max(((fast - plain).norm() / plain.norm()).item() for fast, plain in pairs)


@every_served
@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["all"]], ids=["plain", "all"])
def test_equals_the_reference_in_the_interpreter(
    interpreter: ProcessPoolExecutor, config: CellConfig, options: dict[str, float]
) -> None:
    assert interpreter.submit(worst_error, config.model_copy(update=options)).result() <= 2e-5


def test_wide_layers_are_multiplied_in_pieces(interpreter: ProcessPoolExecutor) -> None:
    assert interpreter.submit(worst_error, LSTMConfig(hidden_size=150)).result() <= 2e-5


@pytest.mark.parametrize("name", ["layer_norm_lstm", "projected_lstm", "conv_lstm"])
def test_cells_that_it_does_not_serve_are_refused(interpreter: ProcessPoolExecutor, name: str) -> None:
    with pytest.raises(TritonError, match="serves neither norms, projections nor several bands; expected path: auto"):
        interpreter.submit(worst_error, MEMBERS[name]).result()


def test_a_batch_too_large_is_refused(interpreter: ProcessPoolExecutor) -> None:
    with pytest.raises(TritonError, match="129 utterances are more than 128"):
        interpreter.submit(worst_error, MEMBERS["gru"], 129).result()


def machine_code_sizes(config: CellConfig) -> list[int]:
    """Compile both kernels for a Hopper GPU, with 32 programs that meet after each step; this needs no GPU."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    program = trace(config.build(FEATURES).form, zoneout=True)
    constants = {"BATCH": 32, "UNITS": 512, "BLOCK": 16, "INNER": 64, "PROGRAMS": 32, "MASKED": True}
    constants["PRECISION"] = "tf32"
    sizes = []
    for direction, pointers in (("forward", FORWARD_POINTERS), ("backward", BACKWARD_POINTERS)):
        kernel = load_triton(program, direction, False)
        types = dict.fromkeys(pointers, "*fp32") | dict.fromkeys(constants, "constexpr")
        types |= {"recurrent_weight": "*bf16", "counter": "*i32", "batch": "i32", "time": "i32"}
        places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        compiled = compile_kernel(ASTSource(kernel, types, constexprs=places), target=GPUTarget("cuda", 90, 32))
        sizes.append(len(compiled.asm["cubin"]))
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peephole_lstm", "gru", "rnn relu"])
def test_compiles_for_a_gpu(name: str) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert all(size > 1000 for size in pool.submit(machine_code_sizes, MEMBERS[name]).result())


def test_inputs_on_a_cpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(TritonError, match="the inputs are on cpu; needs a CUDA device"):
        run(MEMBERS["gru"].build(FEATURES), "triton")


@pytest.mark.gpu
@pytest.mark.parametrize("path", ["triton", "loop", "auto"])
@every_served
def test_equals_the_reference_on_a_gpu(config: CellConfig, path: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    cell = config.model_copy(update={"hidden_size": 200}).build(FEATURES).cuda()
    cell.path = path
    inputs = torch.randn(5, 60, FEATURES, device="cuda", requires_grad=True)
    results = []
    for cell.path in (path, "reference"):
        outputs, state = cell(inputs)
        gradients = torch.autograd.grad(outputs.square().sum(), [inputs, cell.recurrent_weight, cell.input_weight])
        results.append([outputs, *state, *gradients])
    for fast, plain in zip(*results, strict=True):
        assert (fast - plain).norm() <= 1e-4 * plain.norm()


@pytest.mark.gpu
def test_bfloat16_weights_on_a_gpu_stay_close() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.manual_seed(0)
    cell = PeepholeLSTMConfig(hidden_size=256).build(FEATURES).cuda()
    inputs = torch.randn(8, 100, FEATURES, device="cuda")
    expected = cell(inputs)[0]
    cell.path = "triton"
    with torch.autocast("cuda", torch.bfloat16):
        outputs = cell(inputs)[0]
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0.03)
