"""Checks what a record of a job's journal holds when it is opened: other versions write such files too."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asr.files.checked_json import FAULTS_SHOWN, say_fault


def _stays_inside(path: str) -> str:
    """Files of a record are removed with it: none may be outside of the output folder."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
        raise ValueError("expected a path below the output folder")
    return path


Inside = Annotated[str, AfterValidator(_stays_inside)]


class _Exact(BaseModel):
    """Keys that are all known, since a transcript is made of them."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Open(BaseModel):
    """Keys beside which other versions may have others."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Word(_Exact):
    word: str
    start: float
    end: float
    confidence: float


class _Transcript(_Exact):
    pred_text: str
    confidence: float
    words: list[_Word]
    duration: float
    channel: int | None = None
    command: dict[str, Any] | None = None
    warning: str | None = None


class _Source(_Open):
    path: str
    offset: float
    duration: float | None


class _Head(_Open):
    id: str
    audio_filepath: str


class _Record(_Open):
    name: str
    settings: str
    source: _Source | None = None
    head: _Head | None = None
    model: str = ""
    each_channel: bool = False
    merged: bool = False
    files: list[Inside] = []
    stem: Inside | None = None


class _Transcribed(_Record):
    size: int = Field(ge=0)
    sha256: str
    seconds: float
    transcripts: list[_Transcript] = Field(min_length=1)


class _Failed(_Record):
    error: str
    error_kind: str | None


def fault_of_record(record: dict[str, Any]) -> str | None:
    """Returns what is wrong with a record that came from a journal, or None."""
    try:
        (_Failed if "error" in record else _Transcribed).model_validate(record)
    except ValidationError as error:
        return "; ".join(say_fault(fault) for fault in error.errors(include_url=False)[:FAULTS_SHOWN])
    return None
