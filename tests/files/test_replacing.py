"""asr/files/replacing.py: a file is there whole or not at all."""

import pytest

from asr.files.replacing import distinct_names, replacing


def fail_half_way(target):
    with replacing(target) as beside:
        beside.write_text("ha")
        raise RuntimeError("half way")


def test_replaces_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "new folder" / "notes.txt"
    with replacing(target) as beside:
        beside.write_text("whole")
        assert beside.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "whole"

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(target)
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["notes.txt"]


def test_files_of_one_stem_have_names_of_their_own(tmp_path):
    assert distinct_names(["/x/a/test.jsonl", "/x/b/test.jsonl", "/x/b/dev.jsonl"]) == ["a/test", "b/test", "dev"]
    assert distinct_names(["/x/a/t.jsonl", "/y/a/t.jsonl"], num_folders=1, between="-") == ["x-a-t", "y-a-t"]
    assert distinct_names(["/x/a.jsonl", "/x/a.json"]) == ["x/a.jsonl", "x/a.json"]
    assert distinct_names([tmp_path / "a.jsonl", tmp_path / ".." / tmp_path.name / "a.jsonl"]) == ["a", "a"]
