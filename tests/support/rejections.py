"""Reads a threshold that was kept, the way programs do."""

from pathlib import Path

from asr.understanding.rejection import Rejection
from asr.understanding.sizes import choose_rejection


def load_rejection(run: Path, *, grammar: str, model: str) -> Rejection:
    """Returns the threshold that a grammar of one sentence has."""
    return choose_rejection(run, grammar=grammar, num_sentences=1, model=model).rejection
