"""The best trials trained again with other seeds, for one figure of many is the best by luck too."""

import concurrent.futures
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from asr.files.replacing import HeldLock
from asr.runs.checkpoint import write_text
from asr.tuning.child import StudyStopped, TrainingFailed, final_figures, train_watched
from asr.tuning.results import Retrained, TriedValues, front, ranked
from asr.tuning.trials import Plan


@dataclass(frozen=True)
class Again:
    """One trial with one seed."""

    number: int
    seed: int
    path: Path  # the run folder


def choose(plan: Plan, trials: Sequence[TriedValues], *, best: int, seeds: int) -> list[Again]:
    """Returns what is to be trained again: the best trials that lie here, each with seeds that it has not seen.

    The trial's own seed is not among them: it was chosen by that figure, which is better than its mean for that reason.
    """
    order = front(trials) if len(plan.space.objectives) > 1 else ranked(trials)
    here = [trial for trial in order if plan.run_path(trial.number).with_suffix(".yaml").exists()]
    first = plan.config.seed + 1
    return [
        Again(trial.number, seed, _folder(plan) / f"{trial.number:04d}" / f"seed-{seed}")
        for seed in range(first, first + seeds)
        for trial in here[:best]
    ]


def retrain(plan: Plan, chosen: Sequence[Again], *, deadline: float, environments: Sequence[Mapping[str, str]]) -> None:
    """Trains what is not trained yet, one worker an environment. Ctrl-C and the deadline let every training save."""
    stop = threading.Event()
    waiting, lock = iter(chosen), threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(len(environments)) as pool:
        futures = [pool.submit(_work, plan, waiting, lock, stop, each) for each in environments]
        try:
            while not all(future.done() for future in futures):
                concurrent.futures.wait(futures, 0.2)
                if time.monotonic() > deadline or any(future.done() and future.exception() for future in futures):
                    stop.set()
        except BaseException:
            stop.set()
            raise
    for future in futures:
        future.result()


def _work(
    plan: Plan, waiting: Iterator[Again], lock: threading.Lock, stop: threading.Event, environment: Mapping[str, str]
) -> None:
    while not stop.is_set():
        with lock:
            again = next(waiting, None)
        if again is None:
            return
        name = f"trial {again.number}, seed {again.seed}"
        try:
            _train(plan, again, stop, environment)
        except TrainingFailed as error:
            print(f"{name}: failed: {error}", flush=True)
        except Timeout:
            print(f"{name}: another call trains it", flush=True)
        except StudyStopped:
            print(f"{name}: saved; rerun to go on", flush=True)
            return
        else:
            print(f"{name}: {plan.space.error} {_error(plan, again.path):.4g}", flush=True)


def _train(plan: Plan, again: Again, stop: threading.Event, environment: Mapping[str, str]) -> None:
    if final_figures(again.path) is not None:
        return
    again.path.parent.mkdir(parents=True, exist_ok=True)
    with HeldLock(again.path.with_name(f".{again.path.name}.lock")):
        config = plan.read_trial_config(again.number)
        tracking = config.tracking.model_copy(update={"name": f"trial-{again.number:04d}-seed-{again.seed}"})
        changes = {"seed": again.seed, "run_dir": str(again.path), "tracking": tracking}
        path = again.path.with_suffix(".yaml")
        write_text(path, config.model_copy(update=changes).to_yaml())
        train_watched(path, again.path, is_enough=lambda epoch: False, stop=stop, environment=environment)


def _error(plan: Plan, run: Path) -> float:
    figures = final_figures(run)
    return float("nan") if figures is None else figures[plan.space.error]


def read_retrained(plan: Plan) -> list[Retrained]:
    """Returns the trials that were trained again, the best mean first; only those with as many seeds as any has."""
    found = []
    for folder in sorted(_folder(plan).glob("[0-9]*")):
        runs = sorted(folder.glob("seed-*.yaml"), key=lambda path: int(path.stem.partition("-")[2]))
        errors = {int(path.stem.partition("-")[2]): _error(plan, path.with_suffix("")) for path in runs}
        finished = {seed: error for seed, error in errors.items() if math.isfinite(error)}
        if finished:
            found.append(Retrained(int(folder.name), tuple(finished), tuple(finished.values())))
    most = max((len(each.seeds) for each in found), default=0)
    return sorted((each for each in found if len(each.seeds) == most), key=lambda each: (each.mean, each.number))


def _folder(plan: Plan) -> Path:
    return plan.place.folder / "retrained"
