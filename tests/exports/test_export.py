"""A run handed on: smaller, read by every program, and it hears the same."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr.data.features import FeatureConfig
from asr.export import main
from asr.exports.packed import PackingError, pack_run
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from tests.support.small_run import some_speech, write_small_run


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("normalization", ["utterance", "global"])
def test_a_packed_run_hears_the_same(tmp_path: Path, precision: str, normalization: str) -> None:
    run = write_small_run(tmp_path / "run", features=FeatureConfig(num_mels=20, normalization=normalization))  # type: ignore
    (run.path / "checkpoints").mkdir()
    assert main([str(run.path), str(tmp_path / "packed"), "--precision", precision]) == 0
    packed = RunFolder(tmp_path / "packed")
    kinds = {value.dtype for value in load_file(packed.model_path).values()}
    assert kinds == {torch.float16 if precision == "fp16" else torch.float32}
    assert not packed.checkpoints_path.exists()
    before, after = Recognizer.load(run.path), Recognizer.load(packed.path)
    speech = [some_speech(seed, 2.0) for seed in range(3)]
    texts = [each.text for each in before.transcribe_batch(speech, sample_rate=16_000)]
    assert all(texts)
    assert [each.text for each in after.transcribe_batch(speech, sample_rate=16_000)] == texts


def test_what_is_to_be_measured_again_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_small_run(tmp_path / "run")
    (run.path / "rejection.json").write_text("{}")
    (run.path / "autoencoder.safetensors").write_bytes(b"of log-mels")
    run.card_path.write_text(f"python -m asr.evaluate {run.path} TEST_MANIFEST")
    assert main([str(run.path), str(tmp_path / "packed")]) == 0
    said = capsys.readouterr().out
    assert f"asr.commands calibrate {tmp_path / 'packed'} GRAMMAR" in said
    assert "priors" not in said
    assert not (tmp_path / "packed/rejection.json").exists()
    assert (tmp_path / "packed/autoencoder.safetensors").read_bytes() == b"of log-mels"
    assert (tmp_path / "packed/README.md").read_text() == f"python -m asr.evaluate {tmp_path / 'packed'} TEST_MANIFEST"


def test_a_folder_in_use_and_weights_too_large_are_refused(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "run")
    with pytest.raises(PackingError, match="run: not empty; expected a new folder"):
        pack_run(run.path, run.path, precision="fp16")
    weights = load_file(run.model_path)
    weights["heads.0.projection.bias"][0] = 1e6
    run.write_model(weights)
    with pytest.raises(PackingError, match=r"heads.0.projection.bias: 1e\+06 is more than half precision holds"):
        pack_run(run.path, tmp_path / "packed", precision="fp16")
