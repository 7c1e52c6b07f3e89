"""Fetching a corpus: resumed where a connection broke, checked, and extracted (archives.py)."""

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from data_prep.archives import extract
from data_prep.corpus import say
from data_prep.entries import DownloadError

BLOCK_BYTES = 1 << 20
TIMEOUT = 60  # seconds without a byte
NUM_TRIES = 5  # in a row that bring nothing


def fetch(archives: Mapping[str, str | None], folder: Path) -> None:
    """Download and extract archives into a folder, each once.

    Args:
        archives: address of a .tar.gz -> its checksum as "sha256:..." or "md5:...", None where none is published.
        folder: is made; a file `.NAME.done` in it says that NAME was extracted whole.

    Raises:
        DownloadError: as `download` and `extract`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for url, checksum in archives.items():
        archive = folder / Path(urlsplit(url).path).name
        done = folder / f".{archive.name}.done"
        if done.is_file():
            say(f"{archive.name}: already fetched and extracted")
            continue
        download(url, archive, checksum=checksum)
        say(f"{archive.name}: extracting")
        extract(archive, folder)
        done.write_text(f"{url}\n")
        archive.unlink()


def download(url: str, path: Path, *, checksum: str | None) -> None:
    """Download to `path`; what an interrupted call has fetched is kept beside it (`.part`) and continued.

    Raises:
        DownloadError: the address is not http(s), the server refuses, the connection breaks again and again, or the
            bytes are not those of the checksum (what was fetched is then removed).
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: expected an http or https address")
    if not path.is_file():
        part = path.with_name(path.name + ".part")
        _fetch_all(url, part)
        part.replace(path)
        _tag_of(part).unlink(missing_ok=True)
    _check(url, path, checksum)


def _fetch_all(url: str, part: Path) -> None:
    """Try until the file is whole; tries that bring something do not count."""
    num_failures, size = 0, _size(part)
    while not _fetch_rest(url, part):
        num_failures = 0 if _size(part) > size else num_failures + 1
        size = _size(part)
        if num_failures == NUM_TRIES:
            raise DownloadError(f"{url}: the connection broke {NUM_TRIES} times; run the same command to go on")
        time.sleep(2**num_failures)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch_rest(url: str, part: Path) -> bool:
    """Fetch what is missing of a file; say whether it is whole now."""
    have = _size(part)
    tag_file = _tag_of(part)
    headers = {"User-Agent": "earshot", "Accept-Encoding": "identity"}
    if have and (tag := tag_file.read_text() if tag_file.is_file() else ""):
        # If the file changed meanwhile, the server sends it whole instead of the rest of another one.
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if not resumed:
                part.write_bytes(b"")  # before the new tag: killed in between, old bytes must not pass for the new file
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or "W/"
            tag_file.write_text("" if tag.startswith("W/") else tag)
            length = response.headers.get("Content-Length")
            total = int(length) + have * resumed if length else None
            _copy(response, part, start=have * resumed, total=total)
            return total is None or part.stat().st_size == total
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # as long as the whole, or longer: not to be told apart from damage
            return False
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}; expected the file") from error
    except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError) as error:
        say(f"{url}: {error}")
        return False


def _copy(response: http.client.HTTPResponse, part: Path, *, start: int, total: int | None) -> None:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(part.stem, *columns, transient=True) as progress, part.open("ab" if start else "wb") as file:
        task = progress.add_task(part.stem, total=total, completed=start)
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            progress.advance(task, len(block))


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _check(url: str, path: Path, checksum: str | None) -> None:
    name, _, expected = (checksum or "sha256:").partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, name).hexdigest()
    if not expected:
        say(f"{path.name}: no checksum is published; this one has {name}:{found}")
    elif found != expected:
        path.unlink()
        raise DownloadError(
            f"{url}: {name} {found}; expected {expected}; removed: run the same command to fetch it again"
        )
