"""Every conf/*.yaml trains two steps: on tones instead of its corpus, with all else as written."""

from pathlib import Path

import pytest
import torch

from asr.config.reading import read_yaml
from asr.config.recognizer import load_config
from asr.recognizer import Recognizer
from asr.runs.language_model import load_language_model
from asr.text import BOS_ID, load_tokenizer
from asr.train import main

ROOT = Path(__file__).resolve().parents[2]
VALUES = {path: read_yaml(path.read_text()) for path in sorted((ROOT / "conf").glob("*.yaml"))}
CONFS = [path for path, values in VALUES.items() if "data" in values]
RECOGNIZERS = [path for path in CONFS if "kind" not in VALUES[path]]
LANGUAGE_MODELS = [path for path in CONFS if "kind" in VALUES[path]]


@pytest.mark.slow
@pytest.mark.parametrize("path", RECOGNIZERS, ids=lambda path: path.stem)
def test_it_trains_two_steps_and_recognises(path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    overrides = [
        f"run_dir={tmp_path / 'run'}",
        f"data.train=[{{manifest: {tone_corpus}/train.jsonl}}]",
        f"data.dev={{manifest: {tone_corpus}/dev.jsonl}}",
        "data.batch_seconds=10",
        "data.num_workers=0",
        "train.max_steps=2",
        "tracking.trackers=[]",
        "init_from=null",
    ]
    config = load_config(path)
    if config.tokenizer.kind == "sentencepiece":
        overrides.append("tokenizer.vocabulary_size=14")  # the tones have few words
    places = [number for number, augmentation in enumerate(config.augment) if hasattr(augmentation, "folder")]
    overrides += [f"augment.{number}.folder={tone_corpus}/dev" for number in places]
    places = [number for number, augmentation in enumerate(config.augment) if hasattr(augmentation, "manifest")]
    overrides += [f"augment.{number}.manifest={tone_corpus}/train.jsonl" for number in places]
    if config.tokenizer.kind == "run":  # of a run that only the recipe makes
        overrides.append("tokenizer={kind: run, run: models/english}")
    assert main([str(path), *overrides]) == 0
    recognizer = Recognizer.load(tmp_path / "run")
    assert isinstance(recognizer.transcribe(next((tone_corpus / "dev").iterdir())).text, str)


@pytest.mark.slow
@pytest.mark.parametrize("path", LANGUAGE_MODELS, ids=lambda path: path.stem)
def test_a_language_model_is_made_and_scores_tokens(path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    overrides = [
        f"run_dir={tmp_path / 'run'}",
        f"data.train=[{{manifest: {tone_corpus}/train.jsonl}}]",
        f"data.dev.manifest={tone_corpus}/dev.jsonl",
        "tokenizer={kind: char}",
    ]
    if VALUES[path]["kind"] == "language_model":
        overrides += ["train.max_steps=2", "tracking.trackers=[]"]
    assert main([str(path), *overrides]) == 0
    scorer = load_language_model(tmp_path / "run", load_tokenizer(tmp_path / "run" / "tokenizer"))
    scores, _ = scorer.step(torch.tensor([BOS_ID]), scorer.start(1, torch.device("cpu")))
    assert float(scores.exp().sum()) == pytest.approx(1.0, abs=1e-4)
