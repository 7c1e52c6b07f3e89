"""One training of a comparison: run as a program of its own, scored on the test split, and kept as figures."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from asr.comparison.members import ComparisonConfig, Member
from asr.data.manifest import Manifest
from asr.files.checked_json import read_object
from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import split_lines
from asr.metrics import ErrorCounts, count_word_errors
from asr.process.runtime import EXIT_OK
from asr.recognizer import Recognizer
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.section import Section
from asr.tracking.lines import METRICS_FILE, SPEED_FILE

RESULT_FILE = "comparison.json"


class TrialError(ValueError):
    """A training or a scoring that failed."""


@dataclass(frozen=True)
class Trial:
    """One member with one seed."""

    member: Member
    seed: int
    path: Path  # the run folder


@dataclass(frozen=True)
class TrialResult:
    """Holds what a finished trial gave."""

    test_digest: str
    words: tuple[ErrorCounts, ...]  # of each test utterance
    peak_bytes: int  # resident, the most that one process of the training had
    seconds: float  # of the training's process, where it was never interrupted all of the training
    epoch_seconds: float | None  # of training alone, from its own speed
    dev_curve: tuple[tuple[int, float], ...]  # epoch, dev WER

    @property
    def rate(self) -> float:
        return sum(self.words, start=ErrorCounts()).rate


class _Counts(Section):
    hits: int = Field(ge=0)
    substitutions: int = Field(ge=0)
    deletions: int = Field(ge=0)
    insertions: int = Field(ge=0)


class _KeptResult(Section):
    """RESULT_FILE: a TrialResult, and the command that made it."""

    command: list[str]
    test_digest: str
    words: list[_Counts] = Field(min_length=1)
    peak_bytes: int = Field(ge=0)
    seconds: float = Field(ge=0.0)
    epoch_seconds: float | None = Field(ge=0.0)
    dev_curve: list[tuple[int, float]]


def trials_of(comparison: ComparisonConfig, members: Sequence[Member]) -> list[Trial]:
    """Seed by seed, so that after the first round there is something of every member."""
    folder = Path(comparison.run_dir)
    return [
        Trial(member, seed, folder / member.name / f"seed-{seed}") for seed in comparison.seeds for member in members
    ]


def run_trial(trial: Trial, comparison: ComparisonConfig) -> TrialResult:
    """Train and score, or read what an earlier call kept. Raises TrialError, with the training's last words."""
    command = train_command(trial, comparison)
    kept = _read_result(trial, command, Manifest.read(comparison.test).digest)
    if kept is not None:
        return kept
    started = time.perf_counter()
    peak_bytes = run_training(command, trial.path.with_suffix(".log"), group=Path(comparison.run_dir).name)
    seconds = time.perf_counter() - started
    result = TrialResult(
        test_digest=Manifest.read(comparison.test).digest,
        words=score_words(trial, comparison.test),
        peak_bytes=peak_bytes,
        seconds=seconds,
        epoch_seconds=_epoch_seconds(trial),
        dev_curve=_dev_curve(trial),
    )
    write_text(trial.path / RESULT_FILE, json.dumps({"command": command[1:], **asdict(result)}) + "\n")
    return result


def train_command(trial: Trial, comparison: ComparisonConfig) -> list[str]:
    trackers = ",".join(comparison.trackers)
    return [
        sys.executable, "-m", "asr.train", str(trial.member.config_path), *trial.member.overrides,
        f"seed={trial.seed}", f"run_dir={json.dumps(str(trial.path))}", f"tracking.trackers=[{trackers}]",
        f"tracking.name={json.dumps(f'{trial.member.name}-{trial.seed}')}",
    ]  # fmt: skip


def run_training(command: Sequence[str], log: Path, *, group: str) -> int:
    """Run to the end and give the peak of its memory in bytes; its output goes into `log`.

    Raises TrialError when it fails. When this process is interrupted, the training is asked to save and stop.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "WANDB_RUN_GROUP": group}
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != EXIT_OK:
        lines = split_lines(log.read_text(encoding="utf-8", errors="replace").strip())
        last = [line for line in lines if line.startswith("error: ")][-1:] or lines[-1:] or ["it said nothing"]
        raise TrialError(f"the training ended with exit code {process.returncode}: {last[0]} (all of it: {log})")
    return usage.ru_maxrss * 1024  # Linux counts in KiB


def score_words(trial: Trial, test: str) -> tuple[ErrorCounts, ...]:
    """Returns the word errors of each test utterance. Raises TrialError for one that cannot be read: all must be the
    same.
    """
    utterances = list(Manifest.read(test))
    stretches = [item.stretch for item in utterances]
    texts: dict[int, str] = {}
    recognizer = Recognizer.load(trial.path)
    for outcome in recognizer.transcribe_stretches(stretches, [item.duration for item in utterances]):
        if outcome.transcription is None:
            raise TrialError(f"{test}: {utterances[outcome.index].id}: {outcome.error}")
        texts[outcome.index] = outcome.transcription.text
    return tuple(count_word_errors([item.text for item in utterances], [texts[i] for i in range(len(utterances))]))


def _read_result(trial: Trial, command: list[str], test_digest: str) -> TrialResult | None:
    """Returns the kept result, where it is of the same command and test split and its weights are still there."""
    path = trial.path / RESULT_FILE
    if not path.exists() or not RunFolder(trial.path).model_path.exists():
        return None
    remedy = "remove it, and the trained run is scored again"
    values = read_object(path, _KeptResult, error=TrialError, remedy=remedy)
    if values.pop("command") != command[1:] or values["test_digest"] != test_digest:
        return None
    values["words"] = tuple(ErrorCounts(**counts) for counts in values["words"])
    values["dev_curve"] = tuple((epoch, rate) for epoch, rate in values["dev_curve"])
    return TrialResult(**values)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(split_lines(path.read_text(encoding="utf-8")), 1):
        try:
            found.append(parse_object(line, is_finite=False))
        except LineError as error:
            raise TrialError(f"{path}:{number}: {error}; remove this line, which only the report needs") from error
    return found


def _epoch_seconds(trial: Trial) -> float | None:
    """Returns seconds for the audio of one epoch at the median speed of the training, without its validation."""
    key = "speed/audio_seconds_per_second"
    speeds = [line[key] for line in _lines(trial.path / SPEED_FILE) if line.get(key)]
    audio = sum(
        float(Manifest.read(source.manifest).durations.sum()) * source.weight
        for source in trial.member.config.data.train
    )
    return audio / statistics.median(speeds) if speeds else None


def _dev_curve(trial: Trial) -> tuple[tuple[int, float], ...]:
    scored = [line for line in _lines(trial.path / METRICS_FILE) if line.get("dev/wer") is not None]
    return tuple((int(line["train/epoch"]), float(line["dev/wer"])) for line in scored)
