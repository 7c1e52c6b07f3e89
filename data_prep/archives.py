"""Archives of strangers, extracted within limits and without leaving their folder."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from data_prep.entries import DownloadError

LARGEST_READ = 64 << 20  # bytes at once; tarfile reads the long names of members whole
SUFFIX_OF = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}  # by the first bytes of a file


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds what an archive may come to; recordings hardly shrink, so one that swells a hundredfold holds none."""

    num_bytes: int = 200 << 30
    num_members: int = 5_000_000
    ratio: int = 100  # extracted bytes for one of the archive
    bytes_at_any_ratio: int = 64 << 20

    def largest(self, archive: Path) -> int:
        """Bytes that this archive may come to."""
        return min(self.num_bytes, max(self.bytes_at_any_ratio, self.ratio * archive.stat().st_size))


class _Bounded(io.RawIOBase):
    """A stream of uncompressed bytes that ends in an error behind so many of them."""

    def __init__(self, file: IO[bytes], archive: Path, limit: int) -> None:
        self._file, self._archive, self._limit = file, archive, limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_READ:
            raise DownloadError(f"{self._archive}: a name or a head of {size:,} bytes; expected an archive of files")
        data = self._file.read(size)
        self._check(self._file.tell())
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._limit:
            raise DownloadError(
                f"{self._archive}: more than {self._limit:,} bytes come out of it; expected at most so many of an "
                f"archive of {self._archive.stat().st_size:,}; it is no corpus, or extract it by hand"
            )


def extract(archive: Path, folder: Path, *, limits: ArchiveLimits | None = None) -> None:
    """Extract a tar archive into `folder`; of one that is refused nothing stays.

    Raises:
        DownloadError: a member is a link or a device, or has an absolute name or one with `..`; the archive holds more
            than the limits; or it is damaged.
    """
    limits = limits or ArchiveLimits()
    extracted: list[Path] = []
    try:
        with _opened(archive) as file:
            bounded: Any = _Bounded(file, archive, limits.largest(archive))
            with tarfile.open(fileobj=bounded, mode="r:") as tar:
                tar.extractall(folder, filter=_filter(archive, folder, limits, extracted))
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError) as error:
        _remove(extracted)
        raise DownloadError(f"{archive}: cannot be extracted ({error}); remove it and fetch it again") from error
    except DownloadError:
        _remove(extracted)
        raise


def _opened(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        head = file.read(6)
    for magic, opener in SUFFIX_OF.items():
        if head.startswith(magic):
            return opener(archive, "rb")  # pyright: ignore[reportReturnType]
    return archive.open("rb")


def _filter(
    archive: Path, folder: Path, limits: ArchiveLimits, extracted: list[Path]
) -> Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]:
    """Returns the function that looks at each member before it is written."""
    largest = limits.largest(archive)
    seen = {"members": 0, "bytes": 0}

    def check(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        seen["members"] += 1
        seen["bytes"] += member.size
        if seen["members"] > limits.num_members or seen["bytes"] > largest:
            raise DownloadError(
                f"{archive}: {seen['members']:,} members of {seen['bytes']:,} bytes; expected at most "
                f"{limits.num_members:,} of {largest:,} in an archive of {archive.stat().st_size:,}"
            )
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise DownloadError(
                f"{archive}: {member.name}: a name outside; expected an archive that stays in its folder"
            )
        if not (member.isreg() or member.isdir()):
            raise DownloadError(f"{archive}: {member.name}: a link or a device; expected files and folders only")
        if member.isreg():
            extracted.append(folder / name)
        return tarfile.data_filter(member, path)

    return check


def _remove(paths: list[Path]) -> None:
    """Remove what was written of an archive that is refused; folders stay."""
    for path in paths:
        path.unlink(missing_ok=True)
