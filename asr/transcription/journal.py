"""Keeps what a job has done so far, so that a kill at any moment costs only what was being done then.

    a0b1c2d3 {"name": "monday/a.wav", "settings": "5f2e...", "sha256": "...", "transcripts": [...]}

One record a line, after the CRC-32 of its bytes. A line that was being written when the job died is cut off when the
journal is opened again; one that a disk has damaged, or that holds something else than a record, is passed over and
stays where it is. The last record of a name counts.
"""

import contextlib
import json
import os
import shutil
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import Timeout

from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import HeldLock

FOLDER = ".transcribe"  # in the output folder
SYNC_BYTES = 1 << 20  # written between two syncs to the disk
NUM_NAMED = 5  # of the lines that are damaged


class JournalError(ValueError):
    """A journal that cannot be written or belongs to another job that is running."""


class JournalFullError(JournalError):
    """No room for what a job has found out; what was written before is whole."""


class Journal:
    """An append-only file of records, of which only the places are in memory."""

    def __init__(self, folder: Path, *, fault_of: Callable[[dict[str, Any]], str | None] | None = None) -> None:
        """Make the folder and take its lock, or raise JournalError; records are there once `load` was called.

        `fault_of` says what is wrong with a record that came whole from the disk, or None.
        """
        self._fault_of = fault_of
        self.path = folder / "journal.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = HeldLock(folder / "lock")
        except Timeout:
            raise JournalError(
                f"{folder.parent}: another job is writing here; expected none; wait for it, or give this one its own "
                "--output-dir"
            ) from None
        except OSError as error:
            raise JournalError(
                f"{folder}: cannot be written ({error.strerror}); expected a folder to write transcripts into"
            ) from None
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._end = 0
        self._unsynced = 0
        self._places = array("q")  # of the last record of each recording; -1: none
        self._others: dict[str, int] = {}  # name -> place of the last record, of recordings that this job has not
        self.num_damaged = 0
        self.damaged: list[str] = []  # what is wrong with the first of these, each with its line

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk has been said
            self.sync()
        os.close(self._file)
        self._lock.close()

    def remove(self) -> None:
        """Removes the whole folder, while it is still locked."""
        shutil.rmtree(self.path.parent)

    def load(self, names: Iterable[str]) -> None:
        """Find the records of these names; a name's place among them is its number from now on."""
        numbers = {name: number for number, name in enumerate(names)}
        self._places = array("q", [-1]) * len(numbers)
        for place, record in self._scan():
            number = numbers.get(record["name"])
            if number is not None:
                self._places[number] = place
            else:
                self._others[record["name"]] = place

    def grow(self, names: Iterable[str]) -> None:
        """More names, each with the next number; what another job has of them is theirs now."""
        self._places.extend(self._others.pop(name, -1) for name in names)

    @property
    def is_empty(self) -> bool:
        """Returns whether no job has done anything here."""
        return not self._others and max(self._places, default=-1) < 0

    @property
    def num_others(self) -> int:
        return len(self._others)

    def others(self) -> Iterator[dict[str, Any]]:
        """Yields the last records of the names that were not given, in the order of these names."""
        for name in sorted(self._others):
            record = self._read(self._others[name])
            if record is not None:
                yield record

    def __getitem__(self, number: int) -> dict[str, Any] | None:
        """Returns the last record of a name, by its number."""
        place = self._places[number]
        return None if place < 0 else self._read(place)

    def _read(self, place: int) -> dict[str, Any] | None:
        line = os.pread(self._file, 1 << 16, place)
        while b"\n" not in line and (more := os.pread(self._file, 1 << 20, place + len(line))):
            line += more
        return _parse(line[: line.index(b"\n") + 1])

    def append(self, number: int, record: Mapping[str, Any]) -> None:
        """Raises JournalFullError where there is no room; what was there before stays whole."""
        body = json.dumps(record).encode("ascii")
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._end + written)
            self._unsynced += len(line)
            if self._unsynced > SYNC_BYTES:
                self.sync()
        except OSError as error:
            free = shutil.disk_usage(self.path.parent).free
            raise JournalFullError(
                f"{self.path}: cannot be written ({error.strerror}); {free / 2**20:.1f} MiB are free there. What is "
                "done is kept: make room and run the same command to go on from it"
            ) from None
        self._places[number] = self._end
        self._end += len(line)

    def sync(self) -> None:
        """Writes it to the disk, so that a power cut costs no more than a kill."""
        os.fsync(self._file)
        self._unsynced = 0

    def _scan(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields each whole record with its place; then the file ends after the last whole one."""
        self._end = place = 0
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                record = _parse(line)
                fault = self._fault_of(record) if record is not None and self._fault_of is not None else None
                if record is not None and fault is None:
                    yield place, record
                    self._end = place + len(line)
                elif line.endswith(b"\n"):
                    self._note_damage(number, record, fault)
                    self._end = place + len(line)
                place += len(line)
        if self._end < place:
            os.ftruncate(self._file, self._end)

    def _note_damage(self, number: int, record: dict[str, Any] | None, fault: str | None) -> None:
        self.num_damaged += 1
        if len(self.damaged) < NUM_NAMED:
            what = "its checksum or its form is wrong" if record is None else f"{record['name']!a}: {fault}"
            self.damaged.append(f"{self.path}:{number}: {what}")


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns none for what is no whole record."""
    checksum, _, body = line[:-1].partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = parse_object(body, is_finite=False)
    except LineError:
        return None
    return record if isinstance(record.get("name"), str) else None
