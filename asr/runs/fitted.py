"""Figures fitted for the weights of a run, kept in its folder: JSON, by name, each with the digest of the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

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

    def find(self, name: str, *, model: str) -> Figures | None:
        """Those of this name; None where there are none. Raises `error` where they are of other weights."""
        found = self._read().get(name) if self.path.is_file() else None
        if found is None:
            return None
        if found.pop("model", None) != model:
            raise self.error(
                f"{self.path}: fitted for other weights than the run has now; expected those; {self._remedy}"
            )
        try:
            figures = self.kind(**found)
        except TypeError as error:
            raise self.error(f"{self.path}: not a calibration ({error}); {self._remedy}") from None
        # A figure that came later would get a default, beside others that were fitted without it.
        missing = sorted(
            field.name
            for field in fields(self.kind)  # type: ignore[arg-type]
            if field.name not in found and field.metadata != MAY_BE_MISSING
        )
        if missing:
            raise self.error(f"{self.path}: of an earlier version, without {', '.join(missing)}; {self._remedy}")
        return figures

    @property
    def _remedy(self) -> str:
        return f"run {self.again} again, or remove the file"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self.error(f"{self.path}: not JSON ({error}); {self._remedy}") from None
        if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
            raise self.error(f"{self.path}: not calibrations by name; {self._remedy}")
        return found
