"""What a model card says of figures on recordings that were trained on."""

from dataclasses import replace
from pathlib import Path

import pytest

from asr.config.recognizer import load_config
from asr.data.manifest import Manifest
from asr.data.manifest_writing import write_manifest
from asr.runs.folder import RunFolder
from asr.training.experiment import try_experiment
from asr.training.model_card import write_model_card
from tests.support.tones import write_config, write_tone_corpus


@pytest.mark.parametrize("num_shared", [0, 3, 12])
def test_a_card_never_calls_recall_dev_wer(tmp_path: Path, num_shared: int) -> None:
    corpus = write_tone_corpus(tmp_path)
    trained, held = list(Manifest.read(corpus / "train.jsonl")), list(Manifest.read(corpus / "dev.jsonl"))
    # The first of the dev recordings are trained on too, from their middle; the others after their end only.
    shared = [
        replace(item, offset=item.duration / 2 if number < num_shared else item.duration)
        for number, item in enumerate(held)
    ]
    write_manifest(corpus / "train.jsonl", [*trained, *shared])
    experiment = try_experiment(load_config(write_config(tmp_path / "tones.yaml", corpus), []))
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    write_model_card(run, experiment, figures={"wer": 0.02, "cer": 0.01}, weights="the last")
    card = run.card_path.read_text()
    assert ("| dev WER | 2.00% |" in card) == (num_shared == 0)
    assert ("| recall of the training data (WER) | 2.00% |" in card) == (num_shared > 0)
    if num_shared:
        assert f"{num_shared} of the 12 utterances of the dev data were trained on too" in card
        assert "no dev WER is known; score a test split" in card
