import hashlib
from pathlib import Path

import pytest

from asr.files.digest import digest_of, file_digest


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    path, content = tmp_path / "a.wav", bytes(range(256)) * 5000
    path.write_bytes(content)
    assert file_digest(path) == digest_of(str(path)) == hashlib.sha256(content).hexdigest()
    path.write_bytes(content + b"x")
    assert file_digest(path) == digest_of(str(path)) == hashlib.sha256(content + b"x").hexdigest()


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    assert digest_of(str(tmp_path)) == digest_of(str(tmp_path / "absent")) == ""
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "absent")
