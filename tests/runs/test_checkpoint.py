"""Checkpoints: whole or not at all, the newest two kept, a damaged one passed over, a full disk said."""

import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asr.runs.checkpoint import NUM_KEPT, CheckpointError, load_newest_checkpoint, restore_optimizer, save_checkpoint

FEW = {"model/weight": torch.arange(6.0).reshape(2, 3)}
MANY = {"model/weight": torch.zeros(1_000_000)}


@pytest.fixture
def almost_full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 256 KiB: writing fails in the system, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_newest_checkpoints_are_kept_and_read_back(tmp_path: Path) -> None:
    assert load_newest_checkpoint(tmp_path) == (None, [])
    for step in (1, 5, 20):
        save_checkpoint(tmp_path, step=step, tensors=FEW, state={"epoch": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000020"]
    assert NUM_KEPT == 2
    checkpoint, notes = load_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.state, notes) == (20, {"epoch": 20}, [])
    assert torch.equal(checkpoint.tensors["model/weight"], FEW["model/weight"])


def test_a_full_disk_is_named_and_the_checkpoint_before_stays_whole(tmp_path: Path, almost_full_disk: None) -> None:
    save_checkpoint(tmp_path, step=1, tensors=FEW, state={})
    with pytest.raises(
        CheckpointError,
        match=r"step-00000002: cannot write the checkpoint \(.*\); [\d.]+ MiB are free there\. The checkpoint before",
    ):
        save_checkpoint(tmp_path, step=2, tensors=MANY, state={})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    checkpoint, notes = load_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.step, notes) == (1, [])


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_set_aside_with_the_reason(tmp_path: Path, name: str) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step=step, tensors=FEW, state={})
    damaged = tmp_path / "step-00000002" / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    checkpoint, notes = load_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert [note.partition(" (")[0] for note in notes] == [f"{tmp_path}/step-00000002: damaged checkpoint"]
    assert (tmp_path / "damaged-step-00000002").is_dir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"step: missing"),
        ('{"step": -1, "sha256": "", "state": {}}', r"step: found -1; input should be greater than or equal to 0"),
        ('{"step": 1, "sha256": "", "state": []}', r"state: found \[\]"),
        ("[1]", "list; expected a JSON object"),
    ],
)
def test_a_record_of_something_else_is_set_aside(tmp_path: Path, content: str, message: str) -> None:
    save_checkpoint(tmp_path, step=1, tensors=FEW, state={})
    (tmp_path / "step-00000001" / "state.json").write_text(content)
    checkpoint, notes = load_newest_checkpoint(tmp_path)
    assert checkpoint is None
    assert re.search(rf"damaged checkpoint \(.*state\.json: {message}", notes[0]), notes


def test_weights_that_are_not_finite_are_set_aside(tmp_path: Path) -> None:
    """A moment of the optimizer may overflow, a weight may not."""
    moments = {**FEW, "optimizer/0/exp_avg_sq": torch.tensor([torch.inf])}
    save_checkpoint(tmp_path, step=1, tensors=moments, state={})
    save_checkpoint(tmp_path, step=2, tensors={"average/weight": torch.tensor([torch.nan])}, state={})
    checkpoint, notes = load_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert re.search(r"average/weight: 1 of 1 numbers are NaN or infinite", notes[0])


@pytest.mark.parametrize("name", ["exp_avg", "x/exp_avg", "12345678901/exp_avg"])
def test_moments_without_a_number_are_refused(name: str) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1)])
    with pytest.raises(CheckpointError, match=f"the tensor 'optimizer/{name}'; expected optimizer/NUMBER/NAME"):
        restore_optimizer(optimizer, {name: torch.zeros(1)})
