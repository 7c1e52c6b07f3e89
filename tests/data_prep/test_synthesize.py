"""Synthesis: the same bytes each time, voices of dev and test never in train, restarts, and what is refused."""

import json
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from asr.audio.reading import read_audio, read_info
from asr.data.manifest import Manifest
from asr.grammar.file import GrammarError
from data_prep import speaking, synthesize
from data_prep.casting import ValueRange, cast_speakers
from data_prep.synthesize import main
from data_prep.voices import Delivery, SynthesisError, espeak, load_engine
from data_prep.voices.espeak import ALIKE, UNLIKE_PEOPLE

GRAMMAR = """
language: en
intents:
  Reminder:
    data:
      - sentences: ["set a reminder for {day} at {hour} a.m."]
lists:
  day: {values: [today, tomorrow]}
  hour: {range: {from: 1, to: 12}}
"""
COUNTS = ("--num-train", "30", "--num-dev", "6", "--num-test", "6", "--min-count", "1")
SPEAKERS = ("--num-dev-speakers", "3", "--num-test-speakers", "3")


@pytest.fixture(autouse=True)
def small_chunks_in_this_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fresh processes take half a second each; what they give is tested by the slow test."""
    if "slow" in request.keywords:
        return
    monkeypatch.setattr(speaking, "CHUNK_SIZE", 10)
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)


class InThisProcess:
    """The executor's interface, without processes."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function, *arguments):
        from concurrent.futures import Future

        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except (ValueError, BrokenProcessPool) as error:
            future.set_exception(error)
        return future


def write_grammar(folder: Path, text: str = GRAMMAR) -> str:
    (folder / "grammar.yaml").write_text(text)
    return str(folder / "grammar.yaml")


def run(folder: Path, *arguments: str, output: str = "out") -> int:
    return main([write_grammar(folder), str(folder / output), *COUNTS, *SPEAKERS, *arguments])


def files(folder: Path) -> dict[str, bytes]:
    """Everything that was written, but the page and manifests' summary."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_manifests_say_what_was_spoken_and_by_whom(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path) == 0
    splits = {split: list(Manifest.read(tmp_path / "out" / f"{split}.jsonl")) for split in ("train", "dev", "test")}
    assert [len(utterances) for utterances in splits.values()] == [30, 6, 6]
    speakers = {split: {utterance.speaker for utterance in utterances} for split, utterances in splits.items()}
    assert not speakers["train"] & speakers["dev"]
    assert not (speakers["train"] | speakers["dev"]) & speakers["test"]
    assert len(speakers["dev"]) == len(speakers["test"]) == 3
    assert all(str(speaker).startswith("espeak/") for speaker in speakers["train"])
    assert len(speakers["train"]) == 30  # each sentence by another one, while there are some
    for utterance in splits["train"]:
        info = read_info(utterance.audio_filepath)
        assert info.sample_rate == 16000
        assert info.duration == pytest.approx(utterance.duration, abs=1e-6)
        assert 1 < utterance.duration < 6
        assert utterance.text.startswith("set a reminder for ")
        assert utterance.text.endswith(" a m")
        assert utterance.extra["intent"] == "Reminder"
        assert set(utterance.extra["slots"]) == {"day", "hour"}
        assert 120 <= utterance.extra["words_per_minute"] <= 210
    assert len({utterance.extra["accent"] for utterance in splits["train"]}) > 4
    page = (tmp_path / "out" / "listen.html").read_text()
    assert page.count("<audio") == 12 + 6 + 6
    assert 'src="wav/train/000/train-000000.wav"' in page
    assert "12 of 6" not in capsys.readouterr().out


def test_a_page_escapes_what_it_shows(tmp_path: Path) -> None:
    from asr.data.manifest import Utterance
    from data_prep.listening import write_page

    here, there = tmp_path / "a & b#.wav", Path("/elsewhere/c.wav")
    utterances = [Utterance(str(path), str(path), 1.0, text="<b>loud</b>", speaker='"x"') for path in (here, there)]
    write_page(tmp_path / "listen.html", {"train": utterances, "dev": []}, title="a < b")
    page = (tmp_path / "listen.html").read_text()
    assert "<b>" not in page
    assert 'src="a%20%26%20b%23.wav"' in page
    assert 'src="file:///elsewhere/c.wav"' in page
    assert "<h2>dev" not in page


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fresh processes, by one worker or three, and with the finished half of them kept."""
    monkeypatch.setattr(speaking, "CHUNK_SIZE", 20)
    assert run(tmp_path, output="first") == 0
    assert run(tmp_path, "--num-workers", "3", output="second") == 0
    first, second = files(tmp_path / "first"), files(tmp_path / "second")
    assert first == second
    for number in (1, 2):
        (tmp_path / "second" / speaking.PROGRESS_FOLDER / f"{number:05d}.json").unlink()
    (tmp_path / "second" / "wav/train/000/train-000025.wav").write_bytes(b"half written")
    assert run(tmp_path, output="second") == 0
    assert files(tmp_path / "second") == first


def test_what_is_finished_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    real_speak_chunk, spoken = speaking._speak_chunk, []
    monkeypatch.setattr(speaking, "_speak_chunk", lambda chunk: spoken.append(chunk.number) or real_speak_chunk(chunk))
    assert run(tmp_path) == 0
    assert spoken == []
    out = tmp_path / "out"
    (out / "wav/train/000/train-000012.wav").unlink()
    (out / "wav/train/000/train-000021.wav").write_bytes(b"half")
    (out / speaking.PROGRESS_FOLDER / "00003.json").write_text("{")
    (out / speaking.PROGRESS_FOLDER / "00004.json").write_text('{"plan": "another"}')
    assert run(tmp_path) == 0
    assert spoken == [1, 2, 3, 4]


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(SynthesisError, match="made with other settings: fastest was 210, now 180; expected the same"):
        run(tmp_path, "--fastest", "180")
    with pytest.raises(SynthesisError, match="made with other settings: grammar_sha256 was"):
        main([write_grammar(tmp_path, GRAMMAR.replace(" at ", " for ")), str(tmp_path / "out"), *COUNTS, *SPEAKERS])


def test_a_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(chunk: speaking._Chunk) -> dict[str, float]:
        raise BrokenProcessPool

    monkeypatch.setattr(speaking, "_speak_chunk", die)
    with pytest.raises(SynthesisError, match=r"the process that spoke \S+-0000\d\d to \S+ died; expected it to finish"):
        run(tmp_path)


def test_formats_and_rates(tmp_path: Path) -> None:
    assert run(tmp_path, "--format", "flac", "--sample-rate", "8000", "--accents", "en-gb,en-us", "--num-dev", "0") == 0
    utterances = list(Manifest.read(tmp_path / "out" / "test.jsonl"))
    assert {utterance.extra["accent"] for utterance in utterances} <= {"en-gb", "en-us"}
    info = read_info(utterances[0].audio_filepath)
    assert (info.container, info.sample_rate) == ("FLAC", 8000)
    assert not (tmp_path / "out" / "dev.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engines", "festivals"), "--engines: 'festivals'; expected auto, or each once, of espeak, flite, festival"),
        (("--engines", "espeak,espeak"), "--engines: 'espeak'; expected auto, or each once"),
        (("--engines", "espeak=some"), "--engines: espeak=some; expected a whole number of at least 1"),
        (("--engines", "espeak=0"), "--engines: espeak=0; expected a whole number of at least 1"),
        (("--num-train", "-1"), "--num-train: -1; expected at least 0"),
        (("--num-train", "0", "--num-dev", "0", "--num-test", "0"), "expected sentences in one of them at least"),
        (("--num-workers", "0"), "--num-workers: 0; expected at least 1"),
        (("--min-count", "-1"), "--min-count: -1; expected at least 0"),
        (("--slowest", "300"), "--slowest 300 --fastest 210; expected 80 <= slowest"),
        (("--lowest-pitch", "80"), "expected 0 <= lowest <= highest <= 100"),
    ],
)
def test_wrong_options_are_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, *arguments)
    assert message in capsys.readouterr().err


def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="--accents: 'en-xx'; expected one or more of en-us,"):
        run(tmp_path, "--accents", "en-us,en-xx")
    with pytest.raises(SynthesisError, match="60 speakers for dev and 3 for test; expected at most"):
        run(tmp_path, "--num-dev-speakers", "60")
    with pytest.raises(GrammarError, match="5 sentences; expected at least"):
        run(tmp_path, "--num-train", "5")


def test_speakers_that_sound_alike_are_never_parted() -> None:
    engine = load_engine("espeak")
    for seed in range(20):
        cast = cast_speakers(engine, num_dev=8, num_test=8, rng=np.random.default_rng(seed))
        assert sorted(name for names in cast.values() for name in names) == sorted(
            name for family in engine.families() for name in family
        )
        held_out = {*cast["dev"], *cast["test"]}
        assert len(held_out) == 16
        assert not held_out & ({name for family in ALIKE for name in family} | set(UNLIKE_PEOPLE))


def test_a_range_reaches_both_its_ends() -> None:
    rng = np.random.default_rng(0)
    assert {ValueRange(3, 5).draw(rng) for _ in range(50)} == {3, 4, 5}


def test_espeak_speaks_as_told() -> None:
    engine = load_engine("espeak")
    assert engine.version.startswith("eSpeak NG 1.")
    assert len([name for family in engine.families() for name in family]) > 90

    def duration(accent: str = "en-us", words_per_minute: int = 150, speaker: str = "f2") -> float:
        samples, rate = engine.speak("set a reminder for tomorrow", Delivery(speaker, accent, words_per_minute, 50))
        assert samples.dtype == np.float32
        assert 0.05 < np.abs(samples).max() <= 1
        return len(samples) / rate

    assert duration(words_per_minute=120) > 1.3 * duration(words_per_minute=210)
    for accent in espeak.ACCENTS:
        assert 1 < duration(accent) < 3


def test_espeak_names_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = load_engine("espeak")
    with pytest.raises(SynthesisError, match="no speaker 'nobody'; expected a variant"):
        engine.speak("hello", Delivery("nobody", "en-us", 150, 50))
    with pytest.raises(SynthesisError, match=r"no voice 'xx-yy\+f2'; expected an accent of en-us"):
        engine.speak("hello", Delivery("f2", "xx-yy", 150, 50))
    with pytest.raises(SynthesisError, match="no sound for ''"):
        engine.speak("", Delivery("f2", "en-us", 150, 50))
    espeak.load.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SynthesisError, match=r"espeakng-loader is not installed; pip install 'earshot\[synth\]'"):
        load_engine("espeak")


def test_espeak_without_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class NoData:
        def espeak_Initialize(self, *_: object) -> int:
            return -1

    espeak.load.cache_clear()
    monkeypatch.setattr(espeak.ctypes, "CDLL", lambda _: NoData())
    with pytest.raises(SynthesisError, match="does not start with the data in"):
        load_engine("espeak")
    espeak.load.cache_clear()


def test_speech_is_there_from_start_to_end(tmp_path: Path) -> None:
    """No utterance is cut or silent: each has sound in its first and last 0.4 seconds."""
    run(tmp_path)
    for utterance in Manifest.read(tmp_path / "out" / "test.jsonl"):
        samples = read_audio(utterance.audio_filepath, sample_rate=16_000)
        level = np.abs(samples).max()
        assert level > 0.02
        assert np.abs(samples[:6400]).max() > 0.05 * level
        assert np.abs(samples[-6400:]).max() > 0.02 * level


def test_settings_are_written_down(tmp_path: Path) -> None:
    run(tmp_path)
    settings = json.loads((tmp_path / "out" / synthesize.SETTINGS_NAME).read_text())
    assert settings["num_train"] == 30
    assert settings["engine_versions"]["espeak"].startswith("eSpeak NG")
    assert "num_workers" not in settings


OTHER = """
language: en
intents:
  Talk: {data: [{sentences: ["(she|he) (met|saw|told) (me|us|them) (today|tomorrow)"]}]}
  Command: {data: [{sentences: ["set a reminder for today at (one|two) a.m."]}]}
"""


def test_other_speech_is_no_command_and_by_the_same_voices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.yaml").write_text(OTHER)
    other = ("--other-speech", str(tmp_path / "other.yaml"), "--num-other", "38", "--num-other-held-out", "38")
    assert run(tmp_path, *other) == 0
    shown = capsys.readouterr().out
    assert shown.count("left out, as it is a command: set a reminder for today at one a m") == 1
    speakers: dict[str, set[str | None]] = {}
    for split in ("train", "dev", "test"):
        commands = list(Manifest.read(tmp_path / "out" / f"{split}.jsonl"))
        others = list(Manifest.read(tmp_path / "out" / "other_speech" / f"{split}.jsonl"))
        assert len(others) == 36  # 38 are all sentences of the grammar, and two are commands
        for each in others:
            assert each.text.split()[0] in ("she", "he")
            assert "intent" not in each.extra
            assert read_info(each.audio_filepath).duration == pytest.approx(each.duration, abs=1e-6)
            assert Path(each.audio_filepath).is_relative_to(tmp_path / "out" / "other_speech" / "wav" / split)
        speakers[split] = {each.speaker for each in [*commands, *others]}
    assert not speakers["train"] & (speakers["dev"] | speakers["test"])
    assert len(speakers["dev"]) == len(speakers["test"]) == 3
    assert "other_speech" in (tmp_path / "out" / "listen.html").read_text()
    with pytest.raises(SynthesisError, match="made with other settings: num_other was 38, now None"):
        run(tmp_path)
    before = files(tmp_path / "out")
    assert run(tmp_path, *other) == 0
    assert files(tmp_path / "out") == before


def test_a_folder_without_other_speech_is_as_it_was(tmp_path: Path) -> None:
    """Its options leave no trace, so that folders made before there were any can go on."""
    run(tmp_path)
    settings = json.loads((tmp_path / "out" / synthesize.SETTINGS_NAME).read_text())
    assert not [name for name in settings if "other" in name]


def test_no_speaker_is_spared_for_a_split_without_sentences(tmp_path: Path) -> None:
    arguments = ("--num-train", "150", "--num-dev", "0", "--num-test", "0", "--min-count", "0", "--accents", "en-us")
    assert main([write_grammar(tmp_path), str(tmp_path / "out"), *arguments]) == 0
    speakers = {item.speaker for item in Manifest.read(tmp_path / "out" / "train.jsonl")}
    everybody = [name for family in load_engine("espeak").families() for name in family]
    assert speakers == {f"espeak/{name}" for name in everybody}
    assert not (tmp_path / "out" / "dev.jsonl").exists()
