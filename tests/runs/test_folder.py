"""The record of a run folder: added to, and refused where it is none."""

from pathlib import Path

import pytest

from asr.runs.folder import RunError, RunFolder, flatten


def test_values_are_added_to_the_record(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_record({"steps": 1, "dev": {"wer": 0.5}})
    run.write_record({"steps": 2})
    assert run.read_record() == {"steps": 2, "dev": {"wer": 0.5}}


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json: cannot be read \(.*No such file.*\); is this a run of asr\.train"):
        RunFolder(tmp_path).read_record()
    (tmp_path / "run.json").write_text('{"steps": ')
    with pytest.raises(RunError, match=r"run\.json: not JSON \(Expecting value"):
        RunFolder(tmp_path).read_record()


def test_sections_are_flattened_to_the_keys_that_a_command_line_takes() -> None:
    values = {"a": {"b": [1, {"c": 2}]}, "d": [], "e": None}
    assert flatten(values) == {"a.b.0": 1, "a.b.1.c": 2, "d": [], "e": None}
