"""Under autocast the compiled kernel keeps and multiplies in bfloat16, and sums and carries the state in float32.

Tolerances: forwards 1e-3 of the size of each tensor from the plain loop with the same roundings (sums in another order
now and then round the other way); gradients 3e-2 of their size from those in float32, which is what 8 bits leave, and
1e-1 with a rectifier, whose gradient jumps, and with layer normalisation, which magnifies what is rounded (the product
with the inputs in bfloat16 and all else in float32 is 3e-2 away).
"""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.model.cells import Cell, CellConfig, LSTMConfig
from asr.model.scan import processor, recurrence
from asr.model.scan.cpu.build import notice
from asr.model.scan.products import half_outer_product, half_product, linear
from asr.model.scan.recurrence import scan_reference
from tests.model.cells.test_cells import FEATURES, MEMBERS, every_cell
from tests.model.scan.test_paths import counting_compiler, fresh_kernels  # noqa: F401

autocast = torch.autocast("cpu", torch.bfloat16)


def rounded(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16).to(tensor.dtype)


def need_halves(cell: Cell) -> None:
    with autocast:
        cell.path, path = "compiled", cell.path
        choice = cell.choose(3, 30)
        cell.path = path
    if choice.precision != torch.bfloat16:
        pytest.skip("needs a C++ compiler and a processor that multiplies bfloat16 (AMX or AVX512-BF16)")


def build(config: CellConfig, units: int = 40) -> Cell:
    torch.manual_seed(0)
    sizes = {"hidden_size": units}
    if "projection_size" in type(config).model_fields:
        sizes["projection_size"] = units // 2
    cell = config.model_copy(update=sizes).build(FEATURES)
    cell.path = "compiled"
    return cell


@every_cell
@pytest.mark.parametrize("units", [5, 40])  # less than a vector, and more than a tile is deep
def test_equals_the_plain_loop_with_the_same_roundings(
    config: CellConfig, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = build(config, units)
    need_halves(cell)
    inputs = torch.randn(37, 9, FEATURES)  # three tiles of utterances
    with autocast, torch.no_grad():
        outputs, state = cell(inputs)
        gates = rounded(cell.input_gates(inputs).float())
    given = cell.recurrence(gates)
    given = replace(given, recurrent_weight=rounded(given.recurrent_weight))
    if given.projection is not None:
        given = replace(given, projection=rounded(given.projection))
    plain = recurrence.recurrent_products
    monkeypatch.setattr(recurrence, "recurrent_products", lambda given, output: plain(given, rounded(output)))
    with torch.no_grad():
        expected, last = scan_reference(given)
    for found, wanted in zip(
        (outputs, *state), (expected.flatten(2), *(part.flatten(1) for part in last)), strict=True
    ):
        assert found.dtype == torch.float32
        # What a projection multiplies is rounded too, which the plain loop does not.
        assert (found - wanted).norm() <= (5e-3 if given.projection is not None else 1e-3) * wanted.norm()


@every_cell
def test_gradients_are_those_in_float32_but_for_rounding(config: CellConfig) -> None:
    cell = build(config.model_copy(update={"learnt_initial_state": True, "recurrent_dropout": 0.2}))
    need_halves(cell)
    inputs = torch.randn(9, 12, FEATURES, requires_grad=True)
    wanted = [inputs, *cell.parameters()]

    def gradients() -> tuple[Tensor, ...]:
        outputs, state = cell(inputs, generator=torch.Generator().manual_seed(1))
        weight = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))
        return torch.autograd.grad((outputs * weight).sum() + sum(part.sum() for part in state), wanted)

    with autocast:
        found = gradients()
    cell.path = "reference"
    is_rough = config.kind in ("light_gru", "layer_norm_lstm") or getattr(config, "nonlinearity", None) == "relu"
    for half, single in zip(found, gradients(), strict=True):
        assert half.dtype == torch.float32
        assert (half - single).norm() <= (1e-1 if is_rough else 3e-2) * single.norm()


@every_cell
def test_an_utterance_comes_out_alike_in_any_company(config: CellConfig) -> None:
    cell = build(config)
    need_halves(cell)
    inputs = torch.randn(20, 15, FEATURES)
    with autocast, torch.no_grad():
        together = cell(inputs)[0]
        alone = torch.cat([cell(inputs[i : i + 1])[0] for i in range(20)])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-3)


def test_not_a_number_stays_in_its_utterance() -> None:
    for name in ("lstm", "conv_lstm", "projected_lstm"):
        cell = build(MEMBERS[name])
        need_halves(cell)
        inputs = torch.zeros(3, 4, FEATURES)
        inputs[1, 2] = torch.nan
        with autocast:
            outputs = cell(inputs)[0]
        assert outputs[1, 2:].isnan().all()
        assert outputs[[0, 2]].isfinite().all()


def test_the_plain_lstm_too_is_trained_by_the_kernel_under_autocast() -> None:
    cell = LSTMConfig(hidden_size=40).build(FEATURES)
    need_halves(cell)
    assert cell.choose(1, 30).runner == "builtin"
    with autocast:
        assert cell.choose(1, 30).runner == "compiled"
        assert cell.choose(1, 1).runner == "builtin"
        with torch.no_grad():
            assert cell.choose(1, 30).runner == "builtin"


def test_a_linear_layer_in_halves_has_the_gradients_of_one_in_float32() -> None:
    torch.manual_seed(0)
    inputs, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((3, 50, 24), (32, 24), (32,)))
    wanted = [inputs, weight, bias]
    factor = torch.randn(3, 50, 32)
    with autocast:
        outputs = linear(inputs, weight, bias)
    found = torch.autograd.grad((outputs.float() * factor).sum(), wanted)
    expected = torch.autograd.grad((linear(inputs, weight, bias) * factor).sum(), wanted)
    for half, single in zip(found, expected, strict=True):
        assert half.dtype == torch.float32
        assert (half - single).norm() <= 1e-2 * single.norm()


@pytest.mark.parametrize("num_rows", [1, 64, 512, 600, 1200])  # less than a piece, one, and pieces with a rest
def test_products_of_halves_in_pieces_are_those_of_the_whole(num_rows: int) -> None:
    torch.manual_seed(0)
    left, right, weight = (torch.randn(*shape).bfloat16() for shape in ((num_rows, 8), (num_rows, 24), (8, 24)))
    expected = left.float().T @ right.float()
    for found in (half_outer_product(left, right), half_outer_product(right, left).T):
        assert found.dtype == torch.float32
        assert (found - expected).norm() <= 1e-2 * expected.norm()
    expected = left.float() @ weight.float()
    assert (half_product(left, weight) - expected).norm() <= 1e-2 * expected.norm()


INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512f avx512_bf16 avx512_vnni amx_tile amx_bf16\n"


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str | None], None]]:
    """A processor that Linux describes so, or does not; PyTorch and oneDNN may use all of it."""

    def forget() -> None:
        processor.described.cache_clear()
        processor._is_lent_tiles.cache_clear()

    def describe(text: str | None) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(text or "")
        monkeypatch.setattr(processor, "CPUINFO", path if text is not None else tmp_path / "none")
        forget()

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name in processor.ONEDNN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield describe
    monkeypatch.undo()
    forget()


def lend_tiles(monkeypatch: pytest.MonkeyPatch, *, refused: int) -> None:
    """What Linux answers to who asks for tiles: 0 if it lends them."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: type("C", (), {"syscall": lambda *_: refused}))
    processor._is_lent_tiles.cache_clear()


def test_the_processor_is_asked_what_it_can_do(
    pretend: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512f avx512_bf16\n\nvendor_id\t: GenuineIntel\n")
    assert processor.has_halves()
    assert not processor.is_intel()
    assert not processor.may_use_tiles()
    assert not processor.has_bytes()
    assert processor.name() == "AVX512 with BF16"
    pretend(INTEL)
    for refused in (1, 0):
        lend_tiles(monkeypatch, refused=refused)
        assert processor.may_use_tiles() == (refused == 0)
    assert processor.has_bytes()
    assert processor.name() == "AVX512 with AMX"
    pretend(None)
    assert not processor.has_halves()
    assert processor.name() == "AVX512"


@pytest.mark.parametrize(
    ("vectors", "limit", "expected"),
    [
        ("AVX512", "", "halves, bytes, tiles"),
        ("AVX512", "DEFAULT", "halves, bytes, tiles"),
        ("AVX512", "avx512_core_bf16", "halves, bytes"),
        ("AVX512", "AVX512_CORE_VNNI", "bytes"),
        ("AVX512", "AVX512_CORE", ""),
        ("AVX2", "AVX2", ""),
        ("AVX2", "", ""),
        ("DEFAULT", "SSE41", ""),
    ],
)
def test_what_the_processor_can_do_follows_the_variables_of_pytorch_and_onednn(
    pretend: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch, vectors: str, limit: str, expected: str
) -> None:
    pretend(INTEL)
    lend_tiles(monkeypatch, refused=0)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    for name in processor.ONEDNN_VARIABLES:
        monkeypatch.setenv(name, limit)
        found = {"halves": processor.has_halves(), "bytes": processor.has_bytes(), "tiles": processor.may_use_tiles()}
        assert ", ".join(name for name, is_there in found.items() if is_there) == expected
        monkeypatch.delenv(name)


@pytest.fixture
def without_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that does not multiply bfloat16; what vectors it has is left as it is."""
    monkeypatch.setattr(processor, "has_halves", lambda: False)
    notice.cache_clear()


@pytest.mark.usefixtures("without_halves")
@pytest.mark.parametrize("wanted", ["bfloat16 by autocast", "bfloat16 weights", "float16 by autocast"])
def test_the_lstm_asks_the_processor_before_it_takes_pytorchs_own(
    caplog: pytest.LogCaptureFixture, wanted: str
) -> None:
    """PyTorch has no LSTM in bfloat16 without AVX-512, and none in float16 without instructions for that."""
    torch.manual_seed(0)
    cell = LSTMConfig(hidden_size=40).build(FEATURES).eval()
    inputs = torch.randn(2, 30, FEATURES)
    with torch.no_grad():
        expected = cell(inputs)[0]
        assert cell.choose(2, 30).runner == "builtin"
        if wanted == "bfloat16 weights":
            found = cell.bfloat16()(inputs.bfloat16())[0]
        else:
            with torch.autocast("cpu", torch.float16 if wanted.startswith("float16") else torch.bfloat16):
                assert cell.choose(2, 30).runner != "builtin"
                found = cell(inputs)[0]
    assert (found - expected).norm() <= 2e-2 * expected.norm()
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("bfloat16: ")]
    assert said == [
        f"bfloat16: this processor ({processor.name()}) has no products of it (AVX512_BF16 or AMX); cells and linear "
        "layers compute in float32 under autocast"
    ] * wanted.startswith("bfloat16")


@pytest.mark.usefixtures("without_halves")
def test_cells_compute_in_float32_under_autocast_without_halves() -> None:
    torch.manual_seed(0)
    for config in (MEMBERS["lstm"], MEMBERS["gru"]):
        cell, inputs = build(config), torch.randn(2, 30, FEATURES)
        cell.path = "auto"
        with autocast:
            found = cell(inputs)[0]
        assert (found - cell(inputs)[0]).norm() <= 1e-5 * found.norm()


@pytest.mark.usefixtures("fresh_kernels")
def test_a_compiler_too_old_for_halves_leaves_float32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not processor.has_halves():
        pytest.skip("needs a processor that multiplies bfloat16")
    script = counting_compiler(tmp_path)
    refusal = 'case "$*" in *-mavx512bf16*) echo "error: unrecognized option" >&2; exit 1;; esac\n'
    script.write_text(script.read_text().replace("exec", refusal + "exec"))
    monkeypatch.setenv("CXX", str(script))
    cell = build(MEMBERS["rnn"])
    with autocast:
        choice = cell.choose(3, 30)
    assert choice.runner == "compiled"
    assert choice.precision == torch.float32
    assert [record.getMessage() for record in caplog.records] == [
        f"compiled cells: {script} failed: error: unrecognized option; cells keep to float32"
    ]
