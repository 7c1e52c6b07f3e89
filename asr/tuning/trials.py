"""The trials of a study: begun, or taken over from a process that died, trained, and told to the database.

A trial belongs to the process that holds its lock file. A process's end, in whatever way, gives the lock back; the
next one to look for work finds the trial running without a holder and goes on with it.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
from filelock import Timeout
from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

from asr.config.reading import ConfigError
from asr.config.recognizer import Config, load_config
from asr.files.replacing import HeldLock
from asr.files.tensors import read_shapes
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.training.speed import measure_speed
from asr.tuning.child import Epoch, StudyStopped, TrainingFailed, final_figures, train_watched
from asr.tuning.space import Choice, TuningSpace, configure, suggest
from asr.tuning.storage import Place, TuneError, make_pruner, make_sampler

PLACE, REASON, PRUNED_AFTER, SECONDS = "place", "reason", "pruned_after_epoch", "seconds"  # attributes of a trial
SECONDS_TO_BEGIN = 60.0  # between a trial's number and its folder, where other machines share the database
TIMING = threading.Lock()  # one run at a time is timed
MOST_FAILURES = 5  # in a row, from the first trial on: then it is not the values


@dataclass(frozen=True)
class Plan:
    """Holds what all trials of a study have in common."""

    place: Place
    identity: str  # of the place
    space: TuningSpace
    base: Mapping[str, Any]  # the file with its overrides, to be changed by a trial's values
    config: Config  # the same, checked
    where: str  # that errors of a combination begin with

    def run_path(self, number: int) -> Path:
        return self.place.folder / "trials" / f"{number:04d}"

    def trial_config(self, values: Mapping[str, Choice], run: Path) -> Config:
        """Returns a trial's whole configuration. Raises ConfigError where its values do not go together."""
        config = configure(self.base, values, where=self.where)
        trackers = (*config.tracking.trackers, *({"jsonl"} - set(config.tracking.trackers)))
        quiet = tuple(name for name in trackers if name != "console")  # many at once on one terminal
        tracking = config.tracking.model_copy(update={"trackers": quiet, "name": f"trial-{run.name}"})
        return config.model_copy(update={"run_dir": str(run), "tracking": tracking})

    def read_trial_config(self, number: int) -> Config:
        """Returns the configuration that a trial was trained with."""
        return load_config(self.run_path(number).with_suffix(".yaml"))


@dataclass(frozen=True)
class Claim:
    """A trial that this process has, until it lets the lock go."""

    number: int
    trial: optuna.Trial
    lock: HeldLock
    reported: frozenset[int] | None  # the epochs that its earlier calls reported; None for a new one


class TrialWorker:
    """Takes one trial after the other until the budget is used up, or it is asked to stop."""

    def __init__(self, plan: Plan, study: optuna.Study, *, num_trials: float, environment: Mapping[str, str]) -> None:
        self.plan, self.num_trials, self.environment = plan, num_trials, environment
        # Each has its own, for the sampler's seed is that of a trial.
        self.study = optuna.load_study(study_name=study.study_name, storage=study._storage)
        self.study.pruner = make_pruner(plan.space, plan.config)

    def work(self, stop: threading.Event) -> None:
        """Trains until there is nothing left to begin. Raises TuneError where nothing but failures come."""
        while not stop.is_set() and (claim := self.claim()) is not None:
            try:
                self.run(claim, stop)
            except StudyStopped:
                print(f"trial {claim.number}: saved; rerun to go on", flush=True)
                return
            finally:
                claim.lock.close()
            check_failures(self.study)

    def claim(self) -> Claim | None:
        """Returns a trial that nobody has, or a new one; None where the budget is used up."""
        with self.plan.place.lock:
            for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if self._is_ours(frozen) and (lock := self._take(frozen.number)) is not None:
                    self.study.sampler = make_sampler(self.plan.space, number=frozen.number)
                    trial = optuna.Trial(self.study, frozen._trial_id)
                    trial.set_user_attr(PLACE, self.plan.identity)
                    return Claim(frozen.number, trial, lock, frozenset(frozen.intermediate_values))
            trials = self.study.get_trials(deepcopy=False)
            waiting = sum(trial.state == TrialState.WAITING for trial in trials)
            if len(trials) - waiting >= self.num_trials or (self.plan.space.sampler == "grid" and not waiting):
                return None
            self.study.sampler = make_sampler(self.plan.space, number=len(trials) - waiting)
            trial = self.study.ask()
            trial.set_user_attr(PLACE, self.plan.identity)
            lock = self._take(trial.number)
            if lock is None:
                raise TuneError(
                    f"{self.plan.run_path(trial.number)}: found in use by another study; expected a folder of its own"
                )
            return Claim(trial.number, trial, lock, None)

    def _is_ours(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Returns whether a running trial lies in this folder, or was left before anybody could say where it lies."""
        place = frozen.user_attrs.get(PLACE)
        if place is not None:
            return place == self.plan.identity
        age = (datetime.now() - frozen.datetime_start).total_seconds() if frozen.datetime_start else math.inf
        return self.plan.place.is_own or age > SECONDS_TO_BEGIN

    def _take(self, number: int) -> HeldLock | None:
        path = self.plan.run_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return HeldLock(path.with_name(f".{path.name}.lock"))
        except Timeout:
            return None

    def run(self, claim: Claim, stop: threading.Event) -> None:
        """Trains a trial to its end and tells the database what came out, a failure with its reason."""
        trial, started = claim.trial, time.monotonic()
        print(f"trial {claim.number}: {'begins' if claim.reported is None else 'goes on'}", flush=True)
        try:
            values = self._train(claim, stop)
        except (TrainingFailed, ConfigError) as error:
            trial.set_user_attr(REASON, str(error))
            # To the sampler a failed trial of one objective is a bad one, not one that never was.
            state = TrialState.PRUNED if len(self.plan.space.objectives) == 1 else TrialState.FAIL
            self._tell(trial, started, state=state)
            print(f"trial {claim.number}: failed: {error}", flush=True)
            return
        except StudyStopped:
            self._count(trial, started)
            raise
        if values is None:
            self._tell(trial, started, state=TrialState.PRUNED)
            print(f"trial {claim.number}: ended early, after epoch {trial.user_attrs[PRUNED_AFTER]}", flush=True)
        else:
            self._tell(trial, started, values=values)
            said = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.plan.space.objectives, values))
            print(f"trial {claim.number}: {said}", flush=True)

    def _tell(self, trial: optuna.Trial, started: float, **told: Any) -> None:
        self._count(trial, started)
        self.study.tell(trial, **told)

    def _count(self, trial: optuna.Trial, started: float) -> None:
        """Adds to the seconds that a trial took, over all its calls."""
        trial.set_user_attr(SECONDS, trial.user_attrs.get(SECONDS, 0.0) + time.monotonic() - started)

    def _train(self, claim: Claim, stop: threading.Event) -> list[float] | None:
        """Returns the values of the objectives, or None where the trial was ended early."""
        plan, trial, run = self.plan, claim.trial, self.plan.run_path(claim.number)
        config = plan.trial_config(suggest(trial, plan.space, plan.config), run)
        path = run.with_suffix(".yaml")
        write_text(path, config.to_yaml())
        if PRUNED_AFTER in trial.user_attrs:  # decided before this process's predecessor was killed
            return None
        if final_figures(run) is None:

            def is_enough(epoch: Epoch) -> bool:
                return self._judge(claim, epoch, is_last=epoch.number >= config.train.max_epochs)

            ended = train_watched(path, run, is_enough=is_enough, stop=stop, environment=self.environment)
            if ended is not None:
                trial.set_user_attr(PRUNED_AFTER, ended.number)
                return None
        return measure(plan.space, run, dev=plan.config.data.dev.manifest)

    def _judge(self, claim: Claim, epoch: Epoch, *, is_last: bool) -> bool:
        """Reports an epoch to the study; returns whether the trial should end here."""
        trial, value = claim.trial, epoch.figures[self.plan.space.error]
        if len(self.plan.space.objectives) > 1 or not math.isfinite(value) or epoch.number in (claim.reported or ()):
            return False
        trial.report(value, epoch.number)
        return not is_last and bool(trial.should_prune())


def measure(space: TuningSpace, run: Path, *, dev: str) -> list[float]:
    """Returns the objectives of a finished run. Raises TrainingFailed where one of them is no finite number."""
    figures = final_figures(run)
    if figures is None:
        raise TrainingFailed(f"{run}: found no final dev figures; expected those that a finished training writes")
    values = [figures[name] if name in figures else measure_cost(name, run, dev=dev) for name in space.objectives]
    for name, value in zip(space.objectives, values):
        if not math.isfinite(value):
            raise TrainingFailed(f"{run}: dev {name} is {value}; expected a finite number")
    return values


def measure_cost(name: str, run: Path, *, dev: str) -> float:
    """Returns a finished run's number of parameters, or its real-time factor on dev speech by one thread."""
    if name == "parameters":
        shapes = read_shapes(RunFolder(run).model_path, remedy="train it again")
        return float(sum(math.prod(shape) for shape in shapes.values()))
    assert name == "real_time_factor"
    with TIMING:
        return measure_speed({"run": run}, dev, num_threads=1)["run"].real_time_factor


def check_failures(study: optuna.Study) -> None:
    """Raises TuneError where a study has begun with nothing but failures."""
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    reasons = [trial.user_attrs.get(REASON) for trial in done]
    if len(done) >= MOST_FAILURES and all(reasons):
        raise TuneError(
            f"the first {len(done)} trials all failed, the last one: {reasons[-1]}; mend the cause and use a new "
            "--output-dir, or the same to try on"
        )
