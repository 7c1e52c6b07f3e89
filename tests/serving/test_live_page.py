"""The page at the root: its files, their headers, and its stream."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from asr.recognizer import Recognizer
from tests.support.served import Served, serving
from tests.support.small_run import some_speech, write_small_run

pytest.importorskip("websockets")

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from asr.serving.guard import PAGE_PATHS
from asr.serving.live_page import FILES, FOLDER

TOKEN = "a-token+that/is-long"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(write_small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture(scope="module")
def served(small: Recognizer) -> Iterator[Served]:
    with serving(small, token=TOKEN) as found:
        yield found


def offered(token: str) -> list[Any]:
    return ["earshot", "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")]


def talk(served: Served, messages: list[bytes | str], **options: Any) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        async with connect(served.url.replace("http", "ws") + "/v1/live", **options) as socket:
            assert socket.subprotocol == ("earshot" if "subprotocols" in options else None)
            for message in messages:
                await socket.send(message)
            return [json.loads(message) async for message in socket]

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_the_page_needs_no_token_and_loads_nothing_of_others(served: Served) -> None:
    assert set(PAGE_PATHS) == set(FILES)
    for path, (name, kind) in FILES.items():
        answer = httpx.get(served.url + path)
        assert answer.status_code == 200
        assert answer.text == (FOLDER / name).read_text()
        assert answer.headers["content-type"].startswith(kind)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert not re.findall(r"https?://|//[a-z]+\.", answer.text)
    page = (FOLDER / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", page)
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) <= set(FILES)
    assert httpx.get(served.url + "/v1/models").status_code == 401
    assert httpx.get(served.url + "/page/../guard.py").status_code in (401, 404)


def test_its_script_asks_for_elements_that_the_page_has() -> None:
    asked = set(re.findall(r'byId\("(\w+)"\)', (FOLDER / "page.js").read_text()))
    assert asked
    assert asked <= set(re.findall(r'id="(\w+)"', (FOLDER / "index.html").read_text()))


def test_its_stream_gives_events(served: Served) -> None:
    noise = np.random.default_rng(1).normal(0, 1e-4, 16_000).astype(np.float32)
    samples = np.concatenate([some_speech(1, 1.5), noise])
    content = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    pieces = [content[first : first + 6400] for first in range(0, len(content), 6400)]
    config = '{"config": {"sample_rate": 16000}}'
    events = talk(served, [config, *pieces, '{"eof": 1}'], subprotocols=offered(TOKEN))
    assert {"partial", "final"} <= {event["event"] for event in events} <= {"partial", "final", "rejected"}
    (final,) = [event for event in events if event["event"] == "final"]
    assert final["text"]
    assert 0 <= final["start"] < final["end"] <= len(samples) / 16_000
    assert final["command"] is None


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 401),
        ({"subprotocols": offered("another-token-that-is")}, 401),
        ({"subprotocols": ["earshot", "bearer.%%%"]}, 401),
        ({"subprotocols": offered(TOKEN), "origin": "https://example.com"}, 403),
    ],
    ids=["none", "another", "no base64", "origin"],
)
def test_who_is_not_let_in_gets_no_stream(served: Served, options: dict[str, Any], status: int) -> None:
    with pytest.raises(InvalidStatus, match=str(status)):
        talk(served, [], **options)


def test_page_files_are_beside_the_code() -> None:
    assert {path.name for path in Path(FOLDER).iterdir()} == {name for name, _ in FILES.values()}
