"""Fewer bits: integers are exact beside any neighbours, and near the numbers that they stand for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asr.config.recognizer import load_config
from asr.distributed import Processes
from asr.model.cells import CellConfig, ConvLSTMConfig, GRUConfig, LayerNormLSTMConfig, LSTMConfig, ProjectedLSTMConfig
from asr.model.scan import processor
from asr.model.scan.cpu.build import notice
from asr.recognition.precision import (
    Int8Linear,
    PrecisionError,
    autocast,
    multiply_bytes,
    name_device,
    quantize,
    settle_precision,
)
from asr.recognizer import Recognizer
from tests.support.small_run import some_speech, write_small_run
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import SAMPLE_RATE, speak


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


@pytest.mark.parametrize("has_bytes", [True, False])
def test_products_of_bytes_are_exact(has_bytes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the largest values there are, which overflow in 16 bits, and more of them than float32 adds exactly."""
    if has_bytes and not processor.has_bytes():
        pytest.skip("needs a processor that multiplies 8 bits (VNNI)")
    monkeypatch.setattr(processor, "has_bytes", lambda: has_bytes)
    generator = torch.Generator().manual_seed(3)
    rows, columns = (
        torch.randint(-127, 128, shape, generator=generator).to(torch.int8) for shape in ((5, 3000), (3000, 7))
    )
    rows[0], columns[:, 0] = 127, 127
    rows[1] = -127
    expected = (rows.double() @ columns.double()).float()
    assert torch.equal(multiply_bytes(rows, columns), expected)


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(1)
    layer = Int8Linear(torch.randn(33, 50), torch.randn(33))
    rows = torch.randn(20, 50)
    loud = torch.cat((rows, 1e4 * torch.randn(5, 50)))
    assert torch.equal(layer(rows), layer(loud)[:20])
    assert torch.equal(layer(rows[3]), layer(rows)[3])


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
    assert (cell.input_product is None) == (type(cell).input_gates is not type(cell).__mro__[1].input_gates)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_transcripts_are_those_of_full_precision_whatever_the_batch(precision: str) -> None:
    whole = train_tone_recognizer()
    recognizer = Recognizer(
        model=whole.model,
        tokenizer=whole.tokenizer,
        features=whole.feature_config,
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
    assert isinstance(recognizer.model.encoder.subsampling.projection, Int8Linear)
    speech = [some_speech(seed, 1.0 + seed) for seed in range(3)]
    alone = [recognizer.transcripts([each, each])[0].pred_text for each in speech]
    assert [found.pred_text for found in recognizer.transcripts(speech)] == alone
    assert all(alone)


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
