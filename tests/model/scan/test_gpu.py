"""The Triton kernels equal the plain loop: in Triton's interpreter everywhere, and on a GPU where there is one.

Tolerance in float32: 2e-5 of the size of each tensor. The interpreter runs one program, so that the meeting of several
after each step is seen only by the compiler here, and runs only in the tests marked `gpu`.
"""

import importlib.util
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from asr.model.cells import CellConfig, LSTMConfig, PeepholeLSTMConfig
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan.gpu import triton as gpu
from asr.model.scan.gpu.launch import constants_of, load_triton, make_grid
from asr.model.scan.gpu.triton import TritonError, find_trouble, most_utterances, scan_triton
from asr.model.scan.recurrence import scan_reference
from asr.model.scan.step import trace
from tests.model.cells.test_cells import FEATURES, MEMBERS, OPTIONS
from tests.model.scan.test_paths import run

CUDA = torch.device("cuda")
HALVES = {"recurrent_weight", "halves", "saved", "inputs", "input_gradient", "recurrent_gradient"}
SERVED = ["rnn", "rnn relu", "lstm", "gru", "peephole_lstm", "coupled_lstm", "light_gru", "layer_norm_lstm", "janet"]
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


def worst_error_of_pieces(config: CellConfig, at_most: int) -> float:
    """Both directions at once, in pieces of the batch."""
    torch.manual_seed(0)
    cells = [config.build(FEATURES) for _ in range(2)]
    runs = [cell.recurrence(cell.input_gates(torch.randn(5, 7, FEATURES))) for cell in cells]
    program = trace(cells[0].form, zoneout=runs[0].noise is not None)
    errors = []
    for fast, given in zip(scan_triton(runs, program, precision=torch.float32, at_most=at_most), runs, strict=True):
        plain = scan_reference(given)
        for ours, theirs in zip((fast[0], *fast[1]), (plain[0], plain[1][0].unsqueeze(1), *plain[1][1:]), strict=True):
            errors.append(((ours.squeeze() - theirs.squeeze()).norm() / theirs.norm()).item())
    return max(errors)


@pytest.mark.parametrize("at_most", [5, 2])
@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["all"]], ids=["plain", "all"])
def test_two_directions_in_pieces_of_the_batch(
    interpreter: ProcessPoolExecutor, options: dict[str, float], at_most: int
) -> None:
    config = MEMBERS["peephole_lstm"].model_copy(update=options)
    assert interpreter.submit(worst_error_of_pieces, config, at_most).result() <= 2e-5


@pytest.mark.parametrize("name", ["projected_lstm", "conv_lstm"])
def test_cells_that_it_does_not_serve_are_refused(interpreter: ProcessPoolExecutor, name: str) -> None:
    with pytest.raises(TritonError, match="serves neither projections nor several bands; expected path: auto"):
        interpreter.submit(worst_error, MEMBERS[name]).result()


@pytest.mark.parametrize(
    ("batch", "units", "directions", "chunk"),
    [(32, 512, 2, 16), (33, 512, 2, 32), (128, 224, 2, 32), (8, 1024, 2, 16), (1, 16, 1, 16)],
)
def test_all_programs_are_at_work_at_once(batch: int, units: int, directions: int, chunk: int) -> None:
    assert batch <= most_utterances(units, directions, 132)
    grid = make_grid(batch, units, directions, 132)
    assert grid.batch == chunk
    assert grid.batch * grid.chunks >= batch
    assert grid.block * grid.programs >= units
    assert grid.splits * grid.inner >= units
    assert grid.programs * grid.chunks * directions <= 132


def test_what_the_processors_can_take() -> None:
    assert most_utterances(512, 2, 132) == 64
    assert most_utterances(2112, 1, 132) == 32
    assert most_utterances(1072, 2, 132) == 0


def machine_code_sizes(config: CellConfig) -> list[int]:
    """Compile both kernels for a Hopper GPU, with 32 programs that meet after each step; this needs no GPU."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    program = trace(config.build(FEATURES).form, zoneout=True)
    shape = {
        "BATCH": 16,
        "UNITS": 512,
        "BLOCK": 16,
        "SPLITS": 4,
        "INNER": 128,
        "PROGRAMS": 32,
        "COLUMNS": 32,
    }
    shape |= {"MASKED": True, "PRECISION": "tf32"}
    sizes = []
    for direction in ("forward", "backward"):
        kernel = getattr(load_triton(program, False), f"{direction}_kernel")
        constants = shape | constants_of(program, direction)
        pointers = [name for name in kernel.arg_names if name not in constants]
        types = dict.fromkeys(pointers, "*fp32") | dict.fromkeys(constants, "constexpr")
        types |= dict.fromkeys(HALVES & types.keys(), "*bf16")
        types |= {"counter": "*i32", "batch": "i32", "time": "i32", "chunks": "i32"}
        places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        compiled = compile_kernel(ASTSource(kernel, types, constexprs=places), target=GPUTarget("cuda", 90, 32))
        sizes.append(len(compiled.asm["cubin"]))
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peephole_lstm", "gru", "rnn relu", "layer_norm_lstm"])
def test_compiles_for_a_gpu(name: str) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert all(size > 1000 for size in pool.submit(machine_code_sizes, MEMBERS[name]).result())


def test_a_gpu_says_why_triton_does_not_run_there(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = [(9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability[0])
    monkeypatch.setattr(gpu, "load_module", no_compiler)
    assert find_trouble.__wrapped__(CUDA) == "Triton's kernels cannot be built: Failed to find C compiler"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert find_trouble.__wrapped__(CUDA) == "Triton is not installed"
    capability[0] = (7, 5)
    assert "compute capability 8.0" in find_trouble.__wrapped__(CUDA)


def no_compiler(source: str) -> None:
    raise RuntimeError("Failed to find C compiler")


def test_more_units_than_the_processors_can_take_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "check_served", lambda _: None)
    monkeypatch.setattr(gpu, "num_processors", lambda _: 4)
    cell = MEMBERS["gru"].model_copy(update={"hidden_size": 70}).build(FEATURES)
    runs = [cell.recurrence(cell.input_gates(torch.randn(2, 9, FEATURES))) for _ in range(2)]
    with pytest.raises(TritonError, match="70 units need 5 processors; expected path: auto"):
        scan_triton(runs, trace(cell.form, zoneout=False), precision=torch.float32)


def test_inputs_on_a_cpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(TritonError, match="the inputs are on cpu; needs a CUDA device"):
        run(MEMBERS["gru"].build(FEATURES), "triton")


@pytest.fixture
def exact_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU whose libraries too multiply in float32."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)


@pytest.mark.gpu
@pytest.mark.parametrize("path", ["triton", "auto"])
@every_served
def test_equals_the_reference_on_a_gpu(exact_gpu: None, config: CellConfig, path: str) -> None:
    cell = config.model_copy(update={"hidden_size": 200}).build(FEATURES).cuda()
    inputs = torch.randn(5, 60, FEATURES, device="cuda", requires_grad=True)
    results = []
    for cell.path in (path, "reference"):
        outputs, state = cell(inputs)
        gradients = torch.autograd.grad(outputs.square().sum(), [inputs, cell.recurrent_weight, cell.input_weight])
        results.append([outputs, *state, *gradients])
    for fast, plain in zip(*results, strict=True):
        assert (fast - plain).norm() <= 1e-4 * plain.norm()


@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "units"), [(21, 512), (300, 200), (3, 1100)])  # chunks; launches; one by one
@every_served
def test_two_directions_equal_the_reference_on_a_gpu(
    exact_gpu: None, config: CellConfig, batch: int, units: int
) -> None:
    options = OPTIONS["all"] | {"hidden_size": units}
    layer = RecurrentLayer(config.model_copy(update=options), FEATURES, bidirectional=True).cuda()
    inputs = torch.randn(batch, 20, FEATURES, device="cuda", requires_grad=True)
    lengths = torch.randint(1, 21, (batch,)).cuda()
    results = []
    for path in ("auto", "reference"):
        for cell in (layer.forwards, layer.backwards):
            assert cell is not None
            cell.path = path  # type: ignore[assignment]
        outputs = layer(inputs, lengths, generator=torch.Generator("cuda").manual_seed(1))
        wanted = [inputs, *(p for name, p in layer.named_parameters() if "initial" not in name)]
        results.append([outputs, *torch.autograd.grad(outputs.square().sum(), wanted)])
    for fast, plain in zip(*results, strict=True):
        assert (fast - plain).norm() <= 1e-4 * plain.norm()


@pytest.mark.gpu
def test_an_utterance_is_the_same_beside_others_on_a_gpu(exact_gpu: None) -> None:
    layer = RecurrentLayer(PeepholeLSTMConfig(hidden_size=256), FEATURES, bidirectional=True).cuda()
    inputs, lengths = torch.randn(100, 50, FEATURES, device="cuda"), torch.randint(20, 51, (100,)).cuda()
    together = layer(inputs, lengths)
    for number in (0, 17, 99):
        length = int(lengths[number])
        alone = layer(inputs[number : number + 1, :length], lengths[number : number + 1])
        torch.testing.assert_close(together[number : number + 1, :length], alone, rtol=0, atol=1e-5)


@pytest.mark.gpu
@every_served
def test_bfloat16_on_a_gpu_stays_close(exact_gpu: None, config: CellConfig) -> None:
    cell = config.model_copy(update={"hidden_size": 256}).build(FEATURES).cuda()
    inputs = torch.randn(8, 100, FEATURES, device="cuda", requires_grad=True)
    results = []
    for cell.path, halves in (("reference", False), ("auto", True)):
        with torch.autocast("cuda", torch.bfloat16, enabled=halves):
            outputs = cell(inputs)[0]
        assert outputs.dtype == torch.float32
        results.append([outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, cell.recurrent_weight])])
    for exact, halves in zip(*results, strict=True):
        assert (exact - halves).norm() <= 0.06 * exact.norm()
