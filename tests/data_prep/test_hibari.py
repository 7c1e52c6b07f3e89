"""hibari: speakers of other pitches and vocal tracts, all one person; the same samples each time."""

import sys
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Manifest
from data_prep import speaking, synthesize
from data_prep.voices import Delivery, Engine, SynthesisError, hibari, load_engine
from tests.data_prep.test_synthesize import InThisProcess, write_grammar
from tests.data_prep.test_voices import median_pitch

SENTENCE = "set a reminder for tomorrow"
LONGER = "can i get a large triple shot mocha with a bit of sugar"
NATURAL, LONG_AND_LOW = "w098-p100", "w082-p050"


@pytest.fixture
def engine() -> Engine:
    pytest.importorskip("hibari")
    return load_engine("hibari")


def delivery(speaker: str, *, words_per_minute: int = 180, pitch: int = 50) -> Delivery:
    return Delivery(speaker, "en-us", words_per_minute, pitch)


def formant_factor(samples: np.ndarray, other: np.ndarray, rate: int) -> float:
    """The factor by which the formants of `other` are those of `samples`, by the likest shapes of their spectra."""

    def levels(of: np.ndarray, hertz: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(of)) ** 2
        width = round(300 * len(of) / rate)  # wider than harmonics are apart
        smooth = np.convolve(power, np.hanning(width), "same")
        return np.log(np.interp(hertz, np.fft.rfftfreq(len(of), 1 / rate), smooth))

    hertz = np.arange(400, 6000, 20)
    factors = np.arange(0.7, 1.2, 0.01)
    alike = [np.corrcoef(levels(samples, hertz), levels(other, hertz * factor))[0, 1] for factor in factors]
    return float(factors[int(np.argmax(alike))])


def test_speaks_as_fast_and_as_high_as_told(engine: Engine) -> None:
    slow, rate = engine.speak(SENTENCE, delivery(NATURAL, words_per_minute=120, pitch=30))
    fast, _ = engine.speak(SENTENCE, delivery(NATURAL, words_per_minute=210, pitch=70))
    assert slow.dtype == np.float32
    assert np.abs(slow).max() == pytest.approx(hibari.LOUDEST, abs=1e-6)
    assert len(slow) > 1.3 * len(fast)
    assert 1 < len(slow) / rate < 4
    assert median_pitch(fast, rate) > 1.25 * median_pitch(slow, rate)


def test_speakers_differ_in_pitch_and_in_their_vocal_tract(engine: Engine) -> None:
    hers, rate = engine.speak(LONGER, delivery(NATURAL))
    lower, _ = engine.speak(LONGER, delivery("w098-p070"))
    longer, _ = engine.speak(LONGER, delivery("w082-p070"))
    assert median_pitch(lower, rate) == pytest.approx(0.7 * median_pitch(hers, rate), rel=0.08)
    assert median_pitch(longer, rate) == pytest.approx(median_pitch(lower, rate), rel=0.08)
    assert formant_factor(lower, longer, rate) == pytest.approx(0.82 / 0.98, abs=0.03)
    assert formant_factor(hers, lower, rate) == pytest.approx(1.0, abs=0.03)


def test_what_was_said_before_changes_nothing(engine: Engine) -> None:
    once, _ = engine.speak(SENTENCE, delivery(LONG_AND_LOW))
    engine.speak("a large one, please", delivery(NATURAL))
    np.testing.assert_array_equal(engine.speak(SENTENCE, delivery(LONG_AND_LOW))[0], once)


def test_what_cannot_be_said_is_named(engine: Engine) -> None:
    with pytest.raises(SynthesisError, match=r"hibari: no speaker 'nobody'; expected one of w082-p050, "):
        engine.speak(SENTENCE, delivery("nobody"))
    with pytest.raises(SynthesisError, match=r"hibari: no sound for '\?'; expected words"):
        engine.speak("?", delivery(NATURAL))
    with pytest.raises(SynthesisError, match="hibari: no sound for '日本'; expected words"):
        engine.speak("日本", delivery(NATURAL))


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    hibari.load.cache_clear()
    with pytest.raises(SynthesisError, match=r"hibari: .* is not installed; pip install 'earshot\[voices\]'"):
        load_engine("hibari")


def test_one_person_is_in_one_split(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.families() == [tuple(hibari.VOICES)]
    assert {engine.accents_of(speaker) for speaker in hibari.VOICES} == {("en-us",)}
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    command = [write_grammar(tmp_path), str(tmp_path / "out"), "--engines", "hibari", "--min-count", "0"]
    with pytest.raises(
        SynthesisError, match=r"8 speakers for dev .* ask for fewer \(for none by --num-dev 0 --num-test 0\)"
    ):
        synthesize.main(command)
    assert synthesize.main([*command, "--num-train", "9", "--num-dev", "0", "--num-test", "0"]) == 0
    spoken = Manifest.read(tmp_path / "out" / "train.jsonl")
    assert len({utterance.speaker for utterance in spoken}) == 9
    assert {utterance.speaker for utterance in spoken} <= {f"hibari/{speaker}" for speaker in hibari.VOICES}


def test_an_envelope_is_moved_along_the_frequencies() -> None:
    values = np.zeros((601, 2), np.float32)
    values[100] = 1.0
    assert hibari._stretched(values, 0.8).argmax(0).tolist() == [80, 80]
    assert hibari._stretched(values, 1.06).argmax(0).tolist() == [106, 106]
    np.testing.assert_array_equal(hibari._stretched(values, 1.0), values)
    values[600] = 2.0
    assert (hibari._stretched(values, 0.8)[480:] == 2.0).all()
