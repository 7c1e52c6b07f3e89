"""The second opinion: it learns what it was shown, judges each utterance by itself, and travels with its run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.fitting.second_opinion import open_second_opinion, train_autoencoder
from asr.fitting.threshold import ALONE, TOGETHER, calibrate
from asr.fitting.threshold_report import write_calibration_report
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer
from asr.runs.recognizer import load_run
from asr.training.experiment import DataError
from asr.understanding.autoencoder import FILE_NAME, Autoencoder, SecondOpinion, load_autoencoder, save_autoencoder
from asr.understanding.rejection import (
    Evidence,
    Rejection,
    RejectionError,
    fit_confidence,
    save_rejection,
)
from tests.grammar.test_templates import write_grammar
from tests.support.rejections import load_rejection
from tests.support.small_run import TEXTS, write_recordings, write_small_run

GRAMMAR = 'language: en\nintents:\n  Light: {data: [{sentences: ["turn the light on", "stop"]}]}\n'


def utterances(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, 20, generator=generator) for length in lengths]


def an_autoencoder() -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(20).eval()


def test_it_is_small() -> None:
    assert sum(each.numel() for each in Autoencoder(80).parameters()) < 100_000


def test_an_utterance_is_judged_by_itself() -> None:
    """Whatever it is padded with, whatever shares its batch, and also where it ends within a stack of frames."""
    opinion = SecondOpinion(an_autoencoder(), "")
    alone = utterances([1, 2, 3, 50, 61, 7])
    lengths = torch.tensor([len(each) for each in alone])
    one_by_one = [opinion.familiarity(each[None], torch.tensor([len(each)]))[0] for each in alone]
    for padding in (0.0, 9.0):
        together = opinion.familiarity(pad_sequence(alone, batch_first=True, padding_value=padding), lengths)
        assert together == pytest.approx(one_by_one, abs=1e-5)
    assert all(each <= 0 for each in one_by_one)


def test_padding_changes_neither_loss_nor_gradients() -> None:
    alone, gradients, losses = utterances([10, 25]), [], []
    lengths = torch.tensor([10, 25])
    for padding in (0.0, 5.0):
        autoencoder = an_autoencoder()
        loss = autoencoder.loss(pad_sequence(alone, batch_first=True, padding_value=padding), lengths)
        loss.backward()
        losses.append(loss.item())
        gradients.append([each.grad for each in autoencoder.parameters()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_a_still_utterance_is_no_division_by_zero() -> None:
    [familiarity] = SecondOpinion(an_autoencoder(), "").familiarity(torch.zeros(1, 9, 20), torch.tensor([9]))
    assert np.isfinite(familiarity)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with the manifest it was trained on, and its six recordings."""
    monkeypatch.chdir(tmp_path)
    durations = [0.6, 0.9, 0.7, 1.0, 0.8, 0.5]
    paths = write_recordings(tmp_path, durations)
    write_manifest(
        tmp_path / "train.jsonl",
        [
            Utterance(str(path), str(path), duration, text=TEXTS[number % len(TEXTS)])
            for number, (path, duration) in enumerate(zip(paths, durations, strict=True))
        ],
    )
    return write_small_run(tmp_path / "run").path


def test_training_makes_its_sounds_familiar_and_is_deterministic(run: Path) -> None:
    parts = load_run(run)
    steps = [(loss, autoencoder) for autoencoder, loss in train_autoencoder(parts, num_steps=30)]
    assert steps[-1][0] < 0.9 * steps[0][0]
    autoencoder = steps[-1][1]
    [*_, (again, _)] = train_autoencoder(parts, num_steps=30)
    for first, second in zip(autoencoder.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)
    opinion, recognizer = SecondOpinion(autoencoder.eval(), ""), Recognizer.load(run)
    known = recognizer.features("00.wav")
    unknown = utterances([len(known)])[0]
    lengths = torch.tensor([len(known), len(unknown)])
    familiar = opinion.familiarity(torch.stack([known, unknown]), lengths)
    assert familiar[0] > familiar[1] + 0.05


def test_it_is_trained_once_and_travels_with_its_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.fitting.second_opinion.NUM_STEPS", 2)
    opinion = open_second_opinion(run)
    written = (run / FILE_NAME).read_bytes()
    Path("train.jsonl").unlink()
    assert open_second_opinion(run).digest == opinion.digest  # it needs no data any more
    assert (run / FILE_NAME).read_bytes() == written
    with pytest.raises(RejectionError, match=r"autoencoder\.safetensors: its SHA-256 is .*; expected abc, as it was"):
        load_autoencoder(run, digest="abc")
    (run / FILE_NAME).unlink()
    with pytest.raises(RejectionError, match=r"autoencoder\.safetensors: no such file, but a calibration in .* needs"):
        load_autoencoder(run, digest=opinion.digest)
    with pytest.raises(DataError, match=r"data\.train\.0\.manifest: train\.jsonl: no such file"):
        open_second_opinion(run)


def test_a_recognizer_asks_it_where_a_calibration_has_it(run: Path, tmp_path: Path) -> None:
    grammar = write_grammar(tmp_path, GRAMMAR)
    opinion = save_autoencoder(run, an_autoencoder())
    digest = str(json.loads((run / "run.json").read_text())["model"])
    rejection = Rejection(threshold=-1e6, familiarity_weight=3.0, autoencoder=opinion.digest, is_calibrated=True)
    save_rejection(run, rejection, grammar=load_grammar(grammar).digest, model=digest)
    assert load_rejection(run, grammar=load_grammar(grammar).digest, model=digest) == rejection
    recognizer = Recognizer.load(run, commands=grammar)
    together = [each.command for each in recognizer.transcribe_batch(["00.wav", "03.wav"])]
    for path, command in zip(("00.wav", "03.wav"), together, strict=True):
        alone = recognizer.command(path)
        assert command is not None
        assert command.familiarity == pytest.approx(alone.familiarity, abs=1e-5)
        assert alone.familiarity < 0
        assert alone.to_dict()["familiarity"] == alone.familiarity
        evidence = Evidence(alone.score, alone.certainty, alone.agreement, alone.familiarity)
        assert alone.confidence == pytest.approx(rejection.confidence(evidence))
        assert alone.confidence < rejection.confidence(replace(evidence, familiarity=0.0))


def test_familiarity_is_weighed_and_never_counts_against_what_is_familiar() -> None:
    rng = np.random.default_rng(0)
    is_right = rng.random(600) < 0.5
    familiarity = np.where(is_right, -0.3, -0.7) + 0.1 * rng.normal(size=600)
    evidence = [Evidence(-1.0, -0.5, -1.0, float(each)) for each in familiarity]
    fitted = fit_confidence(Rejection(), evidence, is_right)
    assert fitted.familiarity_weight > 5
    assert (
        fitted.confidence(Evidence(-1.0, -0.5, -1.0, -0.2))
        > 0.9
        > 0.1
        > fitted.confidence(Evidence(-1.0, -0.5, -1.0, -0.9))
    )
    wrong = fit_confidence(
        Rejection(), [replace(each, familiarity=-1 - each.familiarity) for each in evidence], is_right
    )
    assert wrong.familiarity_weight == 0
    without = fit_confidence(Rejection(), [replace(each, familiarity=0.0) for each in evidence], is_right)
    assert without.familiarity_weight == 0


def test_calibrating_with_a_second_opinion(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positives and negatives that the model takes the wrong way round, and the autoencoder does not."""
    grammar = write_grammar(tmp_path, GRAMMAR)
    recognizer = Recognizer.load(run, commands=grammar)
    items = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    for item in items:
        item["audio_filepath"] = str(tmp_path / item["audio_filepath"])
    items.sort(key=lambda item: recognizer.command(item["audio_filepath"]).confidence)  # the worst are the positives
    guesses = [recognizer.command(item["audio_filepath"]).guesses[0] for item in items]
    labelled = [
        Utterance(item["id"], item["audio_filepath"], item["duration"], text=guess.text)
        for item, guess in zip(items, guesses, strict=True)
    ]
    write_manifest(tmp_path / "positives.jsonl", labelled[:3])
    write_manifest(tmp_path / "negatives.jsonl", [replace(each, text="other words") for each in labelled[3:]])

    class Knows(SecondOpinion):
        """The positives are familiar, by their lengths."""

        def familiarity(self, features: torch.Tensor, lengths: torch.Tensor) -> list[float]:
            positive = {Recognizer.load(run).features(item["audio_filepath"]).shape[0] for item in items[:3]}
            return [0.0 if length in positive else -5.0 for length in lengths.tolist()]

    monkeypatch.setattr("asr.fitting.threshold.open_second_opinion", lambda _: Knows(an_autoencoder(), "abc"))
    manifests = {"negatives": tmp_path / "negatives.jsonl", "positives": tmp_path / "positives.jsonl"}
    negatives, positives = [manifests["negatives"]], [manifests["positives"]]
    settings = {"false_accepts_per_hour": 0.0, "window": 6.0, "second_opinion": True}
    found = calibrate(run, grammar, negatives=negatives, positives=positives, **settings)
    assert list(found.judgements) == [ALONE, TOGETHER]
    assert found.rejection.familiarity_weight > 0
    assert found.kept == TOGETHER
    assert found.rejection.recall == 1.0 > (found.judgements[ALONE].rejection.recall or 0.0)
    kept = load_rejection(run, grammar=load_grammar(grammar).digest, model=load_run(run).model_digest)
    assert kept == found.rejection
    assert kept.autoencoder == "abc"
    assert any(TOGETHER in line for line in found.summary())
    write_calibration_report(tmp_path / "page.html", found, run=run, grammar=grammar)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert page.count(TOGETHER) > 2

    useless = replace(found.judgements[TOGETHER], rejection=replace(found.rejection, familiarity_weight=0.0))
    silent = replace(found, judgements={**found.judgements, TOGETHER: useless}, kept=ALONE)
    assert any("has no weight" in line for line in silent.summary())
    write_calibration_report(tmp_path / "page.html", silent, run=run, grammar=grammar)
    assert (tmp_path / "page.html").read_text().count(TOGETHER) < page.count(TOGETHER)  # not drawn over the other

    with pytest.raises(RejectionError, match="--second-opinion: no --positives; expected commands"):
        calibrate(
            run,
            grammar,
            negatives=[manifests["negatives"]],
            positives=[],
            false_accepts_per_hour=0.0,
            window=6.0,
            second_opinion=True,
        )
