"""Streams over WebSockets, by small clients written from the public protocols of Vosk and sherpa-onnx."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from asr.audio.reading import read_audio
from asr.recognizer import Recognizer
from tests.support.served import Served, serving
from tests.support.small_run import some_speech, write_small_run

pytest.importorskip("websockets")

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

COFFEE = Path(__file__).resolve().parents[2] / "recipes" / "barista_bilstm_ctc"
COMMANDS = COFFEE.parents[1] / "conf" / "commands" / "barista.yaml"
LATTE = "can i get a large latte with a little bit of sugar"
TOKEN = "a-token-that-is-long"

Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    pytest.importorskip("hassil", reason="needs the extra commands")
    return Recognizer.load(COFFEE / "model_finetuned", commands=COMMANDS)


@pytest.fixture(scope="module")
def cafe(recognizer: Recognizer) -> Iterator[Served]:
    with serving(recognizer, idle_seconds=2.0, drain_seconds=20.0) as found:
        yield found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(write_small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture(scope="module")
def served(small: Recognizer) -> Iterator[Served]:
    with serving(small, idle_seconds=2.0) as found:
        yield found


def babble(seed: int = 1, duration: float = 1.5) -> np.ndarray:
    """What the small run hears words in, with a second of near silence after it."""
    noise = np.random.default_rng(1).normal(0, 1e-4, 16_000).astype(np.float32)
    return np.concatenate([some_speech(seed, duration), noise])


def order(name: str = "latte", rate: int = 16_000) -> np.ndarray:
    """An order, with a second of near silence after it."""
    samples = read_audio(COFFEE / "examples" / f"{name}.opus", sample_rate=rate)
    noise = np.random.default_rng(1).normal(0, 1e-4, rate).astype(np.float32)
    return np.concatenate([samples, noise])


def pcm(samples: np.ndarray) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def talk(served: Served, path: str, use: Callable[[ClientConnection], Awaitable[Answer]], **options: Any) -> Answer:
    async def run() -> Answer:
        url = served.url.replace("http", "ws") + path
        async with connect(url, **options) as socket:
            return await asyncio.wait_for(use(socket), 120)

    return asyncio.run(run())


async def vosk_client(socket: ClientConnection, samples: np.ndarray, *, rate: int) -> list[dict[str, Any]]:
    """What Vosk's example does: a message, its answer, the next message."""
    answers = []
    await socket.send(json.dumps({"config": {"sample_rate": rate}}))
    content = pcm(samples)
    size = 2 * round(0.2 * rate)
    for first in range(0, len(content), size):
        await socket.send(content[first : first + size])
        answers.append(json.loads(await socket.recv()))
    await socket.send('{"eof" : 1}')
    answers.append(json.loads(await socket.recv()))
    return answers


async def sherpa_client(socket: ClientConnection, samples: np.ndarray, *, size: int = 8000) -> list[dict[str, Any]]:
    """What sherpa-onnx' example does: it sends and receives at a time, and waits for Done!."""

    async def receive() -> list[dict[str, Any]]:
        found = []
        async for message in socket:
            if message == "Done!":
                return found
            found.append(json.loads(message))
        raise AssertionError("closed without Done!")

    receiving = asyncio.create_task(receive())
    for first in range(0, len(samples), size):
        await socket.send(samples[first : first + size].astype("<f4").tobytes())
    await socket.send("Done")
    return await receiving


def test_vosk_clients_are_answered_message_by_message(cafe: Served) -> None:
    answers = talk(cafe, "/vosk", lambda socket: vosk_client(socket, order(rate=48_000), rate=48_000))
    partials = [answer["partial"] for answer in answers if answer.get("partial")]
    assert len(partials) > 3
    assert LATTE.startswith(partials[-1][:5])  # the first ones may still be of its first sound
    (result,) = [answer for answer in answers if answer.get("text")]
    assert result["text"] == LATTE
    assert [word["word"] for word in result["result"]] == LATTE.split()
    assert all(0 <= word["start"] <= word["end"] and 0 <= word["conf"] <= 1 for word in result["result"])
    assert result["command"]["intent"] == "orderDrink"
    assert set(answers[-1]) <= {"text", "result", "command"}


def test_sherpa_clients_are_told_what_changes_and_done(cafe: Served) -> None:
    results = talk(cafe, "/sherpa", lambda socket: sherpa_client(socket, order()))
    final = [result for result in results if result["is_final"] and result["text"]]
    assert [result["text"] for result in final] == [LATTE]
    assert final[0]["tokens"] == LATTE.split()
    assert len(final[0]["timestamps"]) == len(final[0]["tokens"])
    assert final[0]["command"]["slots"]["coffeeDrink"] == "latte"
    partials = [result["text"] for result in results if not result["is_final"]]
    assert len(partials) == len(set(partials)) > 1
    assert {result["segment"] for result in results} >= {0}


def texts(results: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(result["text"], result["start_time"]) for result in results if result["is_final"]]


def test_how_it_is_cut_into_messages_changes_no_result(served: Served) -> None:
    samples = np.concatenate([babble(1), babble(2)])
    few, some, many = (
        texts(talk(served, "/sherpa", lambda socket, size=size: sherpa_client(socket, samples, size=size)))
        for size in (100_000, 8000, 900)
    )
    assert few == some == many
    assert sum(bool(text) for text, _ in few) == 2


def test_the_root_speaks_vosk(served: Served) -> None:
    answers = talk(served, "/", lambda socket: vosk_client(socket, babble(), rate=16_000))
    assert any(answer.get("text") for answer in answers)


def test_a_stream_may_begin_anew(served: Served) -> None:
    async def use(socket: ClientConnection) -> list[dict[str, Any]]:
        answers = []
        for content in (pcm(babble()), '{"reset": 1}', pcm(babble()), '{"eof": 1}'):
            await socket.send(content)
            answers.append(json.loads(await socket.recv()))
        return answers

    first, between, second, last = talk(served, "/vosk", use)
    assert first["text"] == second["text"] != ""
    assert first["result"] == second["result"]
    assert between == last == {"text": ""}


def test_words_may_be_left_out(served: Served) -> None:
    async def use(socket: ClientConnection) -> dict[str, Any]:
        await socket.send('{"config": {"words": false, "sample_rate": 16000.0}}')
        await socket.send(pcm(babble()))
        return json.loads(await socket.recv())

    assert set(talk(served, "/vosk", use)) == {"text"}


def closing(served: Served, path: str, *messages: str | bytes, wait: float = 30.0) -> tuple[int, str]:
    """The code and the reason with which the server ends a connection after these messages."""

    async def use(socket: ClientConnection) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - whichever message it is
            for message in messages:
                await socket.send(message)
            while True:
                await asyncio.wait_for(socket.recv(), wait)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason

    return talk(served, path, use)


BAD = [
    ("/vosk", ["hello"], 1007, "message: 'hello'; expected a JSON object"),
    ("/vosk", ["[" * 9000], 1007, r"message: '\[\["),
    ("/vosk", ['{"stop": 1}'], 1007, "message: .*; expected config"),
    ("/vosk", ['{"config": {"sample_rate": 3}}'], 1007, "rate: 3; expected 8,000 to"),
    ("/vosk", ['{"config": {"sample_rate": "fast"}}'], 1007, "rate: fast; expected"),
    ("/vosk", ['{"config": {"max_alternatives": 3}}'], 1007, "max_alternatives: 3; expected 0"),
    ("/vosk", ['{"config": {"phrase_list": ["x"]}}'], 1007, "config: 'phrase_list'; expected sample_rate"),
    ("/vosk", [bytes(320), '{"config": {}}'], 1007, "config: after samples; expected it before"),
    ("/vosk", [b"odd"], 1007, "audio: 3 bytes, which are no whole number of samples"),
    ("/vosk", [bytes(2 << 20)], 1009, ""),
    ("/sherpa", ["Stop"], 1007, "message: 'Stop'; expected samples, or Done"),
    ("/sherpa", [b"odd"], 1007, "samples: 3 bytes; expected float32"),
    ("/sherpa", [np.full(100, np.nan, "<f4").tobytes()], 1007, "samples: NaN, infinite"),
    ("/sherpa", [np.full(100, 20_000, "<f4").tobytes()], 1007, "samples: NaN, infinite, or far from"),
    ("/sherpa", [], 1008, "messages: none for 2 s; expected some"),
    ("/vosk", [bytes(320)], 1008, "messages: none for 2 s; expected some"),
]


@pytest.mark.parametrize(("path", "messages", "code", "reason"), BAD, ids=lambda each: repr(each)[:30])
def test_bad_messages_close_the_connection_with_a_reason(
    served: Served, path: str, messages: list[str | bytes], code: int, reason: str
) -> None:
    found = closing(served, path, *messages)
    assert found[0] == code
    assert re.match(reason, found[1])


def test_who_is_not_let_in_is_told_before_the_connection_opens(small: Recognizer) -> None:
    async def nothing(socket: ClientConnection) -> None:
        await socket.recv()

    with serving(small, token=TOKEN, sessions=1) as served:
        with pytest.raises(InvalidStatus, match="401") as refused:
            talk(served, "/vosk", nothing)
        assert b"token: none; expected the server's" in refused.value.response.body
        with pytest.raises(InvalidStatus, match="403"):
            talk(served, "/vosk", nothing, origin="https://example.com")
        headers = {"Authorization": f"Bearer {TOKEN}"}

        async def second(socket: ClientConnection) -> None:
            with pytest.raises(InvalidStatus, match="429") as full:
                async with connect(served.url.replace("http", "ws") + "/vosk", additional_headers=headers):
                    pass
            assert int(full.value.response.headers["retry-after"]) >= 1
            assert b"sessions: 1 are served" in full.value.response.body

        talk(served, "/vosk", second, additional_headers=headers)


def test_a_client_that_leaves_in_mid_word_frees_its_place(served: Served) -> None:
    async def leave(socket: ClientConnection) -> None:
        await socket.send(pcm(babble()[:12_000]))
        socket.transport.abort()

    for _ in range(3):
        talk(served, "/vosk", leave)
    deadline = time.monotonic() + 20
    while served.service.admission.num_sessions and time.monotonic() < deadline:
        time.sleep(0.05)
    assert served.service.admission.num_sessions == 0


def test_a_stop_answers_what_was_said_and_closes_with_a_reason(small: Recognizer) -> None:
    speech = pcm(some_speech(1, 0.6))

    async def end(socket: ClientConnection) -> list[dict[str, Any]]:
        answers = []
        for content in (speech, '{"eof": 1}'):
            await socket.send(content)
            answers.append(json.loads(await socket.recv()))
        return answers

    with serving(small, drain_seconds=20.0) as served:

        async def be_stopped(socket: ClientConnection) -> tuple[list[dict[str, Any]], int, str]:
            await socket.send(speech)
            answers = [json.loads(await socket.recv())]
            served.stop()
            answers.append(json.loads(await socket.recv()))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            return answers, closed.value.rcvd.code, closed.value.rcvd.reason

        expected = talk(served, "/vosk", end)
        answers, code, reason = talk(served, "/vosk", be_stopped)
    assert answers == expected
    assert answers[-1]["text"]
    assert (code, reason[:16]) == (1012, "server: stopping")


def test_streams_are_served_at_a_time_as_they_are_alone(served: Served) -> None:
    async def use() -> list[list[dict[str, Any]]]:
        url = served.url.replace("http", "ws") + "/sherpa"

        async def one(seed: int) -> list[dict[str, Any]]:
            async with connect(url) as socket:
                return await sherpa_client(socket, babble(seed))

        return await asyncio.gather(*(one(seed) for seed in range(4)))

    together = asyncio.run(use())
    for seed, found in enumerate(together):
        alone = talk(served, "/sherpa", lambda socket, seed=seed: sherpa_client(socket, babble(seed)))
        assert texts(found) == texts(alone)
