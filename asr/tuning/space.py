"""A search space: which keys of a configuration are tried, with which values, and what a good trial is.

objectives: [wer]
sampler: tpe
pruner: median
space:
  optim.learning_rate: {low: 0.0003, high: 0.01, log: true}
  encoder.num_layers: {low: 1, high: 3, integer: true}
  encoder.cell.kind: {choices: [lstm, projected_lstm]}
  encoder.cell.projection_size: {low: 32, high: 96, step: 32, integer: true, when: {encoder.cell.kind: projected_lstm}}
"""

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from asr.config.reading import ConfigError, apply_override, check_section, load_section
from asr.config.recognizer import Config
from asr.runs.folder import flatten
from asr.section import Section

Scalar = bool | int | float | str | None
Choice = Scalar | list[Any] | dict[str, Any]
Error = Literal["wer", "cer", "loss"]
Cost = Literal["parameters", "real_time_factor"]
ERRORS = ("wer", "cer", "loss")
NOT_TUNED = ("run_dir", "tracking", "kind", "seed", "train.device", "init_from")
LARGEST_GRID = 10_000


class Dimension(Section):
    """The values that are tried of one key: a range or choices."""

    low: float | None = Field(None, description="the smallest value")
    high: float | None = Field(None, description="the largest value")
    log: bool = Field(False, description="whether values are spread evenly over their logarithm")
    step: float | None = Field(None, description="between two values, from low on")
    integer: bool = Field(False, description="whether only whole numbers are tried")
    choices: tuple[Choice, ...] | None = Field(None, description="the values, in the place of a range")
    when: dict[str, Choice] = Field({}, description="only where these keys have this value, or one of a list of values")

    @model_validator(mode="after")
    def check_values(self) -> "Dimension":
        if self.choices is not None:
            self._check_choices(self.choices)
        elif self.low is None or self.high is None:
            raise ValueError("found neither choices nor both low and high; expected one of the two")
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_choices(self, choices: Sequence[Choice]) -> None:
        if any(each is not None for each in (self.low, self.high, self.step)) or self.log or self.integer:
            raise ValueError("found choices and keys of a range; expected one of the two")
        texts = [json.dumps(each, sort_keys=True) for each in choices]
        if not texts or len(set(texts)) < len(texts):
            raise ValueError(f"choices: found {', '.join(texts) or 'none'}; expected one or more, each once")

    def _check_range(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"found low {low:g}, high {high:g}; expected low below high")
        if self.log and low <= 0:
            raise ValueError(f"low: found {low:g}; expected more than 0, as log is true")
        if self.step is not None and not 0 < self.step <= high - low:
            raise ValueError(f"step: found {self.step:g}; expected more than 0 and at most {high - low:g}, high - low")
        if self.log and self.step is not None:
            raise ValueError("found log and step; expected one of the two")
        given = [each for each in (low, high, self.step) if each is not None]
        if self.integer and any(each != int(each) for each in given):
            raise ValueError(
                f"found {', '.join(f'{each:g}' for each in given)}; expected whole numbers, as integer is true"
            )

    def edges(self) -> list[Choice]:
        """Returns the values at the edges of what can be tried: all choices, or the smallest and the largest."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        return [int(each) if self.integer else each for each in (self.low, self.high)]

    def all_values(self) -> list[Choice] | None:
        """Returns every value where they can be counted; None for a range without steps."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.integer:
            return list(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        number = int((self.high - self.low) / self.step + 1e-9) + 1
        return [round(self.low + index * self.step, 12) for index in range(number)]


class TuningSpace(Section):
    """Holds what a tuning file says."""

    objectives: tuple[Error | Cost, ...] = Field(
        ("wer",), min_length=1, max_length=2, description="what is made small on dev: an error, and a cost beside it"
    )
    sampler: Literal["grid", "random", "tpe", "cmaes"] = Field("tpe", description="how the next values are chosen")
    startup_trials: int = Field(10, ge=1, description="random trials before tpe and cmaes begin to learn from them")
    pruner: Literal["none", "median", "hyperband"] | None = Field(
        None, description="which trials are ended early; null: median, and none for two objectives"
    )
    warmup_epochs: int = Field(1, ge=0, description="epochs before the median may end a trial")
    seed: int = Field(0, ge=0, description="of the sampler; the trials' own is the configuration's")
    space: dict[str, Dimension] = Field(min_length=1, description="dotted keys of the configuration")

    @model_validator(mode="after")
    def check_objectives(self) -> "TuningSpace":
        found = ", ".join(self.objectives)
        if self.objectives[0] not in ERRORS or any(each in ERRORS for each in self.objectives[1:]):
            raise ValueError(f"objectives: found {found}; expected wer, cer or loss, alone or before a cost")
        if len(self.objectives) > 1 and self.pruner not in (None, "none"):
            raise ValueError(
                f"pruner: found {self.pruner!r} and two objectives; expected none, for no epoch has a cost"
            )
        if len(self.objectives) > 1 and self.sampler == "cmaes":
            raise ValueError(f"sampler: found 'cmaes' and the objectives {found}; expected tpe, random or grid")
        return self

    @property
    def error(self) -> str:
        return self.objectives[0]

    @property
    def pruning(self) -> str:
        return self.pruner or ("median" if len(self.objectives) == 1 else "none")


@runtime_checkable
class Suggester(Protocol):
    """Gives the value of a key in a trial; Optuna's trials do."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar: ...


def label(choice: Choice) -> Scalar:
    """Returns a choice as a database holds it: a section or a list by its JSON."""
    return json.dumps(choice, sort_keys=True) if isinstance(choice, list | dict) else choice


def suggest(trial: Suggester, space: TuningSpace, config: Config) -> dict[str, Choice]:
    """Returns the values that a trial tries, by key, in the order of the space."""
    fixed, values = flatten(config.to_dict()), {}
    for key, dimension in space.space.items():
        if applies(dimension, {**fixed, **values}):
            values[key] = _suggest_value(trial, key, dimension)
    return values


def _suggest_value(trial: Suggester, key: str, dimension: Dimension) -> Choice:
    if dimension.choices is not None:
        labels = [label(choice) for choice in dimension.choices]
        # The place of a label is found by its type too: True is 1 to Python.
        chosen = trial.suggest_categorical(key, labels)
        return next(c for c, each in zip(dimension.choices, labels) if each == chosen and type(each) is type(chosen))
    low, high = dimension.edges()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if dimension.integer:
        return trial.suggest_int(key, int(low), int(high), step=int(dimension.step or 1), log=dimension.log)
    return trial.suggest_float(key, low, high, step=dimension.step, log=dimension.log)


def applies(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Returns whether a key is tried beside these values of others."""
    return all(key in values and values[key] in _allowed(wanted) for key, wanted in dimension.when.items())


def _allowed(wanted: Choice) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def grid(space: TuningSpace, config: Config, *, where: str) -> list[dict[str, Choice]]:
    """Returns every combination that the conditions allow. Raises ConfigError where a range has no steps."""
    axes = {key: dimension.all_values() for key, dimension in space.space.items()}
    endless = [key for key, values in axes.items() if values is None]
    if endless:
        raise ConfigError(
            f"{where}: space.{endless[0]}: found a range without steps; expected step, integer or choices, as the "
            "sampler is grid"
        )
    points: list[dict[str, Choice]] = [{}]
    fixed = flatten(config.to_dict())
    for key, values in axes.items():
        dimension = space.space[key]
        points = list(
            itertools.chain.from_iterable(
                [{**point, key: value} for value in values or ()] if applies(dimension, {**fixed, **point}) else [point]
                for point in points
            )
        )
        if len(points) > LARGEST_GRID:
            raise ConfigError(
                f"{where}: space: found a grid of more than {LARGEST_GRID:,} trials; expected fewer values, or another "
                "sampler"
            )
    return points


def load_space(path: Path) -> TuningSpace:
    """Reads a tuning file. Raises ConfigError with every fault of it."""
    return load_section(path, TuningSpace)


def configure(base: Mapping[str, Any], values: Mapping[str, Choice], *, where: str) -> Config:
    """Returns the configuration with these values of single keys. Raises ConfigError with every fault."""
    merged = copy.deepcopy(dict(base))
    for key, value in values.items():
        apply_override(merged, f"{key}={json.dumps(value)}")
    return check_section(merged, Config, where=where)


def check_space(space: TuningSpace, base: Mapping[str, Any], config: Config, *, where: str) -> None:
    """Tries each key's edges in the configuration. Raises ConfigError with every fault: unknown keys, values that the
    configuration refuses, conditions that are never met.
    """
    faults: dict[str, None] = {}
    fixed = flatten(config.to_dict())
    for key, dimension in space.space.items():
        if any(f"{key}.".startswith(f"{each}.") for each in NOT_TUNED):
            faults[f"{where}: space.{key}: found a key that each trial has of its own; expected a setting"] = None
            continue
        found = _faults_of_condition(key, dimension, space, fixed, where=where)
        for value in () if found else dimension.edges():
            wanted = {**{name: _allowed(each)[0] for name, each in dimension.when.items()}, key: value}
            # Values of other keys may forbid one: a value is at fault where it fits neither their first nor their last.
            fits = [_faults_of(_beside(wanted, space, fixed, edge), base, where=where) for edge in (0, -1)]
            found += [] if not all(fits) else fits[0]
        faults |= dict.fromkeys(found)
    if faults:
        raise ConfigError("\n".join(faults))


def _beside(wanted: Mapping[str, Choice], space: TuningSpace, fixed: Mapping[str, Any], edge: int) -> dict[str, Choice]:
    """Returns the values of a trial that has the wanted ones, and of all other keys those at an edge."""
    values: dict[str, Choice] = {}
    for key, dimension in space.space.items():
        if key in wanted or applies(dimension, {**fixed, **wanted, **values}):
            values[key] = wanted[key] if key in wanted else dimension.edges()[edge]
    return values


def _faults_of(values: Mapping[str, Choice], base: Mapping[str, Any], *, where: str) -> list[str]:
    try:
        configure(base, values, where=f"{where}: space")
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _faults_of_condition(
    key: str, dimension: Dimension, space: TuningSpace, fixed: Mapping[str, Any], *, where: str
) -> list[str]:
    faults = []
    earlier = list(space.space)[: list(space.space).index(key)]
    for other, wanted in dimension.when.items():
        if other in space.space and other not in earlier:
            faults.append(f"{where}: space.{key}.when: found {other!r}, which comes after it; expected it before")
        elif other in space.space:
            choices = space.space[other].choices
            if choices is None or not any(value in choices for value in _allowed(wanted)):
                known = "a range" if choices is None else f"the choices {list(choices)!r}"
                faults.append(f"{where}: space.{key}.when: found {other} = {wanted!r}; expected a value of {known}")
        elif fixed.get(other) not in _allowed(wanted):
            faults.append(
                f"{where}: space.{key}.when: found {other} = {wanted!r}; it is {fixed.get(other)!r} in every trial"
            )
    return faults
