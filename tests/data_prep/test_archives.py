"""data_prep/archives.py: archives of strangers stay in their folder and within limits."""

import io
import tarfile
from pathlib import Path

import pytest

from data_prep.archives import ArchiveLimits, extract
from data_prep.entries import DownloadError

SMALL = ArchiveLimits(bytes_at_any_ratio=1 << 20)


def write(path: Path, members: list[tarfile.TarInfo], *, mode: str = "w:gz", content: bytes = b"") -> Path:
    with tarfile.open(path, mode) as tar:
        for member in members:
            member.size = member.size or len(content) * member.isreg()
            tar.addfile(member, io.BytesIO(content.ljust(member.size, b"\0")) if member.isreg() else None)
    return path


def member(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_files_and_folders_are_extracted(tmp_path: Path, mode: str) -> None:
    archive = write(tmp_path / "a.tar", [member("c", kind=tarfile.DIRTYPE), member("c/a.txt")], mode=mode, content=b"x")
    extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "c" / "a.txt").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        (member("/etc/x"), r"/etc/x: a name outside; expected an archive that stays in its folder"),
        (member("a/../../x"), r"a/\.\./\.\./x: a name outside"),
        (member("link", kind=tarfile.SYMTYPE, target="/etc/passwd"), "link: a link or a device; expected files"),
        (member("inside", kind=tarfile.SYMTYPE, target="first.txt"), "inside: a link or a device"),
        (member("hard", kind=tarfile.LNKTYPE, target="first.txt"), "hard: a link or a device"),
        (member("pipe", kind=tarfile.FIFOTYPE), "pipe: a link or a device"),
        (member("bomb", size=32 << 20), r"2 members of 33,554,43\d bytes; expected at most 5,000,000 of 3,"),
    ],
)
def test_what_leads_out_or_swells_is_refused_and_nothing_stays(tmp_path: Path, last, fault: str) -> None:
    archive = write(tmp_path / "a.tar.gz", [member("first.txt"), last], content=b"x")
    with pytest.raises(DownloadError, match=rf"a\.tar\.gz: .*{fault}|a\.tar\.gz: {fault}"):
        extract(archive, tmp_path / "out", limits=SMALL)
    assert left(tmp_path / "out") == []


def test_the_number_of_members_is_bounded(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.tar.gz", [member(f"{number}.txt") for number in range(9)], content=b"x")
    with pytest.raises(DownloadError, match="9 members of 9 bytes; expected at most 8"):
        extract(archive, tmp_path / "out", limits=ArchiveLimits(num_members=8))
    assert left(tmp_path / "out") == []


def test_bytes_that_no_head_admits_to_are_bounded_too(tmp_path: Path) -> None:
    """A head that says 1 byte, and a name of 100 MB: what is read counts, not what is said."""
    archive = tmp_path / "a.tar.gz"
    named = member("x")
    named.pax_headers = {"comment": "x" * (100 << 20)}
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(named)
    with pytest.raises(DownloadError, match=r"a name or a head of 104,\d+,\d+ bytes; expected an archive of files"):
        extract(archive, tmp_path / "out")
    named.pax_headers = {"comment": "x" * (8 << 20)}
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(named)
    with pytest.raises(DownloadError, match=r"more than 1,\d+,\d+ bytes come out of it"):
        extract(archive, tmp_path / "out", limits=SMALL)
