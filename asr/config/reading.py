"""Reads a section from a YAML file: single keys are overridden, all is checked, and every fault is said at once."""

import difflib
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from asr.files.packaged import locate
from asr.files.yaml import YAMLError, parse_yaml, read_yaml_file
from asr.section import Section

SectionType = TypeVar("SectionType", bound=Section)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message lists every fault."""


def load_section(path: str | Path, section: type[SectionType], overrides: Sequence[str] = ()) -> SectionType:
    """Reads and checks a section with overrides; a `run_dir` that is not set is named after the file.

    Raises ConfigError that lists every fault by its path, with a suggestion for each unknown key.
    """
    path = Path(path)
    values = read_values(path, overrides)
    if "run_dir" in section.model_fields:
        values.setdefault("run_dir", f"runs/{path.stem}")
    return check_section(values, section, where=str(path))


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the keys of a YAML file with these overrides, not checked yet. Raises ConfigError where it is no YAML
    mapping.
    """
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
    """Returns the section of these JSON values, or ConfigError with every fault, each after `where`."""
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
    """Returns one line a fault: its path as written in the file, what was found, and what would do."""
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
    """Returns a fault's path without the union tags that pydantic puts into it, and the keys its section has."""
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
        if typing.get_origin(annotation) is dict:  # a mapping of a user's own keys
            annotation = typing.get_args(annotation)[1]
            continue
        fields = [name for model in models for name in model.model_fields]
        found = [model.model_fields[part] for model in models if part in model.model_fields]
        annotation = found[0].annotation if found else None
    return ".".join(path), fields


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Returns the section classes an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]
