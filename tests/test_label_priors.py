"""Label priors: the mean of the posteriors, and scores divided by a power of it."""

from pathlib import Path

import numpy as np
import pytest

from asr.decoding.label_priors import LabelPriors, LabelPriorsError, measure_priors


def posteriors(*frames: list[float]) -> np.ndarray:
    return np.log(np.array(frames, dtype=np.float32))


def test_priors_are_the_mean_over_all_frames_not_over_utterances() -> None:
    long, short = posteriors([0.8, 0.2], [0.8, 0.2], [0.8, 0.2]), posteriors([0.4, 0.6])
    np.testing.assert_allclose(np.exp(measure_priors([long, short], weight=1.0).log_probs), [0.7, 0.3], rtol=1e-5)


def test_an_uncertain_frame_goes_to_the_label_that_is_rarer() -> None:
    priors = LabelPriors(np.log(np.array([0.9, 0.1], dtype=np.float32)), weight=1.0)
    np.testing.assert_allclose(np.exp(priors.scale(posteriors([0.6, 0.4]))), [[1 / 7, 6 / 7]], rtol=1e-5)
    half = LabelPriors(priors.log_probs, weight=0.5)
    np.testing.assert_allclose(np.exp(half.scale(posteriors([0.75, 0.25]))), [[0.5, 0.5]], rtol=1e-5)
    scores = posteriors([0.6, 0.4], [0.1, 0.9])
    np.testing.assert_allclose(LabelPriors(priors.log_probs, weight=0.0).scale(scores), scores, rtol=1e-5)


def test_saving_and_loading_gives_the_same_priors(tmp_path: Path) -> None:
    path = tmp_path / "priors.safetensors"
    priors = measure_priors([posteriors([1.0, 1e-30])], weight=1.2)  # the second label never: bounded
    priors.save(path)
    again = LabelPriors.load(path, vocabulary_size=2)
    np.testing.assert_array_equal(again.log_probs, priors.log_probs)
    assert again.weight == pytest.approx(1.2)
    assert np.isfinite(again.log_probs).all()
    with pytest.raises(LabelPriorsError, match="priors of 2 labels; expected 3, as many as the run's tokenizer has"):
        LabelPriors.load(path, vocabulary_size=3)
    path.write_bytes(b"no tensors")
    with pytest.raises(LabelPriorsError, match=r"priors.safetensors: damaged \(.*; measure the priors again"):
        LabelPriors.load(path, vocabulary_size=2)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(LabelPriorsError, match="no frames; expected a manifest of recordings of speech"):
        measure_priors([], weight=1.0)
