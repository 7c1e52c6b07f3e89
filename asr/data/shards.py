"""Stored log-mels: safetensors files of some hundred utterances each, read by memory map, and their index.

    FOLDER/index.json                 feature settings, the manifest's digest, SHA-256 of every shard
    FOLDER/shard-00000.safetensors    one tensor [frame, mel] an utterance, un-normalised, under the utterance's id

`data_prep/extract.py` writes them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from torch import Tensor

from asr.data.features import FeatureConfig
from asr.files.checked_json import read_object
from asr.files.digest import file_digest
from asr.files.replacing import replacing
from asr.files.tensors import TensorsError, read_shapes

INDEX_NAME = "index.json"
VERSION = 1


class ShardError(ValueError):
    """Stored features that cannot be used; the message starts with their place."""


@dataclass(frozen=True)
class ShardEntry:
    """One finished shard, as the index has it."""

    file: str
    sha256: str
    num_bytes: int
    num_utterances: int
    left_out: tuple[str, ...] = ()  # ids of the manifest that have no features, for their recordings are broken


@dataclass(frozen=True)
class ShardIndex:
    """Holds what index.json says."""

    features: dict[str, Any]  # the settings that stored numbers depend on
    manifest: str  # path, to say where the features came from
    manifest_digest: str  # SHA-256 in hex
    num_utterances: int  # of the manifest
    shard_size: int  # utterances of the manifest to a shard
    shards: tuple[ShardEntry | None, ...]  # in the manifest's order; None: not finished
    version: int = VERSION

    def write(self, folder: Path) -> None:
        with replacing(folder / INDEX_NAME) as beside:
            beside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Read FOLDER/index.json; ShardError where it is missing or something else."""
        path = folder / INDEX_NAME
        if not path.is_file():
            raise ShardError(f"{path}: no such file; expected a folder that python -m data_prep.extract wrote")
        where = "not an index of features; extract them again"
        values = read_object(path, _Index, error=ShardError, remedy=where)
        if values["version"] != VERSION:
            raise ShardError(f"{path}: version {values['version']}; expected {VERSION}; extract the features again")
        shards = [entry and {**entry, "left_out": tuple(entry["left_out"])} for entry in values["shards"]]
        return cls(**{**values, "shards": tuple(entry and ShardEntry(**entry) for entry in shards)})

    def with_shard(self, number: int, entry: ShardEntry | None) -> ShardIndex:
        return replace(self, shards=(*self.shards[:number], entry, *self.shards[number + 1 :]))


class _Entry(BaseModel):
    """A ShardEntry as index.json holds it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    # A name alone: features are read from their own folder.
    file: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$")
    sha256: str
    num_bytes: int = Field(ge=0)
    num_utterances: int = Field(ge=0)
    left_out: list[str]


class _Index(BaseModel):
    """A ShardIndex as index.json holds it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    features: dict[str, str | float | bool | None]
    manifest: str
    manifest_digest: str
    num_utterances: int = Field(ge=0)
    shard_size: int = Field(ge=1)
    shards: list[_Entry | None]
    version: int


def stored_settings(config: FeatureConfig) -> dict[str, Any]:
    """Returns the settings that stored features depend on: all but range, PCEN and normalisation, which come after."""
    return config.model_dump(mode="json", exclude={"dynamic_range_db", "pcen", "normalization"})


def settings_difference(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    """`num_mels is 40, expected 80; ...`, or nothing where they are the same."""
    keys = [*expected, *(stored.keys() - expected.keys())]
    return "; ".join(
        f"{key} is {stored.get(key)}, expected {expected.get(key)}"
        for key in keys
        if stored.get(key) != expected.get(key)
    )


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


class FeatureShards:
    """The stored log-mels of a corpus, by utterance id.

    Nothing is read before it is asked for but the headers, and the shards' sizes are compared with the index, so that
    one cut short is found at once. `verify` compares the checksums, which reads everything.

    Raises ShardError where the folder is not finished, a shard is missing or of another size, an id occurs twice, or
    the features were made with other settings than `config` (its normalisation may differ).
    """

    def __init__(self, folder: Path | str, config: FeatureConfig) -> None:
        self.folder, self.config = Path(folder), config
        self.index = ShardIndex.read(self.folder)
        difference = settings_difference(self.index.features, stored_settings(config))
        if difference:
            raise ShardError(f"{self.folder}: stored features have other settings: {difference}; extract them again")
        num_missing = sum(entry is None for entry in self.index.shards)
        if num_missing:
            raise ShardError(
                f"{self.folder}: not finished: {num_missing} of {len(self.index.shards)} shards to do; run the same "
                f"python -m data_prep.extract again, it goes on where it was"
            )
        self._entries = [entry for entry in self.index.shards if entry is not None]
        self._shards = [self._open(entry) for entry in self._entries]
        self._shard_of = {key: number for number, shard in enumerate(self._shards) for key in list(shard.keys())}
        num_stored = sum(entry.num_utterances for entry in self._entries)
        if len(self._shard_of) != num_stored:
            raise ShardError(f"{self.folder}: {len(self._shard_of)} ids; expected {num_stored}; extract them again")

    @property
    def ids(self) -> list[str]:
        """Returns the ids of all utterances that have features."""
        return list(self._shard_of)

    def features(self, id: str) -> Float[Tensor, "frame mel"]:
        """Un-normalised log-mels of an utterance, mapped from the file; ShardError where there are none."""
        number = self._shard_of.get(id)
        if number is None:
            left_out = any(id in entry.left_out for entry in self._entries)
            reason = "its recording was broken and left out" if left_out else "another manifest was extracted"
            raise ShardError(
                f"{self.folder}: no features of utterance '{id}': {reason}; expected those of {self.index.manifest}; "
                f"extract them again, or train on {self.folder / 'manifest.jsonl'} where that is there"
            )
        return self._shards[number].get_tensor(id)

    def verify(self) -> None:
        """Compare every shard with its checksum; ShardError naming all that changed."""
        changed = [entry.file for entry in self._entries if file_digest(self.folder / entry.file) != entry.sha256]
        if changed:
            raise ShardError(
                f"{self.folder}: not what was written: {', '.join(changed)}; run the same "
                f"python -m data_prep.extract again, it does those anew"
            )

    def __reduce__(self) -> tuple:
        """Sent to another process, the shards are opened again there: a memory map cannot travel."""
        return FeatureShards, (self.folder, self.config)

    def _open(self, entry: ShardEntry) -> safe_open:
        path = self.folder / entry.file
        num_bytes = path.stat().st_size if path.is_file() else 0
        if num_bytes != entry.num_bytes:
            raise ShardError(
                f"{path}: {num_bytes:,} bytes; expected {entry.num_bytes:,}; run the same "
                f"python -m data_prep.extract again, it does this shard anew"
            )
        try:
            shapes = read_shapes(path, remedy="extract it again")
        except TensorsError as error:
            raise ShardError(str(error)) from error
        for id, shape in shapes.items():
            if len(shape) != 2 or shape[0] < 1 or shape[1] != self.config.num_mels:
                raise ShardError(
                    f"{path}: {id:.60}: features of shape {shape}; expected frames of {self.config.num_mels} mels; "
                    "extract it again"
                )
        return safe_open(path, framework="pt")
