"""Runs a comparison: trains every member with every seed, measures them, and reports; or probes the cells' memory."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from asr.comparison.long_lag import run_probe
from asr.comparison.long_lag_report import write_reports
from asr.comparison.members import ComparisonConfig, Member, plan_members
from asr.comparison.report import Comparison, compare, draw_plots, write_markdown, write_page
from asr.comparison.significance import chance_rate
from asr.comparison.trial import TrialResult, run_trial, trials_of
from asr.config.reading import load_section
from asr.data.manifest import Manifest
from asr.process.distributed import set_num_threads
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK
from asr.process.signals import stopping_on_sigterm
from asr.tracking.bars import bar
from asr.tracking.config import TrackingConfig
from asr.tracking.trackers import open_tracker
from asr.training.speed import measure_speed


def run(
    path: Path, overrides: Sequence[str], *, probe: Literal["long_lag"] | None, is_quick: bool, is_dry: bool
) -> int:
    """Compares what a file configures, or probes its cells, and returns the exit code; a dry run trains nothing."""
    config = load_section(path, ComparisonConfig, overrides)
    with stopping_on_sigterm():
        if probe == "long_lag":
            return _probe_long_lag(config, quick=is_quick)
        members = plan_members(config)
        for member in members:
            print(f"{member.name}: {member.num_parameters:,} parameters, {member.size or 'as configured'}", flush=True)
        return EXIT_OK if is_dry else _run_comparison(config, members)


def _run_comparison(config: ComparisonConfig, members: list[Member]) -> int:
    """Trains what is not trained yet, then measures and reports; a failed training does not stop the others."""
    results: dict[str, dict[int, TrialResult]] = {}
    failures = []
    trials = trials_of(config, members)
    for number, trial in enumerate(trials, start=1):
        name = f"{trial.member.name}, seed {trial.seed}"
        print(f"{number}/{len(trials)} {name} ...", flush=True)
        try:
            with bar(name):
                result = run_trial(trial, config)
        except (ValueError, OSError) as error:
            failures.append(f"{name}: {error}")
            print(f"failed: {failures[-1]}", file=sys.stderr, flush=True)
            continue
        results.setdefault(trial.member.name, {})[trial.seed] = result
        print(f"    WER {result.rate:.2%} after {result.seconds:.0f} s of training", flush=True)
    report(config, members, results, failures)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return EXIT_BAD_FILES if failures else EXIT_OK


def report(
    config: ComparisonConfig,
    members: list[Member],
    results: Mapping[str, Mapping[int, TrialResult]],
    failures: list[str],
) -> None:
    """Measures the speed of what was trained, and writes both reports."""
    folder = Path(config.run_dir)
    runs = {name: folder / name / f"seed-{next(iter(seeds))}" for name, seeds in results.items()}
    with bar("measuring the speed of each"):
        speeds = measure_speed(runs, config.test, num_threads=config.num_threads) if runs else {}
    chance = chance_rate(list(Manifest.read(config.test).texts()))
    comparison = compare(config, members, results=results, speeds=speeds, failures=failures, chance=chance)
    plots = draw_plots(comparison)
    write_markdown(folder / "report.md", comparison, plots)
    write_page(folder / "report.html", comparison, plots)
    _track(config, comparison)
    print(f"report: {folder / 'report.html'}")


def _track(config: ComparisonConfig, comparison: Comparison) -> None:
    """Logs the table's figures as one more run of the group in wandb."""
    if "wandb" not in config.trackers:
        return
    folder = Path(config.run_dir)
    os.environ["WANDB_RUN_GROUP"] = folder.name  # as for the trainings
    tracker = open_tracker(
        TrackingConfig(trackers=("wandb",), name=f"{folder.name}-report"), folder, config.model_dump(mode="json"), 0
    )
    for member in comparison.members:
        figures = {
            "wer": member.wer,
            "parameters": float(member.num_parameters),
            "multiply_adds": member.speed.multiply_adds,
            "real_time_factor": member.speed.real_time_factor,
            "latency": member.speed.latency,
            "peak_bytes": float(member.peak_bytes),
        }
        tracker.log({f"compare/{member.name}/{key}": value for key, value in figures.items()}, step=0)
    tracker.finish(EXIT_OK)


def _probe_long_lag(config: ComparisonConfig, *, quick: bool) -> int:
    """Trains every cell on both tasks at every lag, and draws what came out."""
    set_num_threads(config.num_threads)
    settings = config.long_lag.quick() if quick else config.long_lag
    folder = Path(config.run_dir) / ("long_lag_quick" if quick else "long_lag")
    results = []
    for result in run_probe(settings, folder / "results.jsonl"):
        results.append(result)
        print(f"lag {result.lag}, {result.task}, {result.cell}: {result.score:.3f}", flush=True)
    write_reports(folder, results, settings)
    print(f"report: {folder / 'report.html'}")
    return EXIT_OK
