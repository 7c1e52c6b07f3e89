"""Results of a study: results.json, and the winner as a configuration that reproduces it."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna  # pyright: ignore[reportMissingImports]
from optuna.trial import FrozenTrial, TrialState  # pyright: ignore[reportMissingImports]

from asr.runs.checkpoint import write_text
from asr.tuning.child import read_epochs
from asr.tuning.trials import PRUNED_AFTER, REASON, SECONDS, Plan

State = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class TriedValues:
    """A trial as the report and results.json have it."""

    number: int
    state: State
    params: dict[str, Any]
    values: tuple[float, ...]  # of the objectives, where it is complete
    curve: tuple[tuple[int, float], ...]  # epoch, the error on dev
    pruned_after_epoch: int | None
    reason: str | None  # of a failure
    seconds: float | None  # of its training and measuring


@dataclass(frozen=True)
class Retrained:
    """A trial's values trained again with other seeds."""

    number: int
    seeds: tuple[int, ...]
    errors: tuple[float, ...]  # on dev, of each seed

    @property
    def mean(self) -> float:
        return math.fsum(self.errors) / len(self.errors)


def collect(study: optuna.Study, plan: Plan) -> list[TriedValues]:
    """Returns every trial that was begun, in the order of their numbers."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    return [_read_trial(trial, plan) for trial in trials]


def _read_trial(trial: FrozenTrial, plan: Plan) -> TriedValues:
    reason = trial.user_attrs.get(REASON)
    names: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    state = "failed" if reason else names.get(trial.state, "running")
    epochs = read_epochs(plan.run_path(trial.number))
    reported = dict(trial.intermediate_values)
    curve = reported or {epoch.number: epoch.figures[plan.space.error] for epoch in epochs}
    return TriedValues(
        number=trial.number,
        state=state,
        params=dict(trial.params),
        values=tuple(trial.values) if trial.state == TrialState.COMPLETE else (),
        curve=tuple((step, value) for step, value in sorted(curve.items()) if math.isfinite(value)),
        pruned_after_epoch=trial.user_attrs.get(PRUNED_AFTER),
        reason=reason,
        seconds=trial.user_attrs.get(SECONDS),
    )


def say_counts(trials: Sequence[TriedValues]) -> str:
    counts = Counter(trial.state for trial in trials)
    unfinished = f", {counts['running']} not finished" if counts["running"] else ""
    return (
        f"{len(trials)} trials: {counts['complete']} complete, {counts['pruned']} ended early, "
        f"{counts['failed']} failed{unfinished}"
    )


def ranked(trials: Sequence[TriedValues]) -> list[TriedValues]:
    """Returns the complete trials, the smallest error first."""
    return sorted(
        (trial for trial in trials if trial.state == "complete"), key=lambda trial: (trial.values, trial.number)
    )


def front(trials: Sequence[TriedValues]) -> list[TriedValues]:
    """Returns the complete trials that no other beats in one objective without losing in the other."""
    done = ranked(trials)
    return [
        trial
        for trial in done
        if not any(
            other.values != trial.values and all(a <= b for a, b in zip(other.values, trial.values)) for other in done
        )
    ]


def importances(study: optuna.Study) -> dict[str, float] | None:
    """Returns each key's share of the error's variance by fANOVA (Hutter, Hoos & Leyton-Brown 2014); None where there
    are too few trials. Keys that only some trials have are left out.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    shared = set.intersection(*({*trial.params} for trial in done)) if done else set()
    tried = [key for key in shared if len({trial.params[key] for trial in done}) > 1]
    if len(done) < 4 or not tried or len({trial.values[0] for trial in done}) < 2:
        return None
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, params=sorted(tried), target=lambda trial: trial.values[0]
    )


def write_results(
    path: Path,
    plan: Plan,
    trials: Sequence[TriedValues],
    *,
    shares: dict[str, float] | None,
    retrained: Sequence[Retrained],
) -> None:
    best = winner(trials, retrained)
    values = {
        "objectives": list(plan.space.objectives),
        "sampler": plan.space.sampler,
        "pruner": plan.space.pruning,
        "best": None if best is None else best.number,
        "front": [trial.number for trial in front(trials)] if len(plan.space.objectives) > 1 else None,
        "importance": shares,
        "retrained": [{**asdict(each), "mean": each.mean} for each in retrained],
        "trials": [asdict(trial) for trial in trials],
    }
    write_text(path, json.dumps(values, indent=1) + "\n")


def winner(trials: Sequence[TriedValues], retrained: Sequence[Retrained]) -> TriedValues | None:
    """Returns the trial with the smallest error: by its mean over fresh seeds where there are such, else its own."""
    if retrained:
        best = min(retrained, key=lambda each: (each.mean, each.number)).number
        return next(trial for trial in trials if trial.number == best)
    return next(iter(ranked(trials)), None)


def write_best(path: Path, plan: Plan, best: TriedValues, retrained: Sequence[Retrained]) -> None:
    """Writes the winner's whole configuration, with the seed that gave the smallest error."""
    config = plan.read_trial_config(best.number)
    seed, how = config.seed, f"dev {plan.space.error} {best.values[0]:.4g} with this seed"
    found = [each for each in retrained if each.number == best.number]
    if found:
        error, seed = min(zip(found[0].errors, found[0].seeds))
        seeds = ", ".join(map(str, found[0].seeds))
        how = f"dev {plan.space.error} {found[0].mean:.4g} by the mean of seeds {seeds}; {error:.4g} with this one"
    run_dir = str(Path("runs") / f"{plan.place.folder.name}_best")
    tracking = plan.config.tracking
    whole = config.model_copy(update={"run_dir": run_dir, "seed": seed, "tracking": tracking})
    write_text(path, f"# Trial {best.number} of {plan.place.folder.name}: {how}\n{whole.to_yaml()}")
