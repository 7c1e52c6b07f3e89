"""The record of a run folder: added to, and refused where it is none."""

import json
import math
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"steps": "3"}', r"run\.json: steps: found '3'; input should be a valid integer; .*copy the whole run"),
        ('{"model": 3}', r"run\.json: model: found 3"),
        ('{"features": [1]}', r"run\.json: features: found \[1\]"),
        ('{"data.dev": 3}', r"run\.json: the object: .*data\.dev: found 3; expected a digest"),
        ('{"model": "a", "model": "b"}', r"run\.json: the key 'model' twice"),
        ("[]", r"run\.json: list; expected a JSON object"),
    ],
)
def test_a_record_of_something_else_is_refused_with_its_key(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunFolder(tmp_path).read_record()


def test_a_record_of_another_version_is_read_as_it_is(tmp_path: Path) -> None:
    """Of an epoch in which an utterance had no path, the loss is infinite."""
    content = {"later": [{"x": 1}], "dev": {"loss": math.inf}, "max_epochs_raised": [[3, 4]], "data.train.0": "0f"}
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert RunFolder(tmp_path).read_record() == content
