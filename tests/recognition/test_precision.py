"""Fewer bits: integers are exact beside any neighbours, and near the numbers that they stand for."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asr.config.recognizer import load_config
from asr.model.cells import (
    CellConfig,
    ConvLSTMConfig,
    CoupledLSTMConfig,
    GRUConfig,
    JANETConfig,
    LayerNormLSTMConfig,
    LSTMConfig,
    PeepholeLSTMConfig,
    ProjectedLSTMConfig,
    RNNConfig,
)
from asr.model.heads.attention import AttentionHeadConfig
from asr.model.layers.masking import clear_padding
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan import processor
from asr.model.scan.cpu.build import notice, try_kernel
from asr.model.scan.recurrence import scan_reference
from asr.model.scan.run import scan
from asr.model.scan.step import trace
from asr.process.distributed import Processes
from asr.recognition.precision import (
    Int8Linear,
    PrecisionError,
    autocast,
    name_device,
    quantize,
    settle_precision,
)
from asr.recognizer import Recognizer
from tests.model.scan.test_paths import fresh_kernels  # noqa: F401
from tests.support.small_run import some_speech, write_small_run
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import SAMPLE_RATE, speak

ANY, AVX2 = 0, 1  # of fbgemm::inst_set_t
need_bytes = pytest.mark.skipif(not processor.multiplies_bytes(), reason="needs AVX2")


@need_bytes
def test_a_product_of_integers_is_that_of_the_numbers_they_stand_for() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 40)
    inputs = torch.randn(3, 7, 96) * torch.logspace(-3, 3, 21).view(3, 7, 1)
    found, expected = Int8Linear(layer.weight, layer.bias)(inputs), layer(inputs)
    assert found.shape == expected.shape
    # The rounding of each of 96 products is at most half a step of both factors.
    size = inputs.abs().amax(dim=-1, keepdim=True) * layer.weight.abs().amax()
    assert ((found - expected).abs() <= size * 96**0.5 / 60).all()
    assert torch.equal(Int8Linear(layer.weight, None)(torch.zeros(2, 96)), torch.zeros(2, 40))


@pytest.fixture(params=[ANY, AVX2], ids=["whole processor", "as on AVX2"])
def fbgemm(request: pytest.FixtureRequest) -> Iterator[None]:
    """FBGEMM heeds no variable, but can be told to use less than the processor has."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    force = library["_ZN6fbgemm14fbgemmForceIsaENS_10inst_set_tE"]
    force(request.param)
    yield
    force(ANY)


@need_bytes
@pytest.mark.usefixtures("fbgemm")
@pytest.mark.parametrize("rows", [1, 5, 70])
def test_products_of_integers_are_exact(rows: int) -> None:
    """With the largest values there are, which overflow in 16 bits where inputs have 8 bits."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randint(-63, 64, (rows, 2000), generator=generator).float()
    weight = torch.randint(-127, 128, (37, 2000), generator=generator).float()
    inputs[0], inputs[-1], weight[0], weight[1] = 63, -63, 127, -127
    inputs[:, 0], weight[:, 0] = 63, 127  # so that one stands for one
    assert torch.equal(Int8Linear(weight, None)(inputs), (inputs.double() @ weight.double().T).float())


@need_bytes
def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(1)
    layer = Int8Linear(torch.randn(33, 50), torch.randn(33))
    rows = torch.randn(20, 50)
    loud = torch.cat((rows, 1e4 * torch.randn(5, 50)))
    assert torch.equal(layer(rows), layer(loud)[:20])
    assert torch.equal(layer(rows[3]), layer(rows)[3])


every_bounded_cell = pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(hidden_size=24),
        GRUConfig(hidden_size=24),
        JANETConfig(hidden_size=24),
        CoupledLSTMConfig(hidden_size=24),
        PeepholeLSTMConfig(hidden_size=24),
        RNNConfig(hidden_size=24),
        LSTMConfig(hidden_size=24, zoneout=0.1),
    ],
    ids=lambda config: f"{config.kind}-{config.zoneout}",
)


@pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(hidden_size=32),
        GRUConfig(hidden_size=32),
        LayerNormLSTMConfig(hidden_size=32),
        ProjectedLSTMConfig(hidden_size=32, projection_size=16),
        ConvLSTMConfig(),
    ],
    ids=lambda config: config.kind,
)
def test_every_cell_stays_near_itself(config: CellConfig) -> None:
    torch.manual_seed(2)
    cell = config.build(80).eval()
    inputs = torch.randn(2, 12, 80)
    with torch.inference_mode():
        before, _ = cell(inputs)
        after, _ = quantize(nn.Sequential(cell))[0](inputs)
    assert float((after - before).abs().max()) < 0.05
    has_kernel = try_kernel(trace(cell.form, zoneout=False), torch.float32).library is not None
    assert (cell.recurrent_bytes is not None) == (cell.is_bounded() and has_kernel and processor.multiplies_bytes())
    if processor.multiplies_bytes() and has_kernel:
        assert (cell.input_product is None) == (config.kind in ("conv_lstm", "layer_norm_lstm"))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_transcripts_are_those_of_full_precision_whatever_the_batch(precision: str) -> None:
    whole = train_tone_recognizer()
    recognizer = Recognizer(
        model=whole.model,
        tokenizer=whole.tokenizer,
        feature_config=whole.feature_config,
        decoding=whole.decoding,
        statistics=whole.statistics,
        precision=precision,  # type: ignore[arg-type]
    )
    generator = np.random.default_rng(4)
    texts = ["cab bad", "dac", "ab ba cd bad cab", "cd cd ab"]
    samples = [speak(text, generator) for text in texts]
    assert [found.text for found in recognizer.transcribe_batch(samples, sample_rate=SAMPLE_RATE)] == texts
    assert [recognizer.transcribe(each, sample_rate=SAMPLE_RATE).text for each in samples] == texts


def test_a_run_is_loaded_in_8_bits(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "run")
    recognizer = Recognizer.load(folder.path, precision="int8")
    projection = recognizer.model.get_submodule("encoder.subsampling.projection")
    assert isinstance(projection, Int8Linear) == processor.multiplies_bytes()
    speech = [some_speech(seed, 1.0 + seed) for seed in range(3)]
    alone = [recognizer.transcripts([each, each])[0].pred_text for each in speech]
    assert [found.pred_text for found in recognizer.transcripts(speech)] == alone
    assert all(alone)


@every_bounded_cell
@pytest.mark.parametrize("units", [7, 40])  # less than a vector, and whole vectors with some units over
def test_a_step_of_bytes_is_that_of_the_numbers_they_stand_for(config: CellConfig, units: int) -> None:
    """From outputs that 8 bits hold, by weights that they hold: the largest and any others."""
    generator = torch.Generator().manual_seed(5)
    cell = config.model_copy(update={"hidden_size": units}).build(8).eval()
    integers = torch.randint(-127, 128, cell.recurrent_weight.shape, generator=generator)
    integers[0], integers[1, ::2], integers[:, 0] = 127, -127, 127
    with torch.inference_mode():
        cell.recurrent_weight.copy_(integers / 2048)
        inputs, state = torch.randn(19, 1, 8), [torch.randint(-127, 128, (19, units)) / 127.0]
        state[0][0], state[0][1] = 1.0, -1.0
        state += [torch.randn(19, units) for _ in range(cell.form.num_states - 1)]
        gates = cell.input_gates(inputs)
        expected = scan_reference(cell.recurrence(gates, tuple(state)))[0]
        quantize(nn.Sequential(cell))
        if cell.recurrent_bytes is None:
            pytest.skip("needs a C++ compiler and AVX2")
        found = scan(cell.recurrence(gates, tuple(state), in_bytes=True), cell.choose(19, 1))[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@every_bounded_cell
def test_an_utterance_in_8_bits_does_not_depend_on_its_batch(config: CellConfig) -> None:
    torch.manual_seed(6)
    layer = quantize(RecurrentLayer(config, 48, bidirectional=True).eval())
    lengths = torch.tensor([30, 7, 1, 22, 30, 13, 30, 30, 9])
    inputs = clear_padding(torch.randn(9, 30, 48), lengths)
    inputs[3] *= 1e3
    if layer.forwards.recurrent_bytes is None:
        pytest.skip("needs a C++ compiler and AVX2")
    with torch.inference_mode():
        together = layer(inputs, lengths)
        for number, length in enumerate(lengths.tolist()):
            alone = layer(inputs[number : number + 1, :length], lengths[number : number + 1])
            assert torch.equal(alone[0], together[number, :length])
    assert not together[1, 7:].any()


def test_without_fast_products_everything_stays_in_float32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processor, "multiplies_bytes", lambda: False)
    notice.cache_clear()
    model = nn.Sequential(LSTMConfig(hidden_size=8).build(4), nn.Linear(8, 3))
    quantize(quantize(model))
    assert isinstance(model[1], nn.Linear)
    assert model[0].choose(1, 20).runner == "builtin"
    assert [record.getMessage() for record in caplog.records] == [
        f"precision int8: this processor ({processor.name()}) has no fast products of 8 bits (AVX2); it computes in "
        "float32, which is as fast as fp32"
    ]


@need_bytes
@pytest.mark.usefixtures("fresh_kernels")
def test_without_a_compiler_lstm_layers_stay_with_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EARSHOT_COMPILED_CELLS", "0")
    notice.cache_clear()
    model = quantize(nn.Sequential(LSTMConfig(hidden_size=8).build(4), nn.Linear(8, 3)))
    assert isinstance(model[1], Int8Linear)
    assert model[0].choose(1, 20).runner == "builtin"
    assert "no compiled kernel for LSTM layers; they compute in float32" in caplog.text


@need_bytes
def test_what_is_computed_token_by_token_stays_in_float32() -> None:
    head = AttentionHeadConfig().build(16, vocabulary_size=5)
    quantize(nn.ModuleList([head]))
    assert not any(isinstance(part, Int8Linear) for part in head.modules())


def test_8_bits_are_for_processors() -> None:
    with pytest.raises(PrecisionError, match="precision: int8 on meta; expected a CPU; on a GPU use bf16"):
        quantize(nn.Linear(2, 2, device="meta"))


ALONE = Processes(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.mark.parametrize("has_halves", [True, False])
def test_auto_asks_the_processor_and_says_what_it_took(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_halves: bool
) -> None:
    monkeypatch.setattr(processor, "has_halves", lambda: has_halves)
    overrides = ["train.precision=auto", f"run_dir={tmp_path / 'run'}"]
    config, line = settle_precision(load_config(tone_config, overrides), ALONE)
    precision, can = ("bf16", "multiplies") if has_halves else ("fp32", "does not multiply")
    assert config.train.precision == precision
    assert line == f"precision: {precision}, auto: {name_device(ALONE.device)} {can} bfloat16"
    config, line = settle_precision(load_config(tone_config, ["train.precision=bf16", *overrides[1:]]), ALONE)
    assert config.train.precision == "bf16"
    assert line == "precision: bf16, as the configuration says"


@pytest.mark.parametrize("begun", ["bf16", "fp32"])
def test_a_run_goes_on_in_the_precision_in_which_it_was_begun(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    monkeypatch.setattr(processor, "has_halves", lambda: begun == "fp32")  # auto would take the other
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    (run / "config.yaml").write_text(
        load_config(tone_config, [f"train.precision={begun}", f"run_dir={run}"]).to_yaml(), encoding="utf-8"
    )
    config, line = settle_precision(load_config(tone_config, ["train.precision=auto", f"run_dir={run}"]), ALONE)
    assert config.train.precision == begun
    assert line == f"precision: {begun}, in which this run was begun"


def test_processes_on_different_processors_take_what_all_of_them_have(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "has_halves", lambda: True)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, False])
    config, _ = settle_precision(load_config(tone_config, ["train.precision=auto"]), ALONE)
    assert config.train.precision == "fp32"


def test_half_precision_of_a_gpu_is_refused_without_one(tone_config: Path) -> None:
    config = load_config(tone_config, ["train.precision=fp16"])
    with pytest.raises(
        PrecisionError, match=r"train.precision: 'fp16' on cpu \(.*; expected a GPU with CUDA: go on with"
    ):
        settle_precision(config, ALONE)


def test_bfloat16_is_float32_with_one_notice_where_the_processor_lacks_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    notice.cache_clear()
    monkeypatch.setattr(processor, "has_halves", lambda: False)
    layer, inputs = nn.Conv1d(3, 4, 5), torch.randn(2, 3, 20)
    for _ in range(2):
        with autocast("bf16", torch.device("cpu")):
            assert layer(inputs).dtype == torch.float32
    assert [record.getMessage() for record in caplog.records] == [
        f"precision bf16: this processor ({processor.name()}) has no products of it (AVX512_BF16 or AMX); it "
        "computes in float32, which is as fast as fp32"
    ]
    monkeypatch.setattr(processor, "has_halves", lambda: True)
    with autocast("bf16", torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu")
