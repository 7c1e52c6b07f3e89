"""Looking inside a model: the numbers are the model's own, and the program leaves a picture and a page."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.config.recognizer import load_config
from asr.data.features import FeatureConfig
from asr.explain import main
from asr.explanation.inside import Explanation, explain
from asr.explanation.plot import PictureOptions, draw_explanation
from asr.metrics import ErrorCounts
from asr.model.acoustic import Model
from asr.model.cells.lstm import LSTMConfig
from asr.model.heads.attention import AttentionHeadConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.pages.plots import PlotError
from asr.text import Tokenizer
from asr.training.dev_score import DevScore, shown_utterances
from asr.training.experiment import build_experiment, train_tokenizer
from tests.support.small_run import TEXTS, small_config, small_model, write_recordings, write_small_run

HEADS = {
    "ctc": CTCHeadConfig(),
    "attention": AttentionHeadConfig(embedding_size=4, cell=LSTMConfig(hidden_size=6)),
}


def model_of(*kinds: str) -> tuple[Model, Tokenizer]:
    heads = tuple(HEADS[kind] for kind in kinds)
    decoding = {"kind": "ctc_greedy"} if "ctc" in kinds else {"kind": "attention_beam"}
    config = small_config(features=FeatureConfig(num_mels=20), heads=heads, decoding=decoding)
    tokenizer = config.tokenizer.train(TEXTS)
    if kinds[0] == "ctc":
        return small_model(config, tokenizer.vocabulary_size), tokenizer
    torch.manual_seed(0)
    built = Model(num_mels=20, encoder=config.encoder, heads=heads, vocabulary_size=tokenizer.vocabulary_size)
    return built.eval(), tokenizer


def explained(*kinds: str, text: str = "stop the music") -> tuple[Explanation, Model, torch.Tensor]:
    model, tokenizer = model_of(*kinds)
    features = torch.randn(90, 20, generator=torch.Generator().manual_seed(1))
    return explain(model, tokenizer, features, tokenizer.encode(text), hop_ms=10.0), model, features


def test_scores_attention_and_layers_are_the_models() -> None:
    seen, model, features = explained("ctc", "attention")
    lengths = torch.tensor([90])
    with torch.no_grad():
        encodings, encoded = model.encode(features[None], lengths)
        posteriors = model.heads[0](encodings)[0].exp()
        given = torch.tensor([list(seen.tokens)])
        forced = model.heads[1](encodings, encoded, given, torch.tensor([len(seen.tokens)]))
    assert seen.posteriors is not None
    assert seen.attention is not None
    np.testing.assert_allclose(seen.posteriors, posteriors, atol=1e-4)
    np.testing.assert_allclose(seen.attention.weights, forced.weights[0].mean(dim=0), atol=1e-4)
    names = ["layer 1, forwards", "layer 1, backwards", "layer 2, forwards", "layer 2, backwards"]
    assert [layer.name for layer in seen.layers] == names
    assert [word.text for word in seen.words] == ["stop", "the", "music"]
    assert seen.duration == pytest.approx(0.9)
    assert not model.training


def test_the_backward_layer_is_turned_into_the_utterances_time() -> None:
    """Its memory starts from nothing at the end of the utterance, so the last frame has seen the least."""
    seen, model, features = explained("ctc")
    backwards = next(layer for layer in seen.layers if layer.name == "layer 1, backwards")
    with torch.no_grad():
        frames, lengths = model.encoder.subsampling(features[None], torch.tensor([90]))  # type: ignore[operator]
        outputs = model.encoder.layers[0](frames, lengths)[0]  # type: ignore[index]
    found = backwards.gates["output"] * np.tanh(backwards.memory)
    np.testing.assert_allclose(found, outputs[:, found.shape[1] :], atol=1e-4)


@pytest.mark.parametrize("kinds", [("ctc",), ("attention",), ("ctc", "attention")])
def test_a_words_gradient_is_that_of_its_log_probability(kinds: tuple[str, ...]) -> None:
    """By a small change of the log-mels along the gradient, the decoder's log-probability of the word changes so."""
    seen, model, features = explained(*kinds)
    assert len(seen.gradients) == len(seen.words) == 3
    if kinds != ("attention",):
        return
    step = torch.from_numpy(seen.gradients[0]) * 1e-2
    given, number = torch.tensor([list(seen.tokens)]), torch.tensor([len(seen.tokens)])

    def log_prob(changed: torch.Tensor) -> float:
        with torch.no_grad():
            log_probs = model.heads[0](*model.encode(changed[None], torch.tensor([90])), given, number).log_probs[0]
        return sum(float(log_probs[place, token]) for place, token in enumerate(seen.tokens[:4]))

    change = (log_prob(features + step) - log_prob(features - step)) / 2
    assert change == pytest.approx(float((step * torch.from_numpy(seen.gradients[0])).sum()), rel=0.05)


def test_an_empty_transcript_has_a_picture_too() -> None:
    seen, _, _ = explained("ctc", "attention", text="")
    assert seen.words == seen.gradients == ()
    assert draw_explanation(seen, title="$1").png.startswith(b"\x89PNG")


def test_layers_and_units_are_chosen_and_refused() -> None:
    seen, _, _ = explained("ctc")
    few = draw_explanation(seen, PictureOptions(layer=1, units=()), title="")
    assert len(few.png) < len(draw_explanation(seen, PictureOptions(layer=1, units=(0, 11)), title="").png)
    assert 0 < few.left < few.right < 1
    with pytest.raises(PlotError, match="layer: 3; the encoder has 2 recurrent layers"):
        draw_explanation(seen, PictureOptions(layer=3), title="")
    with pytest.raises(PlotError, match="units: 12; layer 2, forwards has units 0 to 11"):
        draw_explanation(seen, PictureOptions(units=(12,)), title="")


def test_the_program_leaves_a_picture_and_a_page(tmp_path: Path, capsys) -> None:
    run = write_small_run(tmp_path / "run")
    (recording,) = write_recordings(tmp_path, [0.6])
    strange = tmp_path / "<b>&.wav"
    shutil.move(recording, strange)
    assert main([str(run.path), str(strange), "--units", "none"]) == 0
    folder = run.path / "explanations"
    assert (folder / "<b>&.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "<b>&.html").read_text()
    assert "&lt;b&gt;&amp;.wav" in page
    assert "<b>&.wav" not in page
    assert "data:audio/mpeg;base64," in page
    assert "http" not in page.split("</style>")[1].split("base64")[0]
    assert "heard: " in capsys.readouterr().out


def test_a_training_draws_a_few_dev_utterances_for_wandb(tone_config: Path) -> None:
    heads = "heads=[{kind: ctc}, {kind: attention, cell: {kind: lstm, hidden_size: 16}, embedding_size: 8}]"
    for trackers, expected in (("[jsonl]", 0), ("[jsonl, wandb]", 2)):
        config = load_config(tone_config, [heads, f"tracking.trackers={trackers}", "tracking.num_utterances=5"])
        experiment = build_experiment(config, train_tokenizer(config), None)
        nothing = ErrorCounts(hits=1)
        score = DevScore(nothing, nothing, {}, 0.0, (), dict.fromkeys(range(len(experiment.dev)), "ab"))
        rows = shown_utterances(experiment, experiment.model, score)
        drawn = [number for number, row in enumerate(rows) if row.explanation is not None]
        assert drawn == [0, 4][:expected]
        assert all(rows[number].explanation.startswith(b"\x89PNG") for number in drawn)  # type: ignore[union-attr]
        assert experiment.model.training


@pytest.mark.parametrize("units", ["3,x", ""])
def test_units_that_are_no_numbers_are_refused(units: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "a.wav", "--units", units])
    assert "expected numbers, such as 3,17, or 'none'" in capsys.readouterr().err
