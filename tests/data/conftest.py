"""The experiment whose data sets and batches are tested."""

from pathlib import Path

import pytest

from asr.config.recognizer import load_config
from asr.training.experiment import RecognizerExperiment, build_experiment, train_tokenizer


@pytest.fixture
def experiment(tone_config: Path) -> RecognizerExperiment:
    config = load_config(tone_config)
    return build_experiment(config, train_tokenizer(config), None)
