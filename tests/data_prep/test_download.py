"""data_prep/download.py against a server on this machine: resumed, checked, and extracted in its folder."""

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_prep import download as module
from data_prep.download import DownloadError, download, extract, fetch

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT with ranges; `break_after` cuts a response's body, `requests` records the ranges asked for."""

    content = CONTENT
    tag = '"1"'
    break_after: int | None = None
    ranges: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/corpus.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        if self.path != "/corpus.tar.gz":
            self.send_error(404)
            return
        start = 0
        if asked and self.headers["If-Range"] == self.server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *_args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def checksum_of(content: bytes, name: str = "sha256") -> str:
    return f"{name}:{hashlib.new(name, content).hexdigest()}"


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_download_is_whole_and_checked(tmp_path, server, name):
    path = tmp_path / "corpus.tar.gz"
    download(server.url, path, checksum=checksum_of(CONTENT, name))
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    download(server.url, path, checksum=checksum_of(CONTENT, name))
    assert server.ranges == [None]


def test_a_broken_connection_is_resumed(tmp_path, server):
    server.break_after = 300_000
    path = tmp_path / "corpus.tar.gz"
    download(server.url, path, checksum=checksum_of(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_an_interrupted_run_is_resumed(tmp_path, server):
    path = tmp_path / "corpus.tar.gz"
    path.with_name("corpus.tar.gz.part").write_bytes(CONTENT[:1000])
    path.with_name("corpus.tar.gz.part.tag").write_text('"1"')
    download(server.url, path, checksum=checksum_of(CONTENT))
    assert server.ranges == ["bytes=1000-"]
    assert path.read_bytes() == CONTENT


def test_another_version_is_fetched_from_its_start(tmp_path, server):
    path = tmp_path / "corpus.tar.gz"
    path.with_name("corpus.tar.gz.part").write_bytes(b"of an older version")
    path.with_name("corpus.tar.gz.part.tag").write_text('"0"')
    download(server.url, path, checksum=checksum_of(CONTENT))
    assert path.read_bytes() == CONTENT


def test_without_a_strong_tag_nothing_is_resumed(tmp_path, server):
    server.tag, server.break_after = 'W/"1"', 300_000
    path = tmp_path / "corpus.tar.gz"
    path.with_name("corpus.tar.gz.part").write_bytes(b"of some version")
    with pytest.raises(DownloadError, match="the connection broke 5 times"):
        download(server.url, path, checksum=None)
    assert set(server.ranges) == {None}


def test_a_part_as_long_as_the_whole_is_fetched_again(tmp_path, server):
    path = tmp_path / "corpus.tar.gz"
    path.with_name("corpus.tar.gz.part").write_bytes(bytes(len(CONTENT)))
    path.with_name("corpus.tar.gz.part.tag").write_text('"1"')
    download(server.url, path, checksum=checksum_of(CONTENT))
    assert path.read_bytes() == CONTENT


def test_a_connection_that_brings_nothing_is_given_up(tmp_path, server):
    server.break_after = 0
    with pytest.raises(DownloadError, match=r"corpus\.tar\.gz: the connection broke 5 times; run the same command"):
        download(server.url, tmp_path / "corpus.tar.gz", checksum=None)
    assert len(server.ranges) == 5
    server.server_close()
    server.shutdown()
    with pytest.raises(DownloadError, match="the connection broke 5 times"):
        download(server.url, tmp_path / "corpus.tar.gz", checksum=None)


def test_wrong_addresses_and_bytes_are_errors(tmp_path, server, capsys):
    path = tmp_path / "corpus.tar.gz"
    with pytest.raises(DownloadError, match="file:///etc/passwd: expected an http or https address"):
        download("file:///etc/passwd", path, checksum=None)
    with pytest.raises(DownloadError, match="the server answered 404 Not Found; expected the file"):
        download(f"{server.url}.absent", path, checksum=None)
    with pytest.raises(DownloadError, match=r"sha256 [0-9a-f]{64}; expected 00; removed: run the same command"):
        download(server.url, path, checksum="sha256:00")
    assert not path.exists()
    download(server.url, path, checksum=None)
    assert checksum_of(CONTENT) in capsys.readouterr().err


def tar_of(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_corpus_is_fetched_once(tmp_path, server, capsys):
    server.content = tar_of(**{"corpus/a.txt": b"one"})
    archives = {server.url: checksum_of(server.content)}
    for _ in range(2):
        fetch(archives, tmp_path / "new")
        assert (tmp_path / "new" / "corpus" / "a.txt").read_bytes() == b"one"
    assert len(server.ranges) == 1
    assert not (tmp_path / "new" / "corpus.tar.gz").exists()
    assert "already fetched" in capsys.readouterr().err


def test_extraction_stays_in_its_folder(tmp_path):
    archive = tmp_path / "corpus.tar.gz"
    archive.write_bytes(tar_of(**{"../outside.txt": b"x"}))
    with pytest.raises(DownloadError, match=r"corpus\.tar\.gz: .*outside.*; expected an archive that stays in"):
        extract(archive, tmp_path / "folder")
    assert not (tmp_path / "outside.txt").exists()
    archive.write_bytes(tar_of(**{"a.txt": CONTENT})[:-500])
    with pytest.raises(DownloadError, match=r"corpus\.tar\.gz: cannot be extracted .*; remove it and fetch it again"):
        extract(archive, tmp_path / "folder")
