"""JSON files of strangers: each fault with its file and key."""

import json
import math
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from asr.files import checked_json
from asr.files.checked_json import read_object, shortened


class Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    steps: int
    names: tuple[str, ...] = ()
    loss: float = 0.0


def read(path: Path) -> object:
    return read_object(path, Schema, error=ValueError, remedy="copy it again")


def test_what_the_schema_takes_is_given_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"steps": 1, "names": ["a"], "loss": Infinity}')
    assert read(tmp_path / "x.json") == {"steps": 1, "names": ["a"], "loss": math.inf}
    with pytest.raises(FileNotFoundError, match="none"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"x\.json: not JSON \(.*; copy it again"),
        ("[1]", r"x\.json: list; expected a JSON object; copy it again"),
        ("{}", r"x\.json: steps: missing; this key is required; copy it again"),
        ('{"steps": "1"}', r"x\.json: steps: found '1'; input should be a valid integer; copy it again"),
        ('{"steps": true}', r"steps: found True; input should be a valid integer"),
        ('{"steps": 1, "step": 2}', r"step: found 2; extra inputs are not permitted"),
        ('{"steps": 1, "steps": 2}', r"x\.json: the key 'steps' twice; expected each key once; copy"),
        ('{"steps": 1, "names": [1, 2, 3, 4, 5, 6, 7]}', r"(?s)names\.0: found 1.*names\.4.*and 2 faults more; copy"),
        ("[" * 100_000, r"x\.json: not JSON \(maximum recursion"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x.json")


def test_a_file_that_memory_should_not_have_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_json, "LARGEST_FILE", 20)
    (tmp_path / "x.json").write_text(json.dumps({"steps": 10**20}))
    with pytest.raises(ValueError, match=r"x\.json: more than 0 MiB; expected a small JSON file; copy it again"):
        read(tmp_path / "x.json")


def test_a_value_is_shown_on_one_short_line() -> None:
    assert shortened("a\nb") == r"'a\nb'"
    assert len(shortened("x" * 1000)) == 63
