"""Synthesizers that are programs: they speak as told, say what they cannot do, and share people with no other split."""

import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Manifest
from data_prep import speaking, synthesize
from data_prep import voices as voices_module
from data_prep.casting import Casting, ValueRange, cast_all
from data_prep.speaking import plan_split
from data_prep.voices import (
    SAME_PERSON,
    Delivery,
    InLanguage,
    NaturalVoice,
    SynthesisError,
    accents_in,
    festival,
    flite,
    load_engine,
    pico,
)
from tests.data_prep.test_synthesize import InThisProcess, write_grammar

PROGRAMS = {"flite": "flite", "festival": "festival", "pico": "pico2wave"}
PACKAGES = {"flite": "flite", "festival": "festival", "pico": "libttspico-utils"}
SENTENCE = "set a reminder for tomorrow"


@pytest.fixture(params=sorted(PROGRAMS))
def engine_name(request: pytest.FixtureRequest) -> str:
    if shutil.which(PROGRAMS[request.param]) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script in the place of a program, and forgets the engine that was loaded."""

    def make(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    engines = (flite, festival, pico)
    for engine in engines:
        engine.load.cache_clear()
    yield make
    for engine in engines:
        engine.load.cache_clear()


def delivery(speaker: str, *, words_per_minute: int = 150, pitch: int = 50) -> Delivery:
    return Delivery(speaker, "en-us", words_per_minute, pitch)


def median_pitch(samples: np.ndarray, rate: int) -> float:
    """Hertz, by the highest peak of the autocorrelation of loud stretches."""
    size, found = rate // 25, []
    for start in range(0, len(samples) - size, size // 2):
        part = samples[start : start + size] - samples[start : start + size].mean()
        if part.std() < 0.3 * samples.std():
            continue
        likeness = np.correlate(part, part, "full")[size - 1 :] / (1 - 0.999 * np.arange(size) / size)
        lag = rate // 400 + int(likeness[rate // 400 : rate // 60].argmax())
        if likeness[lag] > 0.6 * likeness[0]:
            found.append(rate / lag)
    return float(np.median(found))


def test_speaks_as_fast_and_as_high_as_told(engine_name: str) -> None:
    engine = load_engine(engine_name)
    voices = {"flite": flite.VOICES, "festival": festival.VOICES, "pico": pico.VOICES}[engine_name]
    speakers = [name for family in engine.families() for name in family]
    assert speakers
    assert set(speakers) <= set(voices)
    assert engine.version
    assert not engine.unlike_people()
    for speaker in speakers:
        assert engine.accents_of(speaker) == (voices[speaker].accent,)
        slow, rate = engine.speak(SENTENCE, delivery(speaker, words_per_minute=120, pitch=30))
        fast, _ = engine.speak(SENTENCE, delivery(speaker, words_per_minute=210, pitch=70))
        assert slow.dtype == np.float32
        assert 0.05 < np.abs(slow).max() <= 1
        assert len(slow) > 1.3 * len(fast)
        assert 1 < len(slow) / rate < 4
        if voices[speaker].pitch is not None:
            assert median_pitch(fast, rate) > 1.25 * median_pitch(slow, rate)


def test_what_was_said_before_changes_nothing(engine_name: str) -> None:
    engine = load_engine(engine_name)
    speakers = [name for family in engine.families() for name in family]
    once = [engine.speak(SENTENCE, delivery(speaker))[0] for speaker in speakers]
    engine.speak('a "large" \\ one, 5 please', delivery(speakers[0], words_per_minute=210, pitch=70))
    for speaker, samples in zip(reversed(speakers), reversed(once), strict=True):
        np.testing.assert_array_equal(engine.speak(SENTENCE, delivery(speaker))[0], samples)


def test_what_cannot_be_said_is_named(engine_name: str) -> None:
    engine = load_engine(engine_name)
    speaker = engine.families()[0][0]
    with pytest.raises(SynthesisError, match=f"{engine_name}: no speaker 'nobody'; expected one of "):
        engine.speak(SENTENCE, delivery("nobody"))
    with pytest.raises(SynthesisError, match=rf"{engine_name}: no sound for '\?'; expected words"):
        engine.speak("?", delivery(speaker))


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_that_is_not_there(
    name: str, fake_program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(
        SynthesisError, match=rf"{name}: the program is not installed; apt-get install {PACKAGES[name]}"
    ):
        load_engine(name)
    grammar = write_grammar(tmp_path)
    with pytest.raises(SynthesisError, match=f"{name}: the program is not installed"):
        synthesize.main([grammar, str(tmp_path / "out"), "--engines", f"espeak,{name}"])
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    counts = ("--num-train", "12", "--num-dev", "2", "--num-test", "2", "--min-count", "0")
    assert synthesize.main([grammar, str(tmp_path / "out"), *counts, "--engines", "auto"]) == 0
    assert f"without {name}: the program is not installed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["festival", "flite"])
def test_a_program_without_voices(name: str, fake_program) -> None:
    fake_program(name, "echo '  version: 1.0'")
    with pytest.raises(SynthesisError, match=f"{name}: none of its voices .* is installed; "):
        load_engine(name)


def test_a_flite_that_fails(fake_program, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = 'if [ "$1" = -lv ]; then echo Voices available: slt; exit; fi'
    fake_program("flite", f"{listing}; echo no luck >&2")
    engine = load_engine("flite")
    with pytest.raises(SynthesisError, match=f"flite: '{SENTENCE}': no luck: .*speech.wav: .*; expected speech"):
        engine.speak(SENTENCE, delivery("slt"))
    monkeypatch.setattr(voices_module, "MAX_SECONDS", 0.2)
    fake_program("flite", "exec sleep 5")
    with pytest.raises(SynthesisError, match=f"flite: '{SENTENCE}': no end after 0.2 s; expected speech"):
        engine.speak(SENTENCE, delivery("slt"))


def test_a_pico_that_fails(fake_program, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program("pico2wave", "echo no luck >&2")
    engine = load_engine("pico")
    with pytest.raises(SynthesisError, match=f"pico: '{SENTENCE}': no luck: .*speech.wav: .*; expected speech"):
        engine.speak(SENTENCE, delivery("en-US"))
    monkeypatch.setattr(voices_module, "MAX_SECONDS", 0.2)
    fake_program("pico2wave", "exec sleep 5")
    with pytest.raises(SynthesisError, match=f"pico: '{SENTENCE}': no end after 0.2 s; expected speech"):
        engine.speak(SENTENCE, delivery("en-US"))


def test_pico_reads_no_marks_in_a_sentence(engine_name: str) -> None:
    if engine_name != "pico":
        pytest.skip("of pico")
    engine = load_engine("pico")
    plain, _ = engine.speak("salt and pepper", delivery("en-US"))
    for text in ("salt & pepper", "salt and <pepper>"):
        marked, _ = engine.speak(text, delivery("en-US"))
        assert len(marked) == pytest.approx(len(plain), rel=0.2)


def test_a_festival_that_fails(fake_program, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = 'if [ "$1" = --batch ]; then echo "(ked_diphone)"; exit; fi'
    fake_program("festival", f"{listing}; read line; echo SIOD ERROR; exit 7")
    engine = load_engine("festival")
    for _ in range(2):  # it is started again
        with pytest.raises(SynthesisError, match=r"SIOD ERROR died with status 7: .*; expected speech"):
            engine.speak(SENTENCE, delivery("ked_diphone"))
    monkeypatch.setattr(festival, "MAX_SECONDS", 0.2)
    fake_program("festival", "exec sleep 5")
    with pytest.raises(SynthesisError, match="died with status -9: "):
        engine.speak(SENTENCE, delivery("ked_diphone"))


def test_a_mistake_in_festival_does_not_stop_it(engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine_name != "festival":
        pytest.skip("of festival")
    engine = load_engine("festival")
    with monkeypatch.context() as patched:
        patched.setattr(festival, "_voice", lambda _: "(voice_nobody)")
        with pytest.raises(SynthesisError, match=r"unbound variable : voice_nobody: .*expected speech"):
            engine.speak(SENTENCE, delivery("ked_diphone"))
    assert len(engine.speak(SENTENCE, delivery("ked_diphone"))[0]) > 10_000


class Voices:
    """An engine with the speakers it is given, one family each."""

    version = "1"

    def __init__(self, *speakers: str) -> None:
        self.speakers = speakers

    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return ("en-us",)

    def families(self) -> list[tuple[str, ...]]:
        return [(speaker,) for speaker in self.speakers]

    def unlike_people(self) -> frozenset[str]:
        return frozenset()


def test_dev_and_test_hear_the_first_engine_and_nobody_of_the_others() -> None:
    first = Voices("slt", "kal16", "rms", "awb", "ann", "bob")
    others = Voices("cmu_us_slt_arctic_hts", "ked_diphone")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cast = cast_all({"flite": first, "festival": others}, num_dev=1, num_test=1, rng=rng)
        assert set(cast["dev"]) == set(cast["test"]) == {"flite"}
        held_out = {*cast["dev"]["flite"], *cast["test"]["flite"]}
        assert len(held_out) == 2
        assert "slt" not in held_out  # the same person speaks in train, by Festival
        assert not held_out & set(cast["train"]["flite"])
        assert cast["train"]["festival"] == others.speakers
    assert all(len({name.split("/")[0] for name in person}) == len(person) for person in SAME_PERSON)


def test_engines_speak_their_shares_and_all_speakers_in_turn() -> None:
    casting = Casting(
        speakers={"train": {"a": ("1", "2", "3"), "b": ("1",)}},
        shares={"a": 3, "b": 1},
        accents={"a": dict.fromkeys("123", ("en-us", "en-gb")), "b": {"1": ("en-029",)}},
        words_per_minute=ValueRange(120, 210),
        pitch=ValueRange(30, 70),
    )
    commands = [synthesize_command(number) for number in range(1200)]
    lines = plan_split("train", commands, casting=casting, suffix="wav", rng=np.random.default_rng(0))
    assert [line.command for line in lines] == commands
    of_a = [line for line in lines if line.engine == "a"]
    assert len(of_a) == pytest.approx(900, abs=50)
    assert {line.speaker for line in of_a} == {"a/1", "a/2", "a/3"}
    for start in range(0, len(of_a) - 2, 3):
        assert {line.delivery.speaker for line in of_a[start : start + 3]} == {"1", "2", "3"}
    assert {(line.engine, line.delivery.accent) for line in lines} == {("a", "en-us"), ("a", "en-gb"), ("b", "en-029")}


def synthesize_command(number: int):
    from asr.grammar.sampling import Command

    return Command(text=str(number), spoken=str(number), intent="Count", slots={})


def test_an_accent_that_a_split_has_no_speaker_for(tmp_path: Path) -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    arguments = [write_grammar(tmp_path), str(tmp_path / "out"), "--engines", "espeak,flite", "--accents", "en-us-nyc"]
    with pytest.raises(
        SynthesisError, match="--accents: no speaker of flite in train has one of them; expected others"
    ):
        synthesize.main(arguments)


def test_engines_of_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    counts = ("--num-train", "9", "--num-dev", "1", "--num-test", "1", "--min-count", "0")
    engines = ("--engines", "espeak,flite=2", "--num-dev-speakers", "1", "--num-test-speakers", "1")
    assert synthesize.main([write_grammar(tmp_path), str(tmp_path / "out"), *counts, *engines]) == 0
    speakers = [str(each.speaker).split("/")[0] for each in Manifest.read(tmp_path / "out" / "train.jsonl")]
    assert speakers.count("flite") > speakers.count("espeak") > 0
    assert {str(each.speaker).split("/")[0] for each in Manifest.read(tmp_path / "out" / "dev.jsonl")} == {"espeak"}


def test_a_voice_is_stretched_and_moved_from_its_own() -> None:
    voice = NaturalVoice("en-us", words_per_minute=150, pitch=100)
    assert voice.stretch(delivery("x", words_per_minute=100)) == 1.5
    assert voice.hertz(delivery("x")) == 100
    assert voice.hertz(delivery("x", pitch=100)) == pytest.approx(100 * 2**0.7)


@pytest.mark.parametrize(
    ("accents", "language", "found"),
    [
        (("en-us", "en-gb", "de"), "de", ("de",)),
        (("en-us", "en-gb", "en-gb-x-rp", "de"), "en-GB", ("en-gb", "en-gb-x-rp")),
        (("en-us", "en-gb"), "en", ("en-us", "en-gb")),
        (("en-us", "de"), "de_AT", ("de",)),
        (("nb", "en-us"), "no", ("nb",)),
        (("en-us",), "e", ()),
    ],
)
def test_accents_of_a_language(accents: tuple[str, ...], language: str, found: tuple[str, ...]) -> None:
    assert accents_in(accents, language) == found


class Polyglots(Voices):
    def accents_of(self, speaker: str) -> tuple[str, ...]:
        return (speaker.partition("/")[0],)

    def speak(self, text: str, delivery: Delivery) -> tuple[np.ndarray, int]:
        return np.zeros(len(text), np.float32), 16_000


def test_an_engine_in_a_language_has_the_speakers_of_that_alone() -> None:
    engine = InLanguage("pico", Polyglots("de-DE", "en-US", "en-GB"), "de")
    assert (engine.families(), engine.accents_of("de-DE"), engine.accents_of("en-US")) == ([("de-DE",)], ("de-DE",), ())
    assert (engine.version, engine.unlike_people()) == ("1", frozenset())
    assert len(engine.speak("hallo", delivery("de-DE"))[0]) == 5
    assert InLanguage("pico", Polyglots("de-DE", "en-US", "en-GB"), "en").families() == [("en-US",), ("en-GB",)]
    with pytest.raises(SynthesisError, match="pico: no voice in language 'tr'; expected one of de, en; choose another"):
        InLanguage("pico", Polyglots("de-DE", "en-US"), "tr")


GERMAN = """
language: de
intents:
  Licht: {data: [{sentences: ["schalte das licht {n} [bitte] aus"]}]}
lists:
  n: {range: {from: 1, to: 9}}
"""


def in_german(folder: Path, *arguments: str) -> list[str]:
    path = folder / "german.yaml"
    path.write_text(GERMAN, encoding="utf-8")
    few = ("--num-train", "20", "--num-dev", "2", "--num-test", "2", "--min-count", "0", "--num-workers", "1")
    return [str(path), str(folder / "out"), *few, *arguments]


@pytest.mark.parametrize("language", ["de", "fr", "no"])
def test_a_grammar_is_spoken_by_voices_of_its_language(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(f"{__name__}.GERMAN", GERMAN.replace("language: de", f"language: {language}"))
    assert synthesize.main(in_german(tmp_path)) == 0
    accents = {
        each.extra["accent"].partition("-")[0]
        for split in ("train", "dev", "test")
        for each in Manifest.read(tmp_path / "out" / f"{split}.jsonl")
    }
    assert accents == {{"no": "nb"}.get(language, language)}


def test_an_engine_without_a_grammar_s_language_is_refused(tmp_path: Path, fake_program) -> None:
    fake_program("flite", 'echo "version: x"; echo "Voices available: slt awb"')
    with pytest.raises(SynthesisError, match="flite: no voice in language 'de'; expected one of en; choose another en"):
        synthesize.main(in_german(tmp_path, "--engines", "flite"))


def test_other_speech_is_of_the_same_language(tmp_path: Path) -> None:
    english = write_grammar(tmp_path)
    with pytest.raises(SynthesisError, match=r"in language 'en', but .* in 'de'; expected the same voices for both"):
        synthesize.main(in_german(tmp_path, "--other-speech", english))
