"""Files that are there whole or not at all."""

import functools
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from filelock import FileLock


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on leaving, it is synced to disk and takes the place of `path`.

    When the block raises, what was written is removed and `path` stays as it was. The folder is made when absent.
    The last suffix is kept, so that writers which choose a format by it still do. The file has the permissions of any
    new file here (the umask's, or the folder's default), whatever the writer gave it: safetensors' own are 0600.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem}.{os.getpid()}-{threading.get_ident()}.tmp{target.suffix}")
    try:
        beside.touch()
        mode = stat.S_IMODE(beside.stat().st_mode)
        yield beside
        beside.chmod(mode)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


class HeldLock:
    """A lock on a file that this process has taken, until `close`, or until the process ends, in whatever way.

    Processes that it forks do not hold it on. Raises filelock's Timeout, an OSError, where another process has it.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = FileLock(path, thread_local=False)
        self._lock.acquire(blocking=False)

    def close(self) -> None:
        self._lock.release()

    def __enter__(self) -> "HeldLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def size_of(path: str) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def digest_of(path: str) -> str:
    """SHA-256 of a file's bytes, in hex; empty where it cannot be read."""
    try:
        state = Path(path).stat()
        return _digest_of(path, state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else ""
    except OSError:
        return ""


@functools.lru_cache(maxsize=16)  # a manifest names a recording again and again
def _digest_of(path: str, _size: int, _changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
