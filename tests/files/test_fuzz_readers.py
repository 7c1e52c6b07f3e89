"""Files of strangers, damaged: a short form of tests/programs/fuzz_readers.py, and whether it can find anything."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.programs import fuzz_readers
from tests.programs.damage import LARGEST, damage
from tests.programs.fuzz_readers import NAMES, SHARES, TookTooLong, damaged, fuzz, outcome_of, turns, write_files
from tests.support.strangers_files import Reader, all_readers

NUM_INPUTS = 1500  # 10 seconds of processor time


def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    result = fuzz(0, NUM_INPUTS, seed=1, names=turns(), keep=tmp_path)
    assert not result.faults, "\n".join(result.faults)
    assert result.num_inputs == NUM_INPUTS
    assert {key.partition("\t")[0] for key in result.results} == set(NAMES)


def test_whole_files_are_read(tmp_path: Path) -> None:
    """Else damage to them would never come to what is behind the first check."""
    readers = all_readers()
    assert sorted(readers) == sorted(NAMES)
    assert set(SHARES) <= set(NAMES)
    for name, reader in readers.items():
        for number, source in enumerate(reader.sources):
            write_files(source, folder := tmp_path / f"{name}-{number}")
            reader.read(folder)
            if reader.repair is not None:
                reader.repair(repaired := dict(source))
                write_files(repaired, folder)
                reader.read(folder)


def test_an_input_is_the_same_again() -> None:
    reader = Reader([{"x.json": json.dumps({"a": list(range(50))}).encode()}], str)
    inputs = [damaged(reader, number, seed=3)["x.json"] for number in range(40)]
    assert inputs == [damaged(reader, number, seed=3)["x.json"] for number in range(40)]
    assert len(set(inputs)) > 30


def test_damage_upon_damage_stays_in_memory() -> None:
    """Each may say a megabyte a thousand times: an input of half a gibibyte was no fault of its reader."""
    content, sizes = b"x: 1\n" * 200_000, []
    for number in range(200):
        sizes.append(len(damage(content, [], np.random.default_rng(number))))
    assert len(content) * 10 < max(sizes) <= 4 * (LARGEST + len(content))


def raising(error: BaseException) -> Reader:
    def read(folder: Path) -> None:
        raise error

    return Reader([], read)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("x.json: 3; expected 4"), "ValueError"),
        (FileNotFoundError("x.json"), "FileNotFoundError"),
        (ValueError("3; expected 4"), "FAULT no name"),
        (KeyError("x.json"), "FAULT KeyError at"),
        (RecursionError("x.json"), "FAULT RecursionError at"),
        (MemoryError("x.json"), "FAULT MemoryError at"),
        (TookTooLong(), "FAULT took 10 s"),
    ],
)
def test_what_counts_as_a_fault(tmp_path: Path, error: BaseException, outcome: str) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert outcome_of(raising(error), tmp_path).startswith(outcome)


def test_processes_that_die_or_hang_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child does not know this reader, and dies of it; a slow one is not waited for."""
    monkeypatch.setattr(fuzz_readers, "NAMES", ["none"])
    died = fuzz(0, 1, seed=0, names=["none"])
    assert [fault.startswith("none: FAULT the process died") for fault in died.faults] == [True]
    monkeypatch.setattr(fuzz_readers, "PATIENCE", 0.01)
    before = time.monotonic()
    assert "FAULT no answer" in next(iter(fuzz(0, 1, seed=0, names=["arpa"]).faults))
    assert time.monotonic() - before < 60
