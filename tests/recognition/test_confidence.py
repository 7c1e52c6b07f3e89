"""How sure words are: a fit that keeps its word on words it has not seen, and files that fit the run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.recognition.confidence import (
    ConfidenceError,
    WordCalibration,
    calibration_error,
    fit_words,
    load_calibration,
    save_calibration,
)


def boastful_words(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of a model that says 0.9 where it is right half the time, and which words were right."""
    generator = np.random.default_rng(seed)
    chances = generator.uniform(0.05, 0.95, number)
    logits = 2.0 * np.log(chances / (1 - chances)) + 2.2
    return 1 / (1 + np.exp(-logits)), generator.uniform(size=number) < chances


def test_a_fit_says_what_share_of_new_words_is_right() -> None:
    fitted = fit_words(*boastful_words(2000, 0), utterances=[number // 5 for number in range(2000)])
    posteriors, is_right = boastful_words(5000, 1)
    confidences = np.array([fitted.confidence(each) for each in posteriors.tolist()])
    assert calibration_error(posteriors, is_right) > 0.2
    assert calibration_error(confidences, is_right) < 0.03
    assert fitted.slope == pytest.approx(0.5, abs=0.06)
    assert fitted.intercept == pytest.approx(-1.1, abs=0.2)
    assert fitted.num_words == 2000
    assert fitted.error_before == pytest.approx(calibration_error(posteriors, is_right), abs=0.03)
    assert fitted.error_after < 0.05


@given(st.floats(-5, 5), st.floats(-9, 9), st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True))
def test_a_surer_word_never_becomes_the_less_sure_one(slope: float, intercept: float, posteriors: list[float]) -> None:
    fitted = WordCalibration(abs(slope), intercept, 10)
    low, high = (fitted.confidence(each) for each in sorted(posteriors))
    assert 0 < low <= high <= 1


def test_without_a_fit_the_posterior_is_the_confidence() -> None:
    assert [WordCalibration().confidence(each) for each in (0.0, 0.3, 1.0)] == [0.0, 0.3, 1.0]


def test_posteriors_that_mean_the_opposite_are_not_turned_round() -> None:
    posteriors = np.repeat([0.9, 0.1], 50)
    fitted = fit_words(posteriors, posteriors < 0.5, utterances=range(100))
    assert fitted.slope == 0.0
    assert fitted.confidence(0.9) == pytest.approx(0.5)


def test_the_error_is_the_distance_of_each_bin() -> None:
    confidences = np.array([0.95, 0.95, 0.25, 0.25])
    is_right = np.array([True, False, False, False])
    assert calibration_error(confidences, is_right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.25)
    assert calibration_error(np.array([]), np.array([], dtype=bool)) == 0.0


def test_mistakes_and_hits_are_both_needed() -> None:
    with pytest.raises(ConfidenceError, match="3 words heard right and 0 wrong; expected some of both"):
        fit_words(np.array([0.5, 0.6, 0.7]), np.array([True, True, True]), utterances=[0, 1, 2])


def test_it_is_kept_for_each_decoding_and_for_these_weights(tmp_path: Path) -> None:
    one, two = replace(WordCalibration(0.7, -1.0, 90), error_before=0.3), WordCalibration(0.5, 0.1, 60)
    save_calibration(tmp_path, one, decoding="greedy", model="w1")
    path = save_calibration(tmp_path, two, decoding="beam", model="w1")
    assert load_calibration(tmp_path, decoding="greedy", model="w1") == one
    assert load_calibration(tmp_path, decoding="beam", model="w1") == two
    assert load_calibration(tmp_path, decoding="other", model="w1") == WordCalibration()
    with pytest.raises(ConfidenceError, match=r"fitted for other weights.*--calibrate-confidence again"):
        load_calibration(tmp_path, decoding="beam", model="w2")
    path.write_text("{")
    with pytest.raises(ConfidenceError, match=r"word_confidence\.json: not JSON"):
        load_calibration(tmp_path, decoding="beam", model="w1")
    path.write_text("[1]")
    with pytest.raises(ConfidenceError, match="list; expected a JSON object"):
        load_calibration(tmp_path, decoding="beam", model="w1")
    path.write_text(json.dumps({"beam": {"model": "w1", "steepness": 1}}))
    with pytest.raises(ConfidenceError, match=r"not a calibration: beam: steepness: found 1;"):
        load_calibration(tmp_path, decoding="beam", model="w1")
