"""Taking up a checkpoint again: of this learner, or refused with what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from asr.runs.checkpoint import Checkpoint, CheckpointError, load_newest_checkpoint
from asr.runs.folder import RunFolder
from asr.training.progress import Learner, Progress


def learner() -> Learner:
    model = nn.Linear(2, 3)
    return Learner(model, torch.optim.Adam(model.parameters()), torch.amp.GradScaler("cpu", enabled=False), None)


def saved(folder: Path) -> Checkpoint:
    scores = [{"epoch": 0, "wer": 0.5, "loss": float("inf")}]
    learner().save(RunFolder(folder), Progress(step=7, head_loss_sums=[0.5], scores=scores))
    checkpoint, notes = load_newest_checkpoint(RunFolder(folder).checkpoints_path)
    assert not notes
    assert checkpoint is not None
    return checkpoint


def test_a_checkpoint_is_taken_up_again(tmp_path: Path) -> None:
    checkpoint, other = saved(tmp_path), learner()
    progress = other.restore(checkpoint)
    assert (progress.step, progress.scores[0]["loss"]) == (7, float("inf"))
    assert torch.equal(other.model.weight, checkpoint.tensors["model/weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": "7"}, r"checkpoint of step 7: progress\.step: found '7'.*remove this checkpoint"),
        ({"steps": 7}, r"progress\.steps: found 7"),
        ({"scores": [{"wer": 0.5}]}, r"checkpoint of step 7: progress\.scores: a score without its epoch; remove"),
        ({"scores": [{"epoch": 0, "wer": "x"}]}, r"progress\.scores\.0\.wer: found 'x'"),
    ],
)
def test_progress_of_something_else_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    checkpoint = saved(tmp_path)
    checkpoint.state["progress"].update(change)
    with pytest.raises(CheckpointError, match=message):
        learner().restore(checkpoint)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    checkpoint.tensors["model/weight"] = torch.zeros(4, 2)
    with pytest.raises(CheckpointError, match=r"(?s)weights .* model/weight: found \(4, 2\); expected \(3, 2\)"):
        learner().restore(checkpoint)
