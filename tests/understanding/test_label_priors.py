"""Label priors: the mean of the posteriors, and scores divided by a power of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from asr.commands import main
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.process.runtime import EXIT_BAD_FILES
from asr.recognizer import Recognizer
from asr.understanding.label_priors import LabelPriors, LabelPriorsError, measure_priors
from tests.grammar.test_templates import write_grammar
from tests.support.small_run import write_recordings, write_small_run

GRAMMAR = """
language: en
intents:
  Light: {data: [{sentences: ["turn the light on", "stop"]}]}
"""


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
    priors.save(path, model="abc")
    again = LabelPriors.load(path, model="abc")
    np.testing.assert_array_equal(again.log_probs, priors.log_probs)
    assert again.weight == pytest.approx(1.2)
    assert np.isfinite(again.log_probs).all()
    with pytest.raises(LabelPriorsError, match=r"label priors of other weights than the run's .*; measure them again"):
        LabelPriors.load(path, model="def")
    path.write_bytes(b"no tensors")
    with pytest.raises(LabelPriorsError, match=r"priors.safetensors: damaged \(.*; measure them again"):
        LabelPriors.load(path, model="abc")


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(LabelPriorsError, match="no frames; expected a manifest of recordings of speech"):
        measure_priors([], weight=1.0)


def test_a_run_keeps_its_priors_for_the_search_of_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_small_run(tmp_path / "run").path
    recordings = write_recordings(tmp_path, [1.0, 1.0])
    utterances = [Utterance(path.stem, str(path), duration=1.0) for path in recordings]
    manifest, grammar = tmp_path / "dev.jsonl", write_grammar(tmp_path, GRAMMAR)
    write_manifest(manifest, [*utterances, Utterance("gone", str(tmp_path / "gone.wav"), duration=1.0)])
    before = Recognizer.load(run, commands=grammar)
    assert main(["priors", str(run), str(manifest), "--weight", "0.7"]) == EXIT_BAD_FILES
    shown = capsys.readouterr()
    assert re.search(r"priors of \d+ labels, blank [\d.]+%, weight 0.7", shown.out)
    assert "not read: gone: " in shown.err
    after = Recognizer.load(run, commands=grammar)
    assert before.commands is not None
    assert after.commands is not None
    assert before.commands.priors is None
    assert after.commands.priors is not None
    assert before.command(recordings[0]).score != after.command(recordings[0]).score
    assert before.command(recordings[0]).heard == after.command(recordings[0]).heard  # without a grammar: as ever
