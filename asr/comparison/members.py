"""Plans a comparison: configurations of one size, each trained with several seeds on the same data."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from asr.comparison.long_lag import LongLagConfig
from asr.config.recognizer import Config, load_config
from asr.section import Section
from asr.training.experiment import check_prepared, train_tokenizer

LARGEST_SIZE = 8192


class ComparisonError(ValueError):
    """A comparison that cannot be made."""


class MemberConfig(Section):
    """One of the configurations that are compared: changes to the base, or a file of its own."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="in the report, and of its folder")
    config: str | None = Field(None, description="configuration file of this member; none: the comparison's base")
    overrides: tuple[str, ...] = Field((), description="key=value, after those of the comparison")
    size_keys: dict[str, float] | None = Field(None, description="as those of the comparison, for this member")


class ComparisonConfig(Section):
    """Holds what conf/compare.yaml says."""

    run_dir: str = Field(description="the folder of all runs and of the report")
    base: str = Field(description="the configuration that the members change")
    overrides: tuple[str, ...] = Field((), description="key=value for every member")
    test: str = Field(description="manifest that the trained members are scored on")
    prepare: str | None = Field(None, description="the command that makes that manifest, said when it is missing")
    members: tuple[MemberConfig, ...] = Field(min_length=1)
    reference: str | None = Field(None, description="the member that all others are tested against; none: the first")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="each member is trained once with each")
    num_parameters: int | None = Field(None, ge=1, description="members are sized to have so many; none: as they are")
    size_keys: dict[str, float] = Field(
        {"encoder.cell.hidden_size": 1.0}, description="keys that get the solved size, each with its share of it"
    )
    size_step: int = Field(4, ge=1, description="solved sizes are multiples of it")
    trackers: tuple[Literal["console", "jsonl", "wandb"], ...] = Field(
        ("jsonl", "wandb"), description="of the trainings; they are one group in wandb"
    )
    num_threads: int = Field(1, ge=1, description="CPU threads while real-time factor and latency are measured")
    num_resamples: int = Field(10_000, ge=100, description="of the significance tests")
    long_lag: LongLagConfig = LongLagConfig()

    @model_validator(mode="after")
    def _names_are_clear(self) -> "ComparisonConfig":
        names = [member.name for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"members: the name {twice[0]!r} is there twice; give each member its own")
        if self.reference is not None and self.reference not in names:
            raise ValueError(f"reference: {self.reference!r} is no member; expected one of {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} holds one twice, which would be the same training again")
        return self

    @property
    def reference_name(self) -> str:
        return self.reference or self.members[0].name


@dataclass(frozen=True)
class Member:
    """A configuration with its size, ready to be trained."""

    name: str
    config_path: Path
    overrides: tuple[str, ...]  # with the solved size, without seed and run folder
    config: Config
    num_parameters: int
    size: str  # the solved sizes, such as "hidden_size 128"


def plan_members(comparison: ComparisonConfig) -> list[Member]:
    """Returns all members, sized alike. Raises ComparisonError with every member that cannot be, and why."""
    members, faults = [], []
    for member in comparison.members:
        try:
            members.append(_plan_member(comparison, member))
        except ValueError as error:
            faults.append(f"members: {member.name}: {error}")
    if faults:
        raise ComparisonError("\n".join(faults))
    if not Path(comparison.test).exists():
        remedy = f"prepare it with\n  {comparison.prepare}" if comparison.prepare else "prepare it first"
        raise ComparisonError(f"test: {comparison.test}: no such file; {remedy}")
    return members


def _plan_member(comparison: ComparisonConfig, member: MemberConfig) -> Member:
    path = Path(member.config or comparison.base)
    overrides = (*comparison.overrides, *member.overrides)
    num_given = len(overrides)
    first = load_config(path, overrides)
    check_prepared(first)
    sections = first.model_dump(include={"data", "tokenizer"}, mode="json")
    num_tokens = _vocabulary_size(json.dumps({"run_dir": "", **sections}))

    def sized(size: int) -> tuple[str, ...]:
        keys = member.size_keys or comparison.size_keys
        return (*overrides, *(f"{key}={max(1, round(size * share))}" for key, share in keys.items()))

    def count(size: int) -> int:
        return count_parameters(load_config(path, sized(size)), num_tokens)

    if comparison.num_parameters is not None:
        overrides = sized(solve_size(count, comparison.num_parameters, step=comparison.size_step))
    config = load_config(path, overrides)
    size = ", ".join(override.rpartition(".")[2].replace("=", " ") for override in overrides[num_given:])
    return Member(member.name, path, overrides, config, count_parameters(config, num_tokens), size)


@cache
def _vocabulary_size(data_and_tokenizer: str) -> int:
    """Returns the size of the vocabulary that these sections train; members that share them share the work."""

    config = Config.model_validate_json(data_and_tokenizer)
    return train_tokenizer(config).vocabulary_size


def count_parameters(config: Config, num_tokens: int) -> int:
    """Counts the parameters of the configuration's model, without taking the memory for them."""
    with torch.device("meta"):
        return config.build_model(num_tokens).num_parameters


def solve_size(count: Callable[[int], int], target: int, *, step: int) -> int:
    """Returns the multiple of `step` whose count, which grows with the size, is nearest to `target`.

    Raises ComparisonError where even the smallest is more than twice as large, or the largest too small.
    """
    high, largest = step, LARGEST_SIZE // step * step
    while count(high) < target:
        if high == largest:
            raise ComparisonError(
                f"num_parameters: {target:,} are not reached by a size of {LARGEST_SIZE}; do the size_keys set it?"
            )
        high = min(2 * high, largest)
    low = high // 2 // step * step  # count(low) < target <= count(high)
    while high - low > step:
        middle = (low + high) // 2 // step * step
        low, high = (middle, high) if count(middle) < target else (low, middle)
    nearest = min((size for size in (low, high) if size), key=lambda size: abs(count(size) - target))
    if count(nearest) > 2 * target:
        raise ComparisonError(
            f"num_parameters: {target:,} are too few, the smallest size has {count(nearest):,}; raise num_parameters, "
            "or lower what else is in the model, such as the subsampling"
        )
    return nearest
