"""Exports a run: packs it into a new folder, and says which measurements of it must be made again."""

from pathlib import Path
from typing import Literal

from asr.exports.packed import pack_run
from asr.recognition.confidence import FILE_NAME as CONFIDENCE
from asr.runs.folder import RunFolder
from asr.understanding.rejection import FILE_NAME as REJECTION


def run(run_dir: Path, folder: Path, *, precision: Literal["fp16", "fp32"]) -> None:
    """Packs `run_dir` into `folder`, and prints its size and the commands that measure what was left behind."""
    packed = pack_run(run_dir, folder, precision=precision)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{run_dir} -> {packed.path}: {size / 1e6:.2f} MB, weights in {precision}")
    left = {
        RunFolder(run_dir).label_priors_path: f"python -m asr.commands priors {packed.path} DEV_MANIFEST",
        run_dir / CONFIDENCE: f"python -m asr.evaluate {packed.path} DEV_MANIFEST --calibrate-confidence",
        run_dir / REJECTION: f"python -m asr.commands calibrate {packed.path} GRAMMAR --negatives MANIFEST",
    }
    for path, command in left.items():
        if path.is_file():
            print(f"{path.name} is of the old weights; for the new ones: {command}")
