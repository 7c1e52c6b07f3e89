"""Figures fitted for the weights of a run, kept in its folder: JSON, by name, each with the digest of the weights."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, create_model

from asr.files.checked_json import check_values, read_object
from asr.runs.checkpoint import write_text

MAY_BE_MISSING = {"may_be_missing": True}  # metadata of a figure whose default is what its absence meant
Figures = TypeVar("Figures")  # a frozen dataclass


@dataclass(frozen=True)
class FittedFile(Generic[Figures]):
    """A file of figures; what is wrong with it is raised as `error`, with the remedy."""

    path: Path
    kind: type[Figures]
    error: type[ValueError]
    again: str  # the command that fits them again

    def keep(self, name: str, figures: Figures, *, model: str) -> Path:
        """Under this name, in the place of older ones; `model` is the digest of the weights."""
        known = self._read() if self.path.is_file() else {}
        known[name] = {"model": model, **asdict(figures)}  # type: ignore[call-overload]
        write_text(self.path, json.dumps(known, indent=1) + "\n")
        return self.path

    def keep_family(self, figures: Mapping[str, Figures], *, is_member: Callable[[str], bool], model: str) -> Path:
        """Keeps these figures by their names in the place of all whose names are of the same family."""
        known = self._read() if self.path.is_file() else {}
        kept = {name: each for name, each in known.items() if not is_member(name)}
        kept |= {name: {"model": model, **asdict(each)} for name, each in figures.items()}  # type: ignore[call-overload]
        write_text(self.path, json.dumps(kept, indent=1) + "\n")
        return self.path

    def names(self) -> list[str]:
        """Returns the names under which figures are kept."""
        return list(self._read()) if self.path.is_file() else []

    def find(self, name: str, *, model: str) -> Figures | None:
        """Returns the figures of this name; None if there are none. Raises `error` where they are of other weights."""
        found = self._read().get(name) if self.path.is_file() else None
        if found is None:
            return None
        if found.pop("model", None) != model:
            raise self.error(
                f"{self.path}: fitted for other weights than the run has now; expected those; {self._remedy}"
            )
        where = f"{self.path}: not a calibration: {name}"
        check_values(found, _schema(self.kind), where=where, error=self.error, remedy=self._remedy)
        # A figure that came later would get a default, beside others that were fitted without it.
        missing = sorted(
            field.name
            for field in fields(self.kind)  # type: ignore[arg-type]
            if field.name not in found and field.metadata != MAY_BE_MISSING
        )
        if missing:
            raise self.error(f"{self.path}: of an earlier version, without {', '.join(missing)}; {self._remedy}")
        return self.kind(**found)

    @property
    def _remedy(self) -> str:
        return f"run {self.again} again, or remove the file"

    def _read(self) -> dict[str, Any]:
        return read_object(self.path, _ByName, error=self.error, remedy=self._remedy)


class _ByName(RootModel[dict[str, dict[str, Any]]]):
    """The whole file; the figures of a name are checked when they are asked for."""


def _schema(kind: type) -> type[BaseModel]:
    """Returns a section with the fields of a dataclass: no others, of their types, and every number finite."""
    hints = typing.get_type_hints(kind)
    defaults = {field.name: ... if field.default is dataclasses.MISSING else field.default for field in fields(kind)}
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
    shape: dict[str, Any] = {name: (hints[name], default) for name, default in defaults.items()}
    return create_model(kind.__name__, __config__=config, **shape)
