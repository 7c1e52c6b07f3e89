"""Every conf/*.yaml trains two steps: on tones instead of its corpus, with all else as written."""

from pathlib import Path

import pytest

from asr.config import load_config, read_yaml
from asr.recognizer import Recognizer
from asr.train import main

ROOT = Path(__file__).resolve().parents[1]
CONFS = [path for path in sorted((ROOT / "conf").glob("*.yaml")) if "data" in read_yaml(path.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFS, ids=lambda path: path.stem)
def test_it_trains_two_steps_and_recognises(path: Path, tone_corpus: Path, tmp_path: Path) -> None:
    overrides = [
        f"run_dir={tmp_path / 'run'}",
        f"data.train=[{{manifest: {tone_corpus}/train.jsonl}}]",
        f"data.dev.manifest={tone_corpus}/dev.jsonl",
        "data.batch_seconds=10",
        "data.num_workers=0",
        "train.max_steps=2",
        "tracking.trackers=[]",
    ]
    config = load_config(path)
    if config.tokenizer.kind == "sentencepiece":
        overrides.append("tokenizer.vocabulary_size=14")  # the tones have few words
    places = [number for number, augmentation in enumerate(config.augment) if hasattr(augmentation, "folder")]
    overrides += [f"augment.{number}.folder={tone_corpus}/dev" for number in places]
    assert main([str(path), *overrides]) == 0
    recognizer = Recognizer.load(tmp_path / "run")
    assert isinstance(recognizer.transcribe(next((tone_corpus / "dev").iterdir())).text, str)
