"""Bad input, bad manners and the end of a server: what docs/serving.md promises in its table."""

import contextlib
import io
import logging
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from asr.audio.reading import write_audio
from asr.recognizer import Recognizer
from asr.serving.admission import TokenError, read_token
from tests.support.served import Served, serving
from tests.support.small_run import some_speech, write_small_run

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPTIONS = "/v1/audio/transcriptions"
TOKEN = "a token that is long".replace(" ", "-")


def wav_bytes(seconds: float = 1.0, *, num_channels: int = 1, rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    samples = (some_speech(1, seconds, rate) * 32767).astype("<i2")
    with wave.open(content, "wb") as file:
        file.setnchannels(num_channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, num_channels).tobytes())
    return content.getvalue()


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("served") / "small").path


@pytest.fixture(scope="module")
def recognizer(run_path: Path) -> Recognizer:
    return Recognizer.load(run_path)


@pytest.fixture(scope="module")
def served(recognizer: Recognizer) -> Iterator[Served]:
    with serving(recognizer, idle_seconds=1.0, body_mb=1.0, seconds=5.0, connections=20, sessions=4) as found:
        yield found


def post(served: Served, content: bytes, name: str = "a.wav", **named: object) -> httpx.Response:
    return httpx.post(served.url + TRANSCRIPTIONS, files={"file": (name, content)}, timeout=60, **named)  # type: ignore


def message(answer: httpx.Response) -> str:
    return answer.json()["error"]["message"]


def still_serves(served: Served) -> None:
    assert post(served, wav_bytes()).status_code == 200


def nan_wav() -> bytes:
    values = np.full(16_000, np.nan, "<f4").tobytes()
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
    return b"RIFF" + struct.pack("<I", 28 + len(values)) + head + b"data" + struct.pack("<I", len(values)) + values


DAMAGED = {
    "half a WAV header": (wav_bytes()[:20], "a.wav: "),
    "half of a WAV": (wav_bytes()[:9000], "a.wav: truncated: "),
    "NaN": (nan_wav(), "a.wav: samples that are NaN or infinite"),
    "a header and no samples": (wav_bytes(0.0), "a.wav: no samples"),
    "nothing": (b"", "a.wav: an empty file"),
    "text": (b"hello " * 100, "a.wav: not readable as audio"),
    "a rate of 7 Hz": (wav_bytes()[:24] + struct.pack("<II", 7, 14) + wav_bytes()[32:], "a.wav: a sample rate of 7 Hz"),
    "a width of 99 bits": (wav_bytes()[:34] + struct.pack("<H", 99) + wav_bytes()[36:], "a.wav: "),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_recording_is_refused_by_the_name_that_the_client_gave(served: Served, name: str) -> None:
    content, expected = DAMAGED[name]
    answer = post(served, content)
    assert (answer.status_code, message(answer)[: len(expected)]) == (415, expected)
    assert "earshot-" not in message(answer), "the server's own path"
    still_serves(served)


def test_eight_channels_and_other_rates_are_mixed_and_resampled(served: Served) -> None:
    for content in (wav_bytes(num_channels=8), wav_bytes(rate=8000), wav_bytes(rate=44_100)):
        assert post(served, content).json()["text"]


def test_a_name_is_repeated_only_as_far_as_it_is_readable(served: Served) -> None:
    assert message(post(served, b"x", name="\x1b[2J" + 200 * "n")).startswith("[2J" + 77 * "n" + ": ")


def test_a_recording_that_is_too_long_is_refused(served: Served) -> None:
    answer = post(served, wav_bytes(6.0))
    assert (answer.status_code, message(answer)) == (413, "a.wav: longer than 5 s; expected at most that; cut it")


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(served: Served) -> None:
    answer = post(served, bytes(2 << 20))
    assert (answer.status_code, message(answer)[:29]) == (413, "body: 2.0 MB or more; expecte")

    def parts() -> Iterator[bytes]:
        yield b"--x\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\n"
        for _ in range(64):
            yield bytes(1 << 15)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(served.url + TRANSCRIPTIONS, content=parts(), headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_who_goes_on_sending_after_a_refusal_is_cut_off(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe|aborted"):
            send_for(client, 30.0)
    still_serves(served)


def test_a_field_that_is_too_large_is_refused(served: Served) -> None:
    answer = httpx.post(served.url + TRANSCRIPTIONS, files={"prompt": (None, "x" * 100_000)})
    assert answer.status_code == 400
    assert "expected multipart/form-data" in message(answer)


def send_for(client: socket.socket, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(bytes(1 << 16))
        time.sleep(0.01)


@contextlib.contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(served.address, timeout=30) as client:
        yield client


def ends(client: socket.socket) -> bytes:
    """What comes until the server closes the connection, or cuts it."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while block := client.recv(1 << 16):
            found += block
    return found


@pytest.mark.parametrize("content", [b"", b"POST /v1/audio", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_never_asks_is_dropped(served: Served, content: bytes) -> None:
    with connected(served) as client:
        client.sendall(content)
        start = time.monotonic()
        assert ends(client) == b""
        assert 0.5 < time.monotonic() - start < 20


def test_a_client_that_waits_between_requests_is_dropped(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ends(client).startswith(b"HTTP/1.1 200")


def test_a_client_that_stops_in_the_middle_of_a_body_is_told_and_dropped(served: Served) -> None:
    with connected(served) as client:
        client.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disp"
        )
        answer = ends(client)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body: 17 bytes, and nothing for 1 s" in answer
    still_serves(served)


def test_a_client_that_leaves_in_the_middle_of_a_body_frees_its_place(served: Served) -> None:
    for _ in range(5):
        with connected(served) as client:
            client.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
    time.sleep(0.3)
    still_serves(served)
    assert served.service.admission.num_sessions == 0


def test_many_connections_are_closed_as_they_come(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(served)) for _ in range(100)]
        time.sleep(0.3)
        for client in clients[60:]:
            assert ends(client) == b""
    time.sleep(0.2)
    still_serves(served)


def test_a_slow_reader_is_cut_off(recognizer: Recognizer) -> None:
    with serving(recognizer, idle_seconds=1.0) as served, connected(served) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        with contextlib.suppress(OSError):  # the server's buffers are full long before
            client.settimeout(10)
            for _ in range(5_000):
                client.sendall(request)
        deadline = time.monotonic() + 20
        while served.server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not served.server.server_state.connections


def test_a_token_is_needed_where_one_is_set(recognizer: Recognizer) -> None:
    with serving(recognizer, token=TOKEN) as served:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = post(served, wav_bytes(), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert message(answer).endswith("expected the server's, as 'Authorization: Bearer TOKEN'")
        assert httpx.get(served.url + "/metrics").status_code == 401
        assert httpx.get(served.url + "/health").status_code == 200
        assert post(served, wav_bytes(), headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_token_that_is_easy_to_guess_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(TokenError, match="cannot be read"):
        read_token(path)
    for content in ("secret", "two words of a sentence", "", "ü" * 20):
        path.write_text(content)
        with pytest.raises(TokenError, match=r"expected (one of at least 16 characters|a file with a token)"):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN


def test_pages_of_other_sites_are_refused(served: Served) -> None:
    assert post(served, wav_bytes(), headers={"Origin": "https://example.com"}).status_code == 403
    assert post(served, wav_bytes(), headers={"Origin": served.url}).status_code == 200


def test_more_than_the_requests_of_a_minute_are_put_off(recognizer: Recognizer) -> None:
    with serving(recognizer, requests_per_minute=3) as served:
        answers = [post(served, wav_bytes()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert message(answers[-1]) == "requests: more than 3 a minute; expected at most that; wait"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 21


def test_more_sessions_than_there_is_room_for_are_put_off(recognizer: Recognizer) -> None:
    with serving(recognizer, sessions=2, batch_wait_ms=500.0) as served, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: post(served, wav_bytes()), range(6)))
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert message(refused) == "sessions: 2 are served; expected fewer than 2; try later"
        assert int(refused.headers["retry-after"]) >= 1
        still_serves(served)


def test_files_share_a_batch_however_few_decoders_there_are(recognizer: Recognizer) -> None:
    with serving(recognizer, batch_wait_ms=900.0) as served, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: post(served, wav_bytes()), range(4)))
        assert {answer.status_code for answer in answers} == {200}
        figures = httpx.get(served.url + "/metrics").text
    batches = re.search(r"earshot_batch_utterances_count (\S+)", figures)
    assert batches
    assert float(batches[1]) < 4


def test_more_long_recordings_than_there_is_room_for_are_put_off(recognizer: Recognizer) -> None:
    with serving(recognizer, long_recordings=1, batch_wait_ms=900.0) as served, ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: post(served, wav_bytes(35.0)), range(3)))
        assert post(served, wav_bytes(35.0)).json()["text"]
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert message(refused).startswith("file: longer than 30 s, as 1 others that are recognised; expected fewer than 1")
    assert int(refused.headers["retry-after"]) >= 5


def test_no_room_for_a_file_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asr.serving.recordings.shutil.copyfileobj", full)
    answer = post(served, wav_bytes())
    assert answer.status_code == 503
    assert (
        message(answer) == "file: could not be kept (No space left on device); expected room on the server; try later"
    )


def test_what_is_said_stays_out_of_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        text = post(served, wav_bytes(), name="private.wav").json()["text"]
        time.sleep(0.1)
    assert "1.00 s of audio" in caplog.text
    assert text not in caplog.text
    assert "private" not in caplog.text


def test_a_stop_lets_what_was_begun_be_finished(recognizer: Recognizer) -> None:
    with serving(recognizer, batch_wait_ms=1000.0) as served, ThreadPoolExecutor(1) as threads:
        begun = threads.submit(post, served, wav_bytes())
        while not served.service.admission.num_sessions:
            time.sleep(0.01)
        served.stop()
        while httpx.get(served.url + "/health").status_code == 200:
            time.sleep(0.01)
        later = post(served, wav_bytes())
        assert (later.status_code, later.headers["retry-after"]) == (503, "6")
        assert begun.result().json()["text"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, which makes a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    return cert, key


@contextlib.contextmanager
def program(run_path: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """The program itself: its process, where it serves, and what it says."""
    command = [sys.executable, "-m", "asr.serve", run_path, "--port", 0, "--num-threads", 1, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment, cwd=run_path.parent
    )
    said: list[str] = []
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"serving small at (\S+)", line):
            url = found[1]
            break
    assert url, "".join(said)
    rest = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    rest.start()
    try:
        yield process, url, said
    finally:
        process.kill()
        process.wait()
        rest.join()
        process.stderr.close()


@pytest.mark.slow
def test_the_program_serves_over_tls_and_ends_with_a_signal(
    run_path: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    write_audio(tmp_path / "a.wav", some_speech(1), sample_rate=16_000)
    with program(run_path, "--tls-cert", cert, "--tls-key", key, "--log-transcripts") as (process, url, said):
        assert url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=trusting, timeout=60) as client:
            answer = client.post(url + TRANSCRIPTIONS, files={"file": (tmp_path / "a.wav").open("rb")})
        assert answer.json()["text"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert f'"{answer.json()["text"]}"' in "".join(said)


@pytest.mark.slow
def test_a_server_that_is_stopped_ends_in_time_whatever_it_was_doing(run_path: Path) -> None:
    with program(run_path, "--drain-seconds", "0.1") as (process, url, said), ThreadPoolExecutor(1) as threads:
        begun = threads.submit(httpx.post, url + TRANSCRIPTIONS, files={"file": wav_bytes(300.0)}, timeout=60)
        while "earshot_sessions 1.0" not in httpx.get(url + "/metrics").text:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert begun.exception() is not None or begun.result().status_code in (200, 500, 503)
    assert "stopping: not all was finished within 0.1 s" in "".join(said) or begun.result().status_code == 200


@pytest.mark.slow
def test_a_server_that_is_killed_is_a_closed_connection_for_its_clients(run_path: Path) -> None:
    with program(run_path) as (process, url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nabc")
            process.kill()
            assert ends(client) == b""


def test_options_that_cannot_be_are_named(tmp_path: Path) -> None:
    from asr.serve import main

    with pytest.raises(ValueError, match=r"tls_key: not given; expected both --tls-cert and --tls-key"):
        main([str(tmp_path), "--tls-cert", "cert.pem"])
    with pytest.raises(ValueError, match=r"port: found 70000"):
        main([str(tmp_path), "--port", "70000"])


def test_a_port_that_is_taken_is_named(recognizer: Recognizer, served: Served) -> None:
    from asr.serving.run import listen

    with pytest.raises(ValueError, match=r"127\.0\.0\.1:\d+: cannot be listened on \(Address already in use\)"):
        listen(*served.address)
