"""Runs a study: checks what is asked, lets workers train trial after trial, and writes what came out."""

import concurrent.futures
import itertools
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]

from asr.config.reading import check_section, read_values
from asr.config.recognizer import Config, load_config
from asr.data.manifest import Manifest
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK
from asr.process.signals import stopping_on_sigterm
from asr.training.experiment import check_prepared
from asr.tuning.default_spaces import SPACES, default_space, name_size
from asr.tuning.learning_rates import run_range_test
from asr.tuning.report import write_report
from asr.tuning.results import (
    Retrained,
    TriedValues,
    collect,
    importances,
    say_counts,
    winner,
    write_best,
    write_results,
)
from asr.tuning.retraining import choose, read_retrained, retrain
from asr.tuning.space import TuningSpace, check_space, grid, load_space
from asr.tuning.storage import Place, TuneError, enqueue_grid, make_sampler, open_study, own_url, saying_storage_faults
from asr.tuning.sweep import write_sweep
from asr.tuning.trials import Plan, TrialWorker

DEFAULT_TRIALS = 50


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Holds what the command line says."""

    config: Path
    overrides: Sequence[str] = ()
    space: str | None = None
    output_dir: Path | None = None
    trials: int | None = None
    hours: float | None = None
    workers: int = 1
    devices: str | None = None
    sampler: str | None = None
    pruner: str | None = None
    storage: str | None = None
    study: str | None = None
    retrain_best: int = 0
    seeds: int = 3
    wandb_sweep: Path | None = None
    lr_range: bool = False


def run(options: TuneOptions) -> int:
    """Goes on with a study, or begins it, until its budget is used up, and returns the exit code."""
    plan = make_plan(options)
    if options.wandb_sweep is not None:
        write_sweep(options.wandb_sweep, plan.space, options.config, options.overrides, where=plan.where)
        print(f"{options.wandb_sweep}: wandb sweep {options.wandb_sweep}, then the agent that it names")
        return EXIT_OK
    if options.lr_range:
        found = run_range_test(plan.config, plan.place.folder)
        print(f"suggested: optim.learning_rate={found.suggested:.2g}; {plan.place.folder / 'learning_rates.html'}")
        return EXIT_OK
    with saying_storage_faults(plan.place.url):
        study = open_study(plan.place, plan.space, plan.config)
        if plan.space.sampler == "grid":
            with plan.place.lock:
                enqueue_grid(study, grid(plan.space, plan.config, where=plan.where))
        with stopping_on_sigterm():
            deadline = time.monotonic() + 3600 * (options.hours or 1e9)
            work(plan, study, options, deadline=deadline)
            if options.retrain_best:
                chosen = choose(plan, collect(study, plan), best=options.retrain_best, seeds=options.seeds)
                retrain(plan, chosen, deadline=deadline, environments=environments(plan, options))
        return finish(plan, study, read_retrained(plan))


def make_plan(options: TuneOptions) -> Plan:
    """Checks the configuration, its data and the space; nothing is written but the folder's name."""
    base = read_values(options.config, options.overrides)
    base.setdefault("run_dir", f"runs/{options.config.stem}")
    config = load_config(options.config, options.overrides)
    check_prepared(config)
    Manifest.read(config.data.dev.manifest)  # which refuses one without utterances
    name, space = choose_space(options, base, config)
    check_space(space, base, config, where=name)
    make_sampler(space, number=0)
    if space.sampler == "grid":
        grid(space, config, where=name)
    folder = options.output_dir or Path("runs") / f"tune_{options.config.stem}"
    if options.study and not options.storage:
        raise TuneError("--study: found without --storage; expected both, or neither")
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder, options.storage or own_url(folder), options.study or folder.absolute().name)
    return Plan(place, place.identity(), space, base, config, where=name)


def choose_space(options: TuneOptions, base: Mapping[str, Any], config: Config) -> tuple[str, TuningSpace]:
    """Returns the space that is asked for and what errors call it: a file, one beside the configuration, or a built-in
    one.
    """
    beside = options.config.with_suffix(".tune.yaml")
    name = options.space or (str(beside) if beside.exists() else name_size(config))
    if name in SPACES:
        space = default_space(name, base, config)
        print(f"space: {name}, built in: {', '.join(space.space)}", flush=True)
    else:
        space = load_space(Path(name))
    changes = {"sampler": options.sampler, "pruner": options.pruner}
    values = space.model_dump(mode="json") | {key: value for key, value in changes.items() if value is not None}
    return name, check_section(values, TuningSpace, where=name)


def work(plan: Plan, study: optuna.Study, options: TuneOptions, *, deadline: float) -> None:
    """Lets workers train, as many as are asked for, until the budget is used up. Ctrl-C lets every training save."""
    limit = options.trials or (DEFAULT_TRIALS if options.hours is None else float("inf"))
    stop = threading.Event()
    say_progress(study, plan)
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        try:
            futures = [
                pool.submit(TrialWorker(plan, study, num_trials=limit, environment=each).work, stop)
                for each in environments(plan, options)
            ]
            _wait(futures, stop, deadline)
        except BaseException:
            stop.set()
            raise
    for future in futures:
        future.result()


def environments(plan: Plan, options: TuneOptions) -> list[dict[str, str]]:
    """Returns what each worker's trainings have in their environment: their group in wandb, and their GPU."""
    devices = options.devices.split(",") if options.devices else [None]
    return [
        {"WANDB_RUN_GROUP": plan.place.name, **({} if device is None else {"CUDA_VISIBLE_DEVICES": device})}
        for device, _ in zip(itertools.cycle(devices), range(options.workers))
    ]


def say_progress(study: optuna.Study, plan: Plan) -> None:
    """Says how far a study is that goes on."""
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    if done:
        print(f"{plan.place.folder}: {len(done)} trials are finished; the study goes on", flush=True)


def _wait(futures: Sequence["concurrent.futures.Future[None]"], stop: threading.Event, deadline: float) -> None:
    """Waits for all workers; the first that fails, and the end of the time, stops the others."""
    open_ones = set(futures)
    while open_ones:
        done, open_ones = concurrent.futures.wait(open_ones, 0.2, concurrent.futures.FIRST_COMPLETED)
        if time.monotonic() > deadline or any(future.exception() for future in done):
            stop.set()


def finish(plan: Plan, study: optuna.Study, retrained: Sequence[Retrained]) -> int:
    """Writes results.json, best.yaml and report.html; the exit code says whether there is a winner."""
    folder = plan.place.folder
    trials = collect(study, plan)
    shares = importances(study)
    write_results(folder / "results.json", plan, trials, shares=shares, retrained=retrained)
    best: TriedValues | None = winner(trials, retrained)
    if best is not None:
        write_best(folder / "best.yaml", plan, best, retrained)
    write_report(folder / "report.html", plan, trials, shares=shares, retrained=retrained)
    failed = [trial for trial in trials if trial.state == "failed"]
    print(say_counts(trials))
    for trial in failed:
        print(f"failed: trial {trial.number}: {trial.reason}")
    if best is not None:
        print(f"best: trial {best.number}, dev {plan.space.error} {best.values[0]:.4g}: {folder / 'best.yaml'}")
    print(f"report: {os.path.relpath(folder / 'report.html')}", flush=True)
    return EXIT_OK if best is not None else EXIT_BAD_FILES
