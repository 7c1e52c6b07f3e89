"""Checkpoints: whole or not at all, the newest two kept, a damaged one passed over, a full disk said."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asr.runs.checkpoint import NUM_KEPT, CheckpointError, load_newest_checkpoint, save_checkpoint

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
