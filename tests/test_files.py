"""asr/files.py: a file is there whole or not at all."""

import pytest

from asr.files import replacing


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
