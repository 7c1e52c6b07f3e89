"""Train several configurations alike and compare them: python -m asr.compare conf/compare.yaml [key=value ...]

Writes report.md and report.html into the comparison's run folder, beside one run folder for each member and seed. The
same command goes on where it was interrupted; finished trainings are kept. With --probe long_lag it asks instead how
long each cell remembers, on two small tasks made for that.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from asr.runtime import EXIT_BAD_FILES, EXIT_OK, Parser, program_name, run_program

if TYPE_CHECKING:
    from asr.comparison.members import ComparisonConfig, Member
    from asr.comparison.report import Comparison
    from asr.comparison.trial import TrialResult


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.comparison.members import ComparisonConfig, plan_members
    from asr.config.reading import load_section

    config = load_section(options.config, ComparisonConfig, options.overrides)
    with _stopping_on_sigterm():
        if options.probe == "long_lag":
            return probe_long_lag(config, quick=options.quick)
        members = plan_members(config)
        for member in members:
            print(f"{member.name}: {member.num_parameters:,} parameters, {member.size or 'as configured'}", flush=True)
        return EXIT_OK if options.dry_run else run_comparison(config, members)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.compare"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="the comparison, such as conf/compare.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as seeds=[0,1,2]")
    parser.add_argument("--dry-run", action="store_true", help="check and size every member, train nothing")
    parser.add_argument("--probe", choices=("long_lag",), help="how long each cell remembers, in place of trainings")
    parser.add_argument("--quick", action="store_true", help="with --probe: short lags and few steps, for a look")
    options = parser.parse_args(arguments)
    if options.quick and not options.probe:
        parser.error("--quick goes with --probe; a comparison is made shorter by overrides=[train.max_epochs=2]")
    return options


def run_comparison(config: "ComparisonConfig", members: "list[Member]") -> int:
    """Train what is not trained yet, then measure and report; a failed training does not stop the others."""
    from asr.comparison.trial import run_trial, trials_of
    from asr.tracking.bars import bar

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
    config: "ComparisonConfig",
    members: "list[Member]",
    results: "Mapping[str, Mapping[int, TrialResult]]",
    failures: list[str],
) -> None:
    """Measure the speed of what was trained, and write both reports."""
    from asr.comparison.report import compare, draw_plots, write_markdown, write_page
    from asr.comparison.significance import chance_rate
    from asr.comparison.trial import measure_speed
    from asr.data.manifest import Manifest
    from asr.tracking.bars import bar

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


def _track(config: "ComparisonConfig", comparison: "Comparison") -> None:
    """The table's figures as one more run of the group in wandb."""
    import os

    from asr.tracking.config import TrackingConfig
    from asr.tracking.trackers import open_tracker

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


def probe_long_lag(config: "ComparisonConfig", *, quick: bool) -> int:
    """Train every cell on both tasks at every lag, and draw what came out."""
    from asr.comparison.long_lag import run_probe
    from asr.comparison.long_lag_report import write_reports
    from asr.distributed import set_num_threads

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


@contextlib.contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """SIGTERM ends this program like Ctrl-C, so that the training it waits for saves and stops too."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    run_program(main)
