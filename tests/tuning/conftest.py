"""Trainings that take no time, for studies of many."""

import sys
from pathlib import Path

import pytest

PRETENDED = [sys.executable, str(Path(__file__).resolve().parents[1] / "support/pretended_training.py")]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that take no time."""
    monkeypatch.setattr("asr.tuning.child.train_command", lambda config: [*PRETENDED, str(config)])
    monkeypatch.setattr("asr.tuning.child.SECONDS_FOR_A_REQUEST", 0.01)
    monkeypatch.setattr("asr.tuning.child.SECONDS_BETWEEN_LOOKS", 0.02)
