"""OpenAI's API of transcriptions, asked by OpenAI's own client, and what is refused of it."""

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pysubs2
import pytest

from asr.audio.reading import read_audio, write_audio
from asr.recognizer import Recognizer
from tests.support.served import Served, serving
from tests.support.small_run import some_speech, write_small_run

openai = pytest.importorskip("openai")
ROOT = Path(__file__).resolve().parents[2]
COFFEE = ROOT / "recipes" / "barista_bilstm_ctc"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


def wav_bytes(samples: np.ndarray, sample_rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return content.getvalue()


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(write_small_run(tmp_path_factory.mktemp("run")).path)


@pytest.fixture(scope="module")
def served(recognizer: Recognizer) -> Iterator[Served]:
    with serving(recognizer) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def post(served: Served, content: bytes = b"", name: str = "a.wav", **fields: str) -> httpx.Response:
    return httpx.post(served.url + TRANSCRIPTIONS, files={"file": (name, content)}, data=fields, timeout=60)


def test_the_text_is_what_the_recogniser_gives_for_the_file(
    client: "openai.OpenAI", recognizer: Recognizer, tmp_path: Path
) -> None:
    path = tmp_path / "speech.flac"
    write_audio(path, some_speech(1, 2.0), sample_rate=16_000)
    expected = recognizer.transcribe_batch([path, some_speech(2)], sample_rate=16_000)[0]
    found = client.audio.transcriptions.create(model="small", file=path)
    assert found.text == expected.text != ""
    assert found.usage is not None
    assert found.usage.seconds == 2


def test_every_format_says_the_same_words(client: "openai.OpenAI") -> None:
    recording = ("speech.wav", wav_bytes(some_speech(1, 2.0)))
    create = client.audio.transcriptions.create
    verbose = create(
        model="small",
        file=recording,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
        temperature=0,
    )
    assert verbose.words
    assert verbose.segments
    assert " ".join(word.word for word in verbose.words) == verbose.text
    assert " ".join(segment.text for segment in verbose.segments) == verbose.text
    assert verbose.duration == 2.0
    assert all(0 <= word.start <= word.end <= 2.0 for word in verbose.words)
    assert create(model="small", file=recording, response_format="text").strip() == verbose.text
    for name in ("srt", "vtt"):
        captions = pysubs2.SSAFile.from_string(create(model="small", file=recording, response_format=name), name)
        assert " ".join(caption.plaintext.replace("\n", " ") for caption in captions) == verbose.text


def test_a_stream_ends_with_the_whole_text(client: "openai.OpenAI") -> None:
    recording = ("speech.wav", wav_bytes(some_speech(1, 4.0)))
    text = client.audio.transcriptions.create(model="small", file=recording).text
    *deltas, done = client.audio.transcriptions.create(model="small", file=recording, stream=True)
    assert done.type == "transcript.text.done"
    assert done.text == text
    assert "".join(event.delta for event in deltas) == text


def test_models_are_listed_and_shown(client: "openai.OpenAI") -> None:
    assert [model.id for model in client.models.list()] == ["small"]
    assert client.models.retrieve("small").owned_by == "earshot"
    with pytest.raises(openai.NotFoundError, match="expected 'small', or a server with --model-name other"):
        client.models.retrieve("other")


def test_segments_are_there_unless_words_are_asked_for(served: Served) -> None:
    recording = wav_bytes(some_speech(1))
    segments = post(served, recording, response_format="verbose_json").json()
    words = post(served, recording, response_format="verbose_json", **{"timestamp_granularities[]": "word"}).json()
    assert "segments" in segments
    assert "words" not in segments
    assert "words" in words
    assert "segments" not in words


REFUSED = [
    ({"model": "whisper-1"}, 404, "model: 'whisper-1'; expected 'small'"),
    ({"language": "de"}, 422, "language: 'de'; expected 'en'"),
    ({"response_format": "xml"}, 422, "response_format: 'xml'; expected json, text, srt, vtt, verbose_json"),
    ({"temperature": "0.7"}, 422, "temperature: '0.7'; expected 0"),
    ({"temperature": "warm"}, 422, "temperature: 'warm'; expected 0"),
    ({"prompt": "coffee"}, 422, "prompt: text; expected none"),
    ({"stream": "maybe"}, 422, "stream: 'maybe'; expected true or false"),
    ({"stream": "true", "response_format": "srt"}, 422, "stream: of response_format srt; expected"),
    ({"timestamp_granularities[]": "word"}, 422, "timestamp_granularities: of response_format json; expected"),
    (
        {"timestamp_granularities[]": "letter", "response_format": "verbose_json"},
        422,
        "timestamp_granularities: 'letter'; expected word or segment",
    ),
    ({"colour": "red"}, 422, "colour: unknown; expected a field of"),
]


@pytest.mark.parametrize(("fields", "status", "message"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_be_done_is_refused(served: Served, fields: dict[str, str], status: int, message: str) -> None:
    answer = post(served, wav_bytes(some_speech(1)), **fields)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)
    if status == 422:
        assert answer.json()["error"]["param"] == message.partition(":")[0]


def test_a_field_that_is_given_twice_is_refused(served: Served) -> None:
    files = [("file", ("a.wav", wav_bytes(some_speech(1)))), ("language", (None, "en")), ("language", (None, "de"))]
    answer = httpx.post(served.url + TRANSCRIPTIONS, files=files)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "language: 2 times; expected it once")


def test_a_request_without_a_file_is_refused(served: Served) -> None:
    answer = httpx.post(served.url + TRANSCRIPTIONS, files={"model": (None, "small")})
    assert answer.json()["error"]["message"].startswith("file: none; expected a recording")
    answer = httpx.post(served.url + TRANSCRIPTIONS, files={"file": (None, "hello")})
    assert answer.json()["error"]["message"].startswith("file: text; expected a recording")


def test_pages_that_are_not_there_answer_in_the_same_shape(served: Served) -> None:
    assert "no such page" in httpx.get(served.url + "/v2").json()["error"]["message"]
    answer = httpx.get(served.url + TRANSCRIPTIONS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "bad_request")
    answer = httpx.post(
        served.url + TRANSCRIPTIONS, content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"}
    )
    assert answer.status_code == 400
    assert "expected multipart/form-data" in answer.json()["error"]["message"]


def test_a_long_recording_is_cut_and_transcribed_whole(served: Served, recognizer: Recognizer) -> None:
    speech = np.concatenate([some_speech(seed, 8.0) for seed in range(5)])
    found = post(served, wav_bytes(speech), response_format="verbose_json").json()
    assert found["duration"] == 40.0
    assert found["segments"][-1]["start"] > 30


def test_silence_has_no_words(served: Served) -> None:
    assert post(served, wav_bytes(np.zeros(16_000, np.float32))).json()["text"] == ""


def test_health_and_figures(served: Served) -> None:
    assert httpx.get(served.url + "/health").json()["status"] == "ok"
    before = audio_seconds(served)
    post(served, wav_bytes(some_speech(1, 2.0)))
    assert audio_seconds(served) == pytest.approx(before + 2.0)
    assert 'earshot_requests_total{door="http",status="200"}' in httpx.get(served.url + "/metrics").text


def audio_seconds(served: Served) -> float:
    lines = httpx.get(served.url + "/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("earshot_audio_seconds_total")).split()[1])


@pytest.fixture(scope="module")
def cafe() -> Iterator[Served]:
    pytest.importorskip("hassil", reason="needs the extra commands")
    commands = ROOT / "conf" / "commands" / "barista.yaml"
    with serving(Recognizer.load(COFFEE / "model_finetuned", commands=commands), name="coffee") as found:
        yield found


def test_a_command_is_understood(cafe: Served) -> None:
    content = (COFFEE / "examples" / "latte.opus").read_bytes()
    short = post(cafe, content, "latte.opus", model="coffee").json()
    assert short["text"] == "can i get a large latte with a little bit of sugar"
    command = short["command"]
    assert (command["understood"], command["intent"]) == (True, "orderDrink")
    assert command["slots"]
    assert 0 < command["confidence"] <= 1
    assert command["alternatives"][0]["text"] == short["text"]
    verbose = post(cafe, content, "latte.opus", response_format="verbose_json").json()
    assert verbose["command"] == command
    events = post(cafe, content, "latte.opus", stream="true").text.strip().split("\n\n")
    assert json.loads(events[-1].partition("data: ")[2])["command"] == command


def test_what_is_no_command_is_not_understood(cafe: Served) -> None:
    found = post(cafe, (COFFEE / "examples" / "weather.opus").read_bytes()).json()
    assert (found["text"], found["command"]["understood"], found["command"]["intent"]) == ("", False, None)
    assert found["command"]["alternatives"]


def test_the_samples_are_read_as_a_job_reads_them(cafe: Served) -> None:
    path = COFFEE / "examples" / "latte.opus"
    samples = read_audio(path, sample_rate=16_000)
    recognizer = cafe.service.recognizer
    expected, _ = recognizer.transcripts([samples, samples[:400]])
    found = post(cafe, path.read_bytes(), response_format="verbose_json", **{"timestamp_granularities[]": "word"})
    assert found.json()["words"] == [vars(word) for word in expected.words]
