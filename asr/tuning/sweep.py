"""A sweep of wandb with the same space, for those who prefer its agents."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.files.yaml import write_yaml
from asr.runs.checkpoint import write_text
from asr.tuning.space import Dimension, TuningSpace
from asr.tuning.storage import TuneError

METHODS = {"grid": "grid", "random": "random", "tpe": "bayes"}


def write_sweep(path: Path, space: TuningSpace, config: Path, overrides: Sequence[str], *, where: str) -> None:
    """Writes what `wandb sweep FILE` reads. Raises TuneError for what a sweep cannot say."""
    if space.sampler not in METHODS:
        raise TuneError(f"{where}: sampler: found {space.sampler!r}; expected {', '.join(METHODS)}, which wandb has")
    if len(space.objectives) > 1:
        found = " and ".join(space.objectives)
        raise TuneError(f"{where}: objectives: found {found}; expected one, for a sweep has one metric")
    bound = [key for key, dimension in space.space.items() if dimension.when]
    if bound:
        raise TuneError(
            f"{where}: space.{bound[0]}.when: found a condition; expected none, for a sweep has no conditions"
        )
    command = shlex.join(["python", "-m", "asr.train", str(config), *overrides])
    sweep: dict[str, Any] = {
        "program": "asr/train.py",
        "method": METHODS[space.sampler],
        "metric": {"name": f"dev/{space.error}", "goal": "minimize"},
        "parameters": {key: _parameter(key, dimension, where=where) for key, dimension in space.space.items()},
        # The agent says which run it is in the environment; each has a folder of its own.
        "command": ["sh", "-c", f'{command} "$@" run_dir=runs/sweep/$WANDB_RUN_ID', "sweep", "${args_no_hyphens}"],
    }
    if space.pruning == "hyperband":
        sweep["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 3}
    write_text(path, write_yaml(sweep))


def _parameter(key: str, dimension: Dimension, *, where: str) -> dict[str, Any]:
    if dimension.choices is not None:
        if any(choice is None or isinstance(choice, list | dict) for choice in dimension.choices):
            raise TuneError(
                f"{where}: space.{key}: found a section, a list or null as a choice; expected texts and numbers"
            )
        return {"values": list(dimension.choices)}
    low, high = dimension.edges()
    name = ("q_" if dimension.step is not None else "") + ("log_uniform_values" if dimension.log else "uniform")
    if dimension.integer and dimension.step is None and not dimension.log:
        name = "int_uniform"
    if dimension.integer and dimension.log:
        name = "q_log_uniform_values"
    stepped = {"q": int(dimension.step or 1) if dimension.integer else dimension.step} if name[:2] == "q_" else {}
    return {"distribution": name, "min": low, "max": high, **stepped}
