"""Fewer bits: integers are exact beside any neighbours, and near the numbers that they stand for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asr.cells import CellConfig, ConvLSTMConfig, GRUConfig, LayerNormLSTMConfig, LSTMConfig, ProjectedLSTMConfig
from asr.precision import Int8Linear, PrecisionError, quantize
from asr.recognizer import Recognizer
from tests.small_run import some_speech, write_small_run
from tests.tone_recognizer import train_tone_recognizer
from tests.tones import SAMPLE_RATE, speak


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
