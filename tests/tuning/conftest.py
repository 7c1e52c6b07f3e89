"""Trainings that take no time, for studies of many."""

import sys
from pathlib import Path

import pytest

from asr.tuning import child

PRETENDED = [sys.executable, str(Path(__file__).resolve().parents[1] / "support/pretended_training.py")]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that take no time."""
    monkeypatch.setattr(child, "train_command", lambda config: [*PRETENDED, str(config)])
    monkeypatch.setattr(child, "SECONDS_FOR_A_REQUEST", 0.01)
    monkeypatch.setattr(child, "SECONDS_BETWEEN_LOOKS", 0.02)
