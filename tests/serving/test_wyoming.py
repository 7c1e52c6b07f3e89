"""Wyoming, spoken by its own client, and by clients that do not keep to it."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.audio.reading import read_audio
from asr.recognizer import Recognizer
from asr.serving.pcm import PCMFormat
from asr.serving.refusal import Refusal
from tests.support.served import Served, serving
from tests.support.small_run import some_speech, write_small_run

pytest.importorskip("wyoming")

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.intent import Intent, NotRecognized, Recognize
from wyoming.ping import Ping, Pong

COFFEE = Path(__file__).resolve().parents[2] / "recipes" / "barista_bilstm_ctc"
COMMANDS = COFFEE.parents[1] / "conf" / "commands" / "barista.yaml"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def cafe() -> Iterator[Served]:
    pytest.importorskip("hassil", reason="needs the extra commands")
    recognizer = Recognizer.load(COFFEE / "model_finetuned", commands=COMMANDS)
    with serving(recognizer, wyoming_port=free_port(), idle_seconds=2.0, seconds=20.0) as found:
        yield found


def port(served: Served) -> int:
    found = served.service.config.wyoming_port
    assert found is not None
    return found


def talk(served: Served, events: list[Event], num_answers: int = 1) -> list[Event]:
    """What a client is answered that sends these events."""

    async def run() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", port(served)) as client:
            for event in events:
                await client.write_event(event)
            found = [await asyncio.wait_for(client.read_event(), 60) for _ in range(num_answers)]
            return [event for event in found if event is not None]

    return asyncio.run(run())


def spoken(samples: np.ndarray, *, rate: int = 16_000, width: int = 2, channels: int = 1) -> list[Event]:
    content = np.repeat((samples * 32767).astype("<i2"), channels).tobytes()
    form = {"rate": rate, "width": width, "channels": channels}
    parts = [content[first : first + 2048 * channels] for first in range(0, len(content), 2048 * channels)]
    chunks = [AudioChunk(audio=part, **form).event() for part in parts]
    return [AudioStart(**form).event(), *chunks, AudioStop().event()]


def test_the_server_describes_itself(cafe: Served) -> None:
    (event,) = talk(cafe, [Describe().event()])
    found = Info.from_event(event)
    assert [model.name for model in found.asr[0].models] == ["small"]
    assert found.asr[0].models[0].languages == ["en"]
    assert [model.name for model in found.intent[0].models] == ["barista"]


def test_speech_is_transcribed_and_its_text_understood(cafe: Served) -> None:
    samples = read_audio(COFFEE / "examples" / "latte.opus", sample_rate=16_000)
    (event,) = talk(cafe, [Transcribe(language="en").event(), *spoken(samples)])
    text = Transcript.from_event(event).text
    assert text == "can i get a large latte with a little bit of sugar"
    (event,) = talk(cafe, [Recognize(text=text, context={"conversation_id": "7"}).event()])
    intent = Intent.from_event(event)
    assert (intent.name, intent.context) == ("orderDrink", {"conversation_id": "7"})
    assert {entity.name: entity.value for entity in intent.entities}["coffeeDrink"] == "latte"


def test_home_assistant_sends_a_transcript_to_have_it_understood(cafe: Served) -> None:
    (event,) = talk(cafe, [Transcript(text="Can I get a large latte?").event()])
    assert Intent.from_event(event).name == "orderDrink"


def test_other_sentences_are_not_recognized(cafe: Served) -> None:
    (event,) = talk(cafe, [Recognize(text="what will the weather be like").event()])
    assert NotRecognized.is_type(event.type)


def test_two_channels_at_another_rate_are_one_utterance_too(cafe: Served) -> None:
    samples = read_audio(COFFEE / "examples" / "latte.opus", sample_rate=48_000)
    (event,) = talk(cafe, spoken(samples, rate=48_000, channels=2))
    assert Transcript.from_event(event).text == "can i get a large latte with a little bit of sugar"


def test_one_connection_takes_one_utterance_after_the_other(cafe: Served) -> None:
    events = [*spoken(np.zeros(8000, np.float32)), Ping(text="there").event(), *spoken(np.zeros(800, np.float32))]
    found = talk(cafe, events, 3)
    assert [event.type for event in found] == ["transcript", "pong", "transcript"]
    assert Pong.from_event(found[1]).text == "there"


CHUNK = AudioChunk(rate=16_000, width=2, channels=1, audio=bytes(2000))
START = AudioStart(rate=16_000, width=2, channels=1).event()
REFUSED = {
    "another language": ([Transcribe(language="de").event()], "language: 'de'; expected 'en'"),
    "another model": ([Transcribe(name="whisper").event()], "name: 'whisper'; expected 'small'"),
    "eight channels": ([AudioStart(rate=16_000, width=2, channels=8).event()], "channels: 8; expected 1 to 2"),
    "a width of 3 bytes": ([AudioStart(rate=16_000, width=3, channels=1).event()], "width: 3; expected 2 or 4"),
    "a rate of 3 Hz": ([AudioStart(rate=3, width=2, channels=1).event()], "rate: 3; expected 8,000 to"),
    "no rate": ([Event("audio-start")], "rate: none; expected"),
    "a chunk before the start": ([CHUNK.event()], "audio-chunk: before audio-start; expected it after"),
    "an end before the start": ([AudioStop().event()], "audio-stop: before audio-start; expected it after"),
    "another rate in between": (
        [START, AudioChunk(rate=8000, width=2, channels=1, audio=b"").event()],
        "audio: 8000 Hz, 16 bits, channels: 1, after 16000 Hz, 16 bits, channels: 1; expected the same",
    ),
    "half a sample": (
        [START, AudioChunk(rate=16_000, width=2, channels=1, audio=b"odd").event(), AudioStop().event()],
        "audio: 3 bytes, which are no whole number of samples of 2; expected 16000 Hz",
    ),
    "no text": ([Event("recognize")], "text: none, or a long one; expected at most 2,000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused(cafe: Served, name: str) -> None:
    events, message = REFUSED[name]
    (event,) = talk(cafe, events)
    assert event.type == "error"
    assert event.data["text"].startswith(message)


def raw(served: Served, content: bytes) -> bytes:
    """What is answered to bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port(served)), timeout=30) as connection:
        connection.sendall(content)
        return until_closed(connection)


def until_closed(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(1 << 16):
            found += block
    return found


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 7}\n',
        b'{"type": "a", "data": 3}\n',
        b'{"type": "a", "data_length": 3}\n[1]',
        b"[" * 50_000 + b"\n",
        b"x" * 200_000,
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_event_ends_the_connection_with_a_reason(cafe: Served, content: bytes) -> None:
    assert b"event: not Wyoming's" in raw(cafe, content)


def test_an_event_that_promises_a_gigabyte_is_refused_at_once(cafe: Served) -> None:
    for name in ("data_length", "payload_length"):
        head = {"type": "audio-chunk", name: 1 << 30}
        assert b"expected at most 1,048,576 bytes" in raw(cafe, json.dumps(head).encode() + b"\n")


def test_a_silent_client_is_dropped_with_a_reason(cafe: Served) -> None:
    assert b"events: none for 2 s" in raw(cafe, b"")
    assert b"events: none for 2 s" in raw(
        cafe, b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n'
    )


def test_an_utterance_that_gets_too_long_is_refused(cafe: Served) -> None:
    audio = AudioChunk(rate=16_000, width=2, channels=1, audio=bytes(320_000)).event()
    (event,) = talk(cafe, [START, audio, audio, audio])
    assert event.data["text"].startswith("audio: more than 20 s; expected at most that")


def test_a_client_that_leaves_in_the_middle_frees_its_place(cafe: Served) -> None:
    with socket.create_connection(("127.0.0.1", port(cafe))) as connection:
        connection.sendall(b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n')
    talk(cafe, [Ping().event()])
    end = time.monotonic() + 5  # the server learns of it when its event loop comes round to it
    while cafe.service.admission.num_sessions and time.monotonic() < end:
        time.sleep(0.02)
    assert cafe.service.admission.num_sessions == 0


def test_no_grammar_recognizes_nothing_and_promises_nothing(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_small_run(tmp_path / "run").path)
    with serving(recognizer, wyoming_port=free_port()) as served:
        described, answer = talk(served, [Describe().event(), Recognize(text="stop").event()], 2)
        assert Info.from_event(described).intent == []
        assert NotRecognized.is_type(answer.type)
        (event,) = talk(served, spoken(some_speech(1)))
        assert Transcript.from_event(event).text == recognizer.transcribe(some_speech(1), sample_rate=16_000).text


def test_a_stop_closes_idle_connections_and_says_why(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_small_run(tmp_path / "run").path)
    with (
        serving(recognizer, wyoming_port=free_port()) as served,
        socket.create_connection(("127.0.0.1", port(served)), timeout=30) as connection,
    ):
        connection.sendall(b'{"type": "ping"}\n')
        assert b"pong" in connection.recv(1 << 16)
        served.stop()
        assert b"server: stopping; expected another one" in until_closed(connection)


def test_samples_of_four_bytes_are_the_same() -> None:
    form = PCMFormat.checked(16_000, width=4)
    assert form.samples(np.array([1 << 30], "<i4").tobytes(), sample_rate=16_000).tolist() == [0.5]
    with pytest.raises(Refusal, match=r"width: True; expected 2 or 4 bytes a sample"):
        PCMFormat.checked(16_000, width=True)
