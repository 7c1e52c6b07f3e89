"""asr/transcription/conversation.py: the channels of a call as one conversation, in formats that know speakers."""

import itertools
import json
from pathlib import Path

import numpy as np
import pysubs2
import pytest
import soundfile
import webvtt

from asr.transcribe import main
from asr.transcript import Transcript, Word
from asr.transcription.conversation import merge
from asr.transcription.formats import FORMATS
from asr.transcription.job import Job
from tests.support.small_run import some_speech, write_small_run
from tests.transcription.test_job import files, job, lines, start


def said(channel: int, *words: tuple[str, float, float], duration: float = 20.0) -> Transcript:
    found = tuple(Word(word, begin, end, 0.5) for word, begin, end in words)
    return Transcript(" ".join(word.word for word in found), 0.5, found, duration, channel)


CALL = (
    said(0, ("hello", 0.5, 1.0), ("how", 3.0, 3.2), ("are", 3.25, 3.4), ("you", 3.5, 3.7), ("good", 7.0, 7.5)),
    said(1, ("hi", 1.5, 1.7), ("there", 1.8, 2.0), ("fine", 4.5, 4.9), ("thanks", 5.0, 5.4)),
)


def turns(*channels: Transcript) -> list[tuple[int, str]]:
    return [(turn.channel, turn.text) for turn in merge(channels).turns]


def test_who_said_what_when() -> None:
    found = merge(CALL)
    assert [(turn.speaker, turn.text) for turn in found.turns] == [
        ("channel 0", "hello"),
        ("channel 1", "hi there"),
        ("channel 0", "how are you"),
        ("channel 1", "fine thanks"),
        ("channel 0", "good"),
    ]
    assert [turn.start for turn in found.turns] == [0.5, 1.5, 3.0, 4.5, 7.0]
    assert (found.pred_text, found.duration) == ("hello hi there how are you fine thanks good", 20.0)


def test_who_is_spoken_over_keeps_the_turn() -> None:
    speech = said(0, ("one", 0.0, 1.0), ("two", 1.1, 2.0), ("three", 2.1, 3.0))
    assert turns(speech, said(1, ("yes", 1.2, 1.5))) == [(0, "one two three"), (1, "yes")]
    # Both begin at once: the lower channel is first. In a pause, another takes the turn.
    assert turns(said(0, ("a", 1, 2)), said(1, ("b", 1, 2))) == [(0, "a"), (1, "b")]
    assert turns(said(0, ("a", 0, 1), ("c", 1.6, 2)), said(1, ("b", 1.1, 1.5))) == [(0, "a"), (1, "b"), (0, "c")]


def test_pauses_and_silence() -> None:
    assert turns(said(0, ("a", 0, 1), ("b", 3.5, 4)), said(1)) == [(0, "a b")]
    assert turns(said(0, ("a", 0, 1), ("b", 4.5, 5)), said(1)) == [(0, "a"), (0, "b")]
    nothing = merge([said(0), said(1)])
    assert (nothing.turns, nothing.pred_text, nothing.confidence, nothing.duration) == ((), "", 0.0, 20.0)
    for name, empty in {"txt": "", "srt": "", "vtt": "WEBVTT\n"}.items():
        render = FORMATS[name].render_conversation
        assert render is not None
        assert render(nothing, name="x") == empty


def rendered(name: str) -> str:
    render = FORMATS[name].render_conversation
    assert render is not None
    return render(merge(CALL), name="call.wav")


def test_every_format_names_the_speakers(tmp_path: Path) -> None:
    assert rendered("txt").splitlines()[:2] == ["[0:00:00.5] channel 0: hello", "[0:00:01.5] channel 1: hi there"]
    subtitles = pysubs2.SSAFile.from_string(rendered("srt"))
    assert [event.text for event in subtitles] == [
        "channel 0: hello",
        "channel 1: hi there",
        "channel 0: how are you",
        "channel 1: fine thanks",
        "channel 0: good",
    ]
    assert all(before.end <= after.start for before, after in itertools.pairwise(subtitles))
    (tmp_path / "x.vtt").write_text(rendered("vtt"))
    cues = list(webvtt.read(tmp_path / "x.vtt"))
    assert [(cue.voice, cue.text) for cue in cues][:2] == [("channel 0", "hello"), ("channel 1", "hi there")]
    document = json.loads(rendered("json"))
    assert document["turns"][1]["words"][0] == {"word": "hi", "start": 1.5, "end": 1.7, "confidence": 0.5}
    assert (document["turns"][1]["speaker"], document["turns"][1]["channel"]) == ("channel 1", 1)
    assert FORMATS["ctm"].render_conversation is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Two calls, one of which only one side speaks in."""
    folder = tmp_path / "calls"
    folder.mkdir()
    left, right = some_speech(1, 2.0), some_speech(2, 2.0)
    soundfile.write(folder / "both.wav", np.stack([left, right], axis=1), 16_000)
    soundfile.write(folder / "one.wav", np.stack([left, 0 * left], axis=1), 16_000)
    return folder


def test_a_job_merges_and_goes_on_to_the_same_bytes(
    run: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"channel": "each", "merge": True, "format": ["txt", "srt", "vtt", "json"]}
    start(job(run, calls, out=tmp_path / "unbroken", **options))
    whole = files(tmp_path / "unbroken")
    both, one = lines(tmp_path / "unbroken")
    assert (both["id"], [turn["speaker"] for turn in both["turns"]]) == ("both.wav", ["channel 0", "channel 1"])
    assert [turn["speaker"] for turn in one["turns"]] == ["channel 0"]
    assert one["warning"] == "channel 1 is silent, and channel 0 is not"
    take, seen = Job._take, []

    def kill(self: Job, outcome) -> None:
        seen.append(outcome.number)
        if len(seen) == 2:
            raise KeyboardInterrupt
        take(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "_take", kill)
        with pytest.raises(KeyboardInterrupt):
            start(job(run, calls, out=tmp_path / "out", **options))
    start(job(run, calls, out=tmp_path / "out", **options))
    assert files(tmp_path / "out") == whole
    # The channels by themselves need no model, and are put beside.
    monkeypatch.setattr(Job, "_take", None)
    start(job(run, calls, out=tmp_path / "out", channel="each", format=["txt"]))
    assert {path.name for path in (tmp_path / "out").glob("both*.txt")} == {
        "both.txt",
        "both.channel0.txt",
        "both.channel1.txt",
    }
    assert (tmp_path / "out" / "both.txt").read_bytes() == whole["both.txt"]


def test_a_conversation_in_one_file_and_on_the_console(
    run: Path, calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--channel", "each", "--merge", "--num-workers", "1"]
    assert main([str(run), str(calls), "--output", str(tmp_path / "all.txt"), *options]) == 0
    rows = [line.split("\t") for line in (tmp_path / "all.txt").read_text().splitlines()]
    assert [(row[0], row[3]) for row in rows] == [
        ("both.wav", "channel 0"),
        ("both.wav", "channel 1"),
        ("one.wav", "channel 0"),
    ]
    assert "2 of 2 recordings, 4 channels transcribed" in capsys.readouterr().out
    assert main([str(run), str(calls / "both.wav"), *options]) == 0
    assert [line.split()[2:4] for line in capsys.readouterr().out.splitlines()] == [
        ["channel", "0:"],
        ["channel", "1:"],
    ]
