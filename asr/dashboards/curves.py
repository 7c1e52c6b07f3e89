"""Reads the figures of a run from its JSON lines; a line that cannot be read is said, and the rest is kept.

metrics.jsonl   {"step": 120, "train/loss": 1.25}   ->   {"train/loss": [(120, 1.25)]}
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.config.language_model import load_experiment
from asr.config.reading import ConfigError
from asr.files.json_lines import LineError, parse_object
from asr.runs.folder import RunFolder, flatten
from asr.tracking.lines import METRICS_FILE, SPEED_FILE

NUM_TRANSCRIPTS = 20  # of each evaluation


class DashboardError(ValueError):
    """Runs, or a stored curve, that cannot be drawn."""


@dataclass(frozen=True)
class RunCurves:
    """Holds what a dashboard shows of one run."""

    name: str
    series: dict[str, list[tuple[int, float]]]  # by figure: (step, value)
    epochs: list[tuple[int, float]]  # (step, epochs done), where both are known exactly
    config: dict[str, str]  # dotted key -> value as text
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_run(path: Path) -> RunCurves:
    """Returns a run's curves, configuration and evaluations; raises DashboardError where there is no such folder."""
    if not path.is_dir():
        raise DashboardError(f"{path}: no such folder; expected a run folder of asr.train")
    problems: list[str] = []
    rows = [row for name in (METRICS_FILE, SPEED_FILE) for row in _read_rows(path / name, problems)]
    series: dict[str, list[tuple[int, float]]] = {}
    epochs: list[tuple[int, float]] = [(0, 0.0)]
    for row in rows:
        step = row["step"]
        for name, value in row.items():
            if name not in ("step", "train/epoch") and value is not None:
                series.setdefault(name, []).append((step, float(value)))
        if any(name.startswith("dev/") for name in row) and row.get("train/epoch") and step > epochs[-1][0]:
            epochs.append((step, float(row["train/epoch"])))
    config, evaluations = _read_config(path, problems), _read_evaluations(path, problems)
    return RunCurves(path.name or str(path), series, epochs, config, evaluations, problems)


def _read_rows(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Returns the lines of a file that hold figures; what is wrong with the others is added to the problems."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.append(
            f"{path}: cannot be read ({error.strerror}); expected the figures of a training, with the tracker jsonl"
        )
        return []
    rows: list[dict[str, Any]] = []
    lines = content.split(b"\n")[:-1]  # a line without its end is being written, or was torn by a kill
    for number, line in enumerate(lines, 1):
        found = _parse_row(line)
        if isinstance(found, str):
            problems.append(f"{path}:{number}: {found}; the line is left out")
        else:
            rows.append(found)
    return rows


def _parse_row(line: bytes) -> dict[str, Any] | str:
    """Returns the figures of a line, or what is wrong with it."""
    try:
        row = parse_object(line, is_finite=False)
    except LineError as error:
        return str(error)
    if type(row.get("step")) is not int:
        return f"found {line[:40]!a}; expected figures with a step, a whole number"
    for name, value in row.items():
        if not _is_figure(value):
            return f"{name}: found {value!a:.40}; expected a finite number or null"
    return row


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _read_config(path: Path, problems: list[str]) -> dict[str, str]:
    config_path = RunFolder(path).config_path
    if not config_path.exists():
        return {}
    try:
        values = load_experiment(config_path).to_dict()
    except ConfigError as error:
        problems.append(f"{error}; its keys are left out of the comparison")
        return {}
    return {key: str(value) for key, value in flatten(values).items()}


def _read_evaluations(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Returns the error rates of each evaluation that lies in the run folder, with a few of its transcripts."""
    found = []
    for file in sorted(path.rglob("results.json")):
        try:
            results = json.loads(file.read_bytes())
            rates = {"manifest": str(results["manifest"]), "utterances": int(results["num_utterances"])}
            # Recordings whose commands alone are known have no transcripts to count errors in.
            rates |= {name: float(results[name]["rate"]) for name in ("wer", "cer") if name in results}
            if understood := results.get("understanding", {}).get("understood"):
                rates["understood"] = f"{int(understood['number'])} of {int(understood['total'])}"
        except (ValueError, KeyError, TypeError, OSError) as error:
            problems.append(f"{file}: {type(error).__name__} {error}; expected what asr.evaluate writes")
            continue
        rates["transcripts"] = _read_transcripts(file.with_name("utterances.jsonl"), problems)
        found.append(rates)
    return found


def _read_transcripts(path: Path, problems: list[str]) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    found = []
    with path.open("rb") as lines:
        for number, line in zip(range(1, NUM_TRANSCRIPTS + 1), lines):
            try:
                row = parse_object(line)
            except LineError as error:
                problems.append(f"{path}:{number}: {error}; the line is left out")
                continue
            found.append((str(row.get("text", "")), str(row.get("pred_text", ""))))
    return found


def differing_keys(runs: list[RunCurves]) -> list[tuple[str, list[str]]]:
    """Returns the keys of the configurations whose values are not the same in all runs, with each run's value."""
    keys = sorted({key for run in runs for key in run.config} - {"run_dir"})
    rows = [(key, [run.config.get(key, "–") for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
