"""Stores a run's curves as bands, to be drawn behind those of other runs.

{"format": 1, "name": "english", "bands": {"train/loss": [[120, 1.1, 1.4], ...]}}   step, lowest, highest
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from asr.dashboards.curves import DashboardError, RunCurves
from asr.files.checked_json import read_object
from asr.files.replacing import replacing

NUM_STRETCHES = 60  # of a curve; in each one its lowest and highest value is kept


class ReferenceCurve(BaseModel):
    """Says what a stored curve holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int = Field(ge=1, le=1)
    name: str
    bands: dict[str, list[tuple[int, float, float]]]


def save_reference(run: RunCurves, path: Path) -> None:
    """Writes the bands of every curve of a run that has at least two points."""
    if not run.series:
        raise DashboardError(f"{run.name}: no figures to store; expected a metrics.jsonl with lines")
    bands = {name: _band(points) for name, points in run.series.items() if len(points) > 1}
    with replacing(path) as beside:
        beside.write_text(json.dumps({"format": 1, "name": run.name, "bands": bands}) + "\n", encoding="utf-8")


def load_reference(path: Path) -> dict[str, Any]:
    """Returns a stored curve; raises DashboardError where the file holds something else."""
    remedy = "store one with --store-curve"
    try:
        return read_object(path, ReferenceCurve, error=DashboardError, remedy=remedy)
    except OSError as error:
        raise DashboardError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None


def _band(points: list[tuple[int, float]]) -> list[tuple[int, float, float]]:
    size = -(-len(points) // NUM_STRETCHES)
    stretches = [points[max(0, at - size) : at + 2 * size] for at in range(0, len(points), size)]
    middles = [points[min(at + size // 2, len(points) - 1)][0] for at in range(0, len(points), size)]
    lows_and_highs = [(min(value for _, value in each), max(value for _, value in each)) for each in stretches]
    return [(step, low, high) for step, (low, high) in zip(middles, lows_and_highs, strict=True)]
