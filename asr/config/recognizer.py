"""The tree of all sections: read a YAML file, override single keys, check, and say every fault at once."""

import difflib
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, Field, ValidationError, model_validator

from asr.data.augment import AugmentationConfig
from asr.data.dataset import DataConfig
from asr.data.features import FeatureConfig
from asr.decoding import SEARCHED_HEADS, DecodingConfig
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.endpointing import EndpointingConfig
from asr.files.packaged import locate
from asr.files.yaml import YAMLError, parse_yaml, read_yaml_file, write_yaml
from asr.model.encoders import EncoderConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads import HeadConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.optim import OptimConfig
from asr.section import Section
from asr.text import NUM_SPECIAL, CharTokenizerConfig, TokenizerConfig
from asr.tracking.trackers import TrackingConfig

SectionType = TypeVar("SectionType", bound=Section)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message lists every fault."""


class TrainConfig(Section):
    """The loop itself."""

    max_epochs: int = Field(50, ge=1, description="passes over the training data; the schedule ends with the last")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps all the same, for trials")
    accumulation: int = Field(1, ge=1, description="a step's batch is computed in so many parts, to save memory")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="of the forward pass; auto: bf16 where the device multiplies that, else fp32; fp16: CUDA only",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where there is one")
    num_threads: int = Field(1, ge=1, description="CPU threads of the model in each process")
    compile: bool = Field(False, description="torch.compile the model")
    ema_decay: float | None = Field(None, gt=0.0, lt=1.0, description="of a moving average of the weights, if any")
    average_best: int = Field(5, ge=1, description="the final weights are the mean of so many best epochs")
    early_stopping_epochs: int | None = Field(None, ge=1, description="stop after so many epochs without a better WER")
    evaluate_every_epochs: int = Field(1, ge=1, description="score dev each so many epochs, and after the last")
    checkpoint_every_steps: int = Field(500, ge=1, description="beside one after each epoch")
    log_every_steps: int = Field(10, ge=1, description="losses are logged as means over so many steps")
    max_bad_steps: int = Field(5, ge=1, description="stop after so many steps in a row without a finite gradient")


class TrainingConfig(Section):
    """What every training has, of a recogniser or of a language model; `kind` says which."""

    run_dir: str = Field(description="the folder that the run writes into")
    seed: int = Field(0, ge=0, description="of the weights, the batches, the augmentation and the dropout")
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    tracking: TrackingConfig = TrackingConfig()
    init_from: str | None = Field(None, description="a run whose weights to start from")

    @model_validator(mode="after")
    def check_precision(self) -> "TrainingConfig":
        if self.train.precision == "fp16" and self.train.device == "cpu":
            raise ValueError("train.precision: 'fp16' needs CUDA; on a CPU use 'bf16' or 'fp32'")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Every key with its value, as JSON types."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return write_yaml(self.to_dict())


class Config(TrainingConfig):
    """One experiment: what conf/*.yaml holds and what a run folder's config.yaml records in full."""

    kind: Literal["recognizer"] = "recognizer"
    data: DataConfig
    features: FeatureConfig = FeatureConfig()
    augment: tuple[AugmentationConfig, ...] = Field((), description="applied in this order, in training only")
    tokenizer: TokenizerConfig = CharTokenizerConfig()
    encoder: EncoderConfig = RecurrentEncoderConfig()
    heads: tuple[HeadConfig, ...] = Field((CTCHeadConfig(),), min_length=1)
    decoding: DecodingConfig = CTCGreedyConfig()
    endpointing: EndpointingConfig | None = Field(None, description="of a trained model: hear only the speech, if set")

    @model_validator(mode="after")
    def check_across_sections(self) -> "Config":
        stored = [f"data.train.{number}.shards" for number, source in enumerate(self.data.train) if source.shards]
        on_samples = [step.kind for step in self.augment if step.domain == "samples"]
        if stored and on_samples:
            raise ValueError(
                f"augment: {on_samples[0]!r} changes the samples, but {stored[0]} gives stored log-mels; "
                "remove the shards to read the audio, or keep only augmentations of features"
            )
        return self

    @model_validator(mode="after")
    def check_encoder(self) -> "Config":
        if getattr(self.encoder, "streaming", False) and self.features.normalization == "utterance":
            raise ValueError(
                "features.normalization: 'utterance' needs the end of an utterance before its first frame, but "
                "encoder.streaming is true; use 'global'"
            )
        try:
            # Without memory or numbers: only to see whether the widths of all layers fit together.
            with torch.device("meta"):
                encoder = self.encoder.build(self.features.num_mels)
        except ValueError as error:
            raise ValueError(f"encoder: {error}") from None
        for number, head in enumerate(self.heads):
            try:
                with torch.device("meta"):
                    head.build(encoder.output_size, vocabulary_size=NUM_SPECIAL)
            except ValueError as error:
                raise ValueError(f"heads.{number}.{error}") from None
        return self

    @model_validator(mode="after")
    def check_heads(self) -> "Config":
        kinds = [head.kind for head in self.heads]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"heads: found {', '.join(kinds)}; expected each kind once at most")
        if self.endpointing is not None and "ctc" not in kinds:
            raise ValueError(
                f"endpointing: a CTC head finds the speech; heads has {', '.join(kinds)}: add one, or set it to null"
            )
        searched = SEARCHED_HEADS[self.decoding.kind]
        if not set(searched) <= set(kinds):
            fitting = [name for name, needed in SEARCHED_HEADS.items() if set(needed) <= set(kinds)]
            raise ValueError(
                f"decoding.kind: {self.decoding.kind!r} searches the scores of {' and '.join(searched)} heads; "
                f"heads has {', '.join(kinds)}: choose {' or '.join(map(repr, fitting))}"
            )
        return self


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `key.path=value` overrides, which are checked like the file.

    Raises ConfigError that lists every fault by its path, with a suggestion for each unknown key.
    """
    kind = read_values(path, overrides).get("kind", "recognizer")
    if kind != "recognizer":
        raise ConfigError(f"{path}: kind: found {kind!r}; expected the configuration of a recogniser")
    return load_section(path, Config, overrides)


def load_section(path: str | Path, section: type[SectionType], overrides: Sequence[str] = ()) -> SectionType:
    """As `load_config`, for any section; a `run_dir` that is not set is named after the file."""
    path = Path(path)
    values = read_values(path, overrides)
    if "run_dir" in section.model_fields:
        values.setdefault("run_dir", f"runs/{path.stem}")
    return check_section(values, section, where=str(path))


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a YAML file with these overrides, not checked yet. Raises ConfigError where it is no YAML mapping."""
    path = locate(path)
    try:
        values = read_yaml_file(path).values
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; conf/ holds the experiments") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not a valid YAML file: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found {type(values).__name__}; expected sections, each a `key: value`")
    for override in overrides:
        apply_override(values, override)
    return values


def check_section(values: dict[str, Any], section: type[SectionType], *, where: str) -> SectionType:
    """The section of these JSON values, or ConfigError with every fault, each after `where`."""
    try:
        # JSON mode takes YAML's lists for tuples and is as strict for the rest.
        return section.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {fault}" for fault in _faults(error, section))) from None


def read_yaml(text: str) -> Any:
    """Parses YAML that holds data only; ConfigError where it does not."""
    try:
        return parse_yaml(text).values
    except YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from None


def apply_override(values: dict[str, Any], override: str) -> None:
    """`data.train.0.weight=0.5` sets one leaf; lists are addressed by number."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"{override!r}: not an override; expected key=value, such as optim.learning_rate=1e-3")
    *parents, last = key.split(".")
    place: Any = values
    for parent in parents:
        place = _descend(place, parent, override)
    try:
        value = read_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{override!r}: the value is {error}") from None
    if isinstance(place, list):
        place[_position(place, last, override)] = value
    else:
        place[last] = value


def _descend(place: Any, key: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, key, override)]
    child = place.setdefault(key, {})
    if not isinstance(child, dict | list):
        raise ConfigError(f"{override!r}: {key!r} is {child!r}, not a section; override it as a whole")
    return child


def _position(place: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise ConfigError(f"{override!r}: {key!r} is no position of the list; expected 0 to {len(place) - 1}")
    return int(key)


def _faults(error: ValidationError, section: type[BaseModel]) -> list[str]:
    """One line a fault: its path as written in the file, what was found, and what would do."""
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "too_short" and any(other["loc"][:-1] == fault["loc"] for other in faults):
            continue  # a list whose only members are faulty
        location, fields = _resolve(fault["loc"], section)
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(fault["loc"][-1]), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(sorted(fields))}"
            lines.append(f"{location}: unknown key; {hint}")
        elif fault["type"] == "missing":
            lines.append(f"{location}: missing; this key is required")
        elif fault["type"] == "union_tag_not_found":
            lines.append(f"{location}.kind: missing; this key says which of the kinds it is")
        elif fault["type"] == "union_tag_invalid":
            context = fault.get("ctx", {})
            kinds = context["expected_tags"].replace("'", "").split(", ")
            near = difflib.get_close_matches(context["tag"], kinds, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(kinds)}"
            lines.append(f"{location}.kind: found {context['tag']!r}; {hint}")
        elif fault["type"] == "value_error":
            reason = str(fault.get("ctx", {}).get("error"))
            lines.append(f"{location}: {reason}" if location else reason)
        else:
            lines.append(f"{location}: found {fault['input']!r}; {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return lines


def _resolve(location: tuple[int | str, ...], section: type[BaseModel]) -> tuple[str, list[str]]:
    """A fault's path without the union tags that pydantic puts into it, and the keys its section has."""
    path: list[str] = []
    annotation: Any = section
    fields: list[str] = []
    for part in location:
        models = _models(annotation)
        tagged = [
            model for model in models if "kind" in model.model_fields and model.model_fields["kind"].default == part
        ]
        if len(models) > 1 and tagged:
            annotation = tagged[0]
            continue
        path.append(str(part))
        if isinstance(part, int):
            annotation = typing.get_args(annotation)[0] if typing.get_args(annotation) else annotation
            continue
        fields = [name for model in models for name in model.model_fields]
        found = [model.model_fields[part] for model in models if part in model.model_fields]
        annotation = found[0].annotation if found else None
    return ".".join(path), fields


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The section classes an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]
