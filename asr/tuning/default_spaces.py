"""Spaces to start from where no file says what is tried: for few, some and many hours of speech."""

import contextlib
from collections.abc import Mapping
from typing import Any

from asr.config.reading import ConfigError
from asr.config.recognizer import Config
from asr.data.manifest import Manifest
from asr.runs.folder import flatten
from asr.tuning.space import TuningSpace, check_space

# With little data the danger is to learn it by heart: more dropout, small models. With much of it, models that are too
# small. The rate of learning matters always.
SPACES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "small": {
        "optim.learning_rate": {"low": 3e-4, "high": 1e-2, "log": True},
        "optim.weight_decay": {"low": 1e-3, "high": 0.3, "log": True},
        "encoder.dropout": {"low": 0.1, "high": 0.6},
        "encoder.num_layers": {"low": 1, "high": 3, "integer": True},
        "encoder.cell.hidden_size": {"low": 64, "high": 256, "step": 32, "integer": True},
    },
    "middle": {
        "optim.learning_rate": {"low": 2e-4, "high": 5e-3, "log": True},
        "optim.weight_decay": {"low": 1e-4, "high": 0.1, "log": True},
        "encoder.dropout": {"low": 0.0, "high": 0.4},
        "encoder.num_layers": {"low": 2, "high": 4, "integer": True},
        "encoder.cell.hidden_size": {"low": 128, "high": 448, "step": 64, "integer": True},
    },
    "large": {
        "optim.learning_rate": {"low": 1e-4, "high": 3e-3, "log": True},
        "optim.schedule.warmup_steps": {"low": 200, "high": 5000, "log": True, "integer": True},
        "encoder.dropout": {"low": 0.0, "high": 0.3},
        "encoder.num_layers": {"low": 3, "high": 6, "integer": True},
        "encoder.cell.hidden_size": {"low": 256, "high": 768, "step": 64, "integer": True},
    },
}
HOURS = {"small": 5.0, "middle": 100.0}  # below which a corpus is of that size


def default_space(name: str, base: Mapping[str, Any], config: Config) -> TuningSpace:
    """Returns the built-in space of that name, without the keys that the configuration has not or whose range it
    refuses, as a projection is wider than a small cell.
    """
    known = flatten(config.to_dict())
    kept = {}
    for key, dimension in SPACES[name].items():
        alone = TuningSpace.model_validate({"space": {key: dimension}})
        if key in known:
            with contextlib.suppress(ConfigError):
                check_space(alone, base, config, where=name)
                kept[key] = dimension
    return TuningSpace.model_validate({"space": kept})


def name_size(config: Config) -> str:
    """Returns small, middle or large, by the hours of the training data."""
    hours = sum(float(Manifest.read(source.manifest).durations.sum()) for source in config.data.train) / 3600
    return next((name for name, limit in HOURS.items() if hours < limit), "large")
