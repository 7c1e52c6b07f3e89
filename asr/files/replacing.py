"""Files: written whole or not at all, cut into lines at line feeds only, and named as the system finds them."""

import os
import stat
import threading
from collections.abc import Iterator, Sequence
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
    """Returns the bytes of a file; 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def split_lines(text: str) -> list[str]:
    r"""Cut a text into lines at "\n" and "\r\n", and nowhere else; an end of the last line begins no further one.

    `str.splitlines` would also cut at U+2028, U+0085, form feeds and more, which are characters of a transcript.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def absolute_path(path: str | os.PathLike[str]) -> str:
    """Returns the absolute path of what the system would open under this one, without `..`.

    After a linked folder, `..` is the parent of the folder that the link leads to, so it is looked up rather than
    removed from the text. Where a folder on the way is missing, the path keeps its `..`: the system finds nothing there
    either.
    """
    full = str(Path(path).absolute())
    if "/.." not in full:
        return full
    folder, name = os.path.split(full)
    try:
        if name == "..":
            return os.path.realpath(full, strict=True)
        return os.path.join(os.path.realpath(folder, strict=True), name)  # noqa: PTH118  (a million times a manifest)
    except OSError:
        return full


def distinct_names(paths: Sequence[str | Path], *, num_folders: int = 0, between: str = "/") -> list[str]:
    """Returns a name for each file: its stem behind `num_folders` of its folders, and behind more where two would be
    the same; and with its suffix where folders do not tell them apart.

    The same file twice has one name twice.
    """
    found = [Path(absolute_path(path)) for path in paths]
    parts = [(*path.parent.parts[1:], path.stem) for path in found]
    used = [min(num_folders + 1, len(each)) for each in parts]
    while True:
        names = [between.join(each[-length:]) for each, length in zip(parts, used)]
        clashing = {
            index
            for index, name in enumerate(names)
            if any(other == name and found[at] != found[index] for at, other in enumerate(names))
            and used[index] < len(parts[index])
        }
        if not clashing:
            unclear = {name for name in names if len({path for path, each in zip(found, names) if each == name}) > 1}
            return [name + path.suffix * (name in unclear) for name, path in zip(names, found)]
        used = [length + (index in clashing) for index, length in enumerate(used)]
