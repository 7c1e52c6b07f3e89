"""The SHA-256 of a file's bytes, by which a file is known again."""

import functools
import hashlib
import stat
from pathlib import Path


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal; empty where it cannot be read."""
    try:
        state = Path(path).stat()
        return _digest_of(path, state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else ""
    except OSError:
        return ""


@functools.lru_cache(maxsize=16)  # a manifest names a recording again and again
def _digest_of(path: str, _size: int, _changed: int) -> str:
    return file_digest(Path(path))
