"""A run folder: what a training leaves behind, and what everything after it reads.

config.yaml                     the whole configuration, defaults included
run.json                        SHA-256 of weights and statistics, digests of tokenizer and data, feature settings
model.safetensors               the weights to use: those of the best dev WER so far, at the end their average
tokenizer/                      tokenizer.json, and sentencepiece.model where it is one
feature_statistics.safetensors  mean and deviation of each mel, for global normalisation
metrics.jsonl                   what was logged, one line a step
dropped.jsonl                   utterances left out of training, each with its reason
README.md                       the model card, with the figures of the run
checkpoints/ best/ wandb/       to resume from, to average, to look at
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from torch import Tensor

from asr.config.language_model import AnyConfig, load_experiment
from asr.config.recognizer import Config
from asr.files.checked_json import read_object
from asr.files.digest import file_digest
from asr.files.replacing import HeldLock
from asr.runs.checkpoint import write_tensors, write_text

STATISTICS_KEY = "feature_statistics"  # of run.json

EPOCHS_KEY = "train.max_epochs"  # may be raised
RAISED_KEY = "max_epochs_raised"  # of run.json: what it was and what it became, each time

# Keys that may change between the calls that make up one run: they decide where it computes, how a step is cut to fit
# there, when it ends and what is written down, never what a step learns.
FREE_KEYS = (
    "data.num_workers",
    "data.prepare",
    "train.accumulation",
    "train.checkpoint_every_steps",
    "train.device",
    "train.early_stopping_epochs",
    "train.log_every_steps",
    EPOCHS_KEY,
    "train.max_steps",
    "train.num_threads",
    "tracking",
    "run_dir",
)


class RunError(ValueError):
    """A run folder that cannot be used as asked."""


class RunRecord(BaseModel):
    """Says what run.json may hold; the versions before and after this one write further keys, which are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    model: str | None = Field(None, description="SHA-256 of the weights, or of the n-grams")
    tokenizer: str | None = Field(None, description="its digest")
    feature_statistics: str | None = Field(None, description="SHA-256 of the file")
    packed_from: str | None = Field(None, description="SHA-256 of the weights that these were made of")
    features: dict[str, str | float | bool | dict[str, float] | None] | None = Field(
        None, description="the settings of the training"
    )
    steps: int | None = Field(None, ge=0)
    dev: dict[str, float | None] | None = Field(None, description="its figures; of a loss infinite ones too")
    weights: str | None = Field(None, description="which of the best epochs they are, in words")
    precision: str | None = Field(None, description="of the training")
    computed_on: tuple[str, ...] = Field((), description="kinds of processors")
    max_epochs_raised: tuple[tuple[int, int], ...] = Field((), description="from, to")

    @model_validator(mode="after")
    def check_digests(self) -> "RunRecord":
        for key, value in self.__pydantic_extra__.items():
            if key.startswith("data.") and not isinstance(value, str):
                raise ValueError(f"{key}: found {value!r:.60}; expected a digest")
        return self


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def model_path(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def tokenizer_path(self) -> Path:
        return self.path / "tokenizer"

    @property
    def statistics_path(self) -> Path:
        return self.path / "feature_statistics.safetensors"

    @property
    def label_priors_path(self) -> Path:
        return self.path / "label_priors.safetensors"

    @property
    def record_path(self) -> Path:
        return self.path / "run.json"

    @property
    def card_path(self) -> Path:
        return self.path / "README.md"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    def search_digest(self) -> str:
        """Digests all that decides how a search of commands scores a sentence: weights, label priors, endpointing."""
        parts = [str(self.read_record().get("model"))]
        if self.label_priors_path.exists():
            parts.append(file_digest(self.label_priors_path))
        endpointing = getattr(load_experiment(self.config_path), "endpointing", None)
        if endpointing is not None:
            parts.append(f"endpointing {endpointing.margin:g}")
            parts += [f"first_look {endpointing.first_look:g}"] if endpointing.first_look else []
        return " ".join(parts)

    def files_of_recognition(self) -> list[Path]:
        """Returns every file, beside the weights, that decides about a transcript; some of them need not be there."""
        found = [self.config_path, *sorted(self.tokenizer_path.glob("*")), *sorted(self.path.glob("*.json"))]
        found += [path for path in sorted(self.path.glob("*.safetensors")) if path != self.model_path]
        return [path for path in found if path.is_file()]

    def best_path(self, epoch: int) -> Path:
        return self.path / "best" / f"epoch-{epoch:04d}.safetensors"

    def claim(self, config: AnyConfig, digests: Mapping[str, str]) -> HeldLock:
        """Make the folder this process's own and check that it holds the same experiment, or none yet.

        `digests` are those of the data and the tokenizer. A folder in which nothing was learnt holds no experiment.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = HeldLock(self.path / ".lock")
        except Timeout:
            raise RunError(
                f"{self.path}: another training is writing to this run folder; wait for it, or give this one its "
                "own with run_dir=runs/other"
            ) from None
        try:
            self._adopt(config, digests)
        except BaseException:
            lock.close()
            raise
        return lock

    def _adopt(self, config: AnyConfig, digests: Mapping[str, str]) -> None:
        """Write down what is learnt here, unless it is the same as before."""
        record: dict[str, Any] = {}
        if self.config_path.exists():
            before, now = (flatten(each.to_dict()) for each in (load_experiment(self.config_path), config))
            epochs = before.get(EPOCHS_KEY), now.get(EPOCHS_KEY)
            changed = self._changes(before, now, digests)
            if changed and self.has_learnt():
                raise RunError(
                    f"{self.path}: holds a run of another experiment:\n" + "\n".join(changed) + "\n"
                    f"Give this one its own folder (run_dir=...), start from those weights (init_from={self.path}), "
                    "or remove the folder"
                )
            if not changed and epochs[0] == epochs[1]:
                return
            if changed:
                print(f"{self.path}: held another experiment, in which no step was made; this one takes its place")
                shutil.rmtree(self.path / "wandb", ignore_errors=True)
            else:
                record = self.read_record()
                record[RAISED_KEY] = [*record.get(RAISED_KEY, []), epochs]
        if not record:
            features = {"features": config.features.model_dump(mode="json")} if isinstance(config, Config) else {}
            record = {**digests, **features}
        write_text(self.record_path, json.dumps(record, indent=1) + "\n")
        write_text(self.config_path, config.to_yaml())  # last: where it is, the record is

    def has_learnt(self) -> bool:
        """Returns whether there is anything in it that a training has made by steps, or by counting."""
        return any(self.checkpoints_path.glob("step-*")) or "model" in self.read_record()

    def _changes(self, before: Mapping[str, Any], now: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
        """Returns a line for each key of the configuration, and each content of a file, that makes it another
        experiment.
        """
        changed = [
            f"  {key}: was {before.get(key)!r}, is now {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not any(f"{key}.".startswith(f"{free}.") for free in FREE_KEYS)
        ]
        if before.get(EPOCHS_KEY, 0) > now.get(EPOCHS_KEY, 0):
            changed.append(
                f"  {EPOCHS_KEY}: was {before[EPOCHS_KEY]}, is now {now.get(EPOCHS_KEY)}; it can be raised, not "
                "lowered: train.max_steps ends a run before its last epoch"
            )
        record = self.read_record()
        changed += [
            f"  {name}: the content was {record[name][:12]}..., is now {digest[:12]}..."
            for name, digest in digests.items()
            if name in record and record[name] != digest
        ]
        return changed

    def read_record(self) -> dict[str, Any]:
        """Returns what run.json holds. Raises RunError where it is missing, no JSON, or a key holds something else."""
        remedy = "expected what asr.train writes; copy the whole run folder again"
        try:
            return read_object(self.record_path, RunRecord, error=RunError, remedy=remedy)
        except OSError as error:
            raise RunError(f"{self.record_path}: cannot be read ({error}); is this a run of asr.train?") from None

    def write_record(self, values: Mapping[str, Any]) -> None:
        """Add values to run.json."""
        record = self.read_record() if self.record_path.exists() else {}
        write_text(self.record_path, json.dumps({**record, **values}, indent=1) + "\n")

    def write_model(self, weights: Mapping[str, Tensor]) -> None:
        """Writes the weights to use from now on, and their checksum."""
        write_tensors(self.model_path, weights)
        self.write_record({"model": file_digest(self.model_path)})


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested sections and lists to `a.b.0.c` -> value."""
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    leaves: dict[str, Any] = {}
    for key, value in children:
        nested = isinstance(value, dict | list) and value
        leaves.update(flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
    return leaves
