"""Reads an offline wandb run back from its `.wandb` file, to check what really was recorded.

The file is a LevelDB log (https://github.com/google/leveldb/blob/main/doc/log_format.md) with its own header, and
CRC-32 in place of CRC-32C: `:W&B`, magic 0xBEE1, version; then 32 KiB blocks of pieces, each with checksum, length
and type (1 whole, 2 first, 3 middle, 4 last); a whole record is one protobuf message.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK_SIZE = 32 * 1024
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    id: str = ""
    project: str = ""
    name: str = ""
    may_resume: bool = False  # what `wandb sync` asks before it appends to a run that the server has
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # one dict a `log` call
    files: list[str] = field(default_factory=list)  # below the folder `files`
    artifacts: list[str] = field(default_factory=list)
    exit_code: int | None = None


def read_run(path: Path) -> OfflineRun:
    """Everything in one `.wandb` file that the tests look at."""
    from wandb.proto.wandb_internal_pb2 import Record

    run = OfflineRun()
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.project, run.name = record.run.run_id, record.run.project, record.run.display_name
            run.may_resume = run.may_resume or record.run.resume
            run.config |= _values(record.run.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "files":
            run.files += [file.path for file in record.files.files]
        elif kind == "artifact":
            run.artifacts.append(record.artifact.name)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    """The whole records; a torn one at the end, as a killed process leaves it, is left out."""
    identity, magic, _ = struct.unpack("<4sHB", data[:7])
    assert (identity, magic) == (b":W&B", 0xBEE1)
    position, record = 7, b""
    while position + 7 <= len(data):
        left = BLOCK_SIZE - position % BLOCK_SIZE
        checksum, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if left < 7 or (kind == 0 and length == 0):  # padding to the end of the block
            position += left
            continue
        piece = data[position + 7 : position + 7 + length]
        if len(piece) < length:
            return
        assert checksum == zlib.crc32(bytes([kind]) + piece)
        position += 7 + length
        record = piece if kind in (WHOLE, FIRST) else record + piece
        if kind in (WHOLE, LAST):
            yield record
