"""Checkpoints that survive a kill at any moment: written beside, synced, renamed; read back only when whole.

RUN/checkpoints/step-00000500/state.safetensors   weights and optimizer moments, flat: "model/...", "optimizer/..."
RUN/checkpoints/step-00000500/state.json          step, epoch, position, everything that is not a tensor, SHA-256
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from asr.files.checked_json import read_object
from asr.files.digest import file_digest
from asr.files.replacing import replacing
from asr.files.tensors import check_finite, read_tensors

NUM_KEPT = 2  # the newest may be damaged; the one before it is the way back


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read."""


class CheckpointRecord(BaseModel):
    """Holds what state.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    step: int = Field(ge=0)
    sha256: str = Field(description="of state.safetensors")
    state: dict[str, JsonValue] = Field(description="all that is no tensor; the training checks it")


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, Tensor]  # flat, by name
    state: dict[str, Any]  # JSON values


def save_checkpoint(folder: Path, *, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write one checkpoint whole or not at all; then drop all but the newest two. Raises CheckpointError if full."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    beside = folder / f".writing-{step:08d}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        write_tensors(beside / "state.safetensors", tensors)
        record = {"step": step, "sha256": file_digest(beside / "state.safetensors"), "state": dict(state)}
        write_text(beside / "state.json", json.dumps(record, indent=1))
        sync_folder(beside)
        shutil.rmtree(final, ignore_errors=True)
        beside.rename(final)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        free = shutil.disk_usage(folder).free
        raise CheckpointError(
            f"{final}: cannot write the checkpoint ({error}); {free / 2**20:.1f} MiB are free there. The checkpoint "
            "before it is whole: make room and rerun the same command to go on from it"
        ) from error
    for old in sorted(folder.glob("step-*"))[:-NUM_KEPT]:
        shutil.rmtree(old)
    return final


def load_newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Returns the newest whole checkpoint, or None; and a sentence for each damaged one, which is set aside."""
    notes = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            return _read(path), notes
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            notes.append(f"{path}: damaged checkpoint ({error}); set aside as {aside.name}, using the one before it")
    return None, notes


def _read(path: Path) -> Checkpoint:
    weights_path, remedy = path / "state.safetensors", "remove this checkpoint"
    record = read_object(path / "state.json", CheckpointRecord, error=CheckpointError, remedy=remedy)
    digest = file_digest(weights_path)
    if digest != record["sha256"]:
        raise CheckpointError(f"SHA-256 is {digest[:12]}..., state.json says {record['sha256'][:12]}...")
    tensors = read_tensors(weights_path, remedy=remedy, is_finite=False)  # an optimizer's moment may have overflowed
    weights = {name: value for name, value in tensors.items() if not name.startswith("optimizer/")}
    check_finite(weights_path, weights, remedy=remedy)
    return Checkpoint(record["step"], tensors, record["state"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns an optimizer's state, flat: `{parameter}/{name}` -> tensor."""
    moments = optimizer.state_dict()["state"]
    return {f"{index}/{name}": value for index, values in moments.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undoes `optimizer_tensors`; learning rates and the like stay as they are."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, separator, name = key.partition("/")
        if not separator or not index.isdecimal() or len(index) > 9:
            raise CheckpointError(f"checkpoint: the tensor 'optimizer/{key:.60}'; expected optimizer/NUMBER/NAME")
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value.detach().cpu().contiguous() for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Weights to a safetensors file, whole or not at all."""
    with replacing(path) as beside:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, beside)


def write_text(path: Path, text: str) -> None:
    """Writes a small file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
