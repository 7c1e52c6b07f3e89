"""Several heads on one encoder: trained, measured, searched and taken over together."""

import json
from pathlib import Path

import pytest
import torch

from asr.config.reading import ConfigError
from asr.config.recognizer import load_config
from asr.data.features import FeatureConfig
from asr.decoding import choose_heads, decodings_for
from asr.decoding.attention_beam import AttentionBeam, AttentionBeamConfig
from asr.decoding.ctc_greedy import CTCGreedy
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.joint_beam import JointBeam, JointBeamConfig
from asr.metrics import ErrorCounts
from asr.recognizer import Recognizer
from asr.train import main
from asr.training.dev_score import DevScore
from asr.training.memory import multiply_adds
from asr.training.transfer import renumber_heads
from tests.explanation.test_explain import model_of

ATTENTION = "{kind: attention, weight: 0.7, cell: {kind: lstm, hidden_size: 16}, embedding_size: 8}"
BOTH = f"heads=[{{kind: ctc, weight: 0.3}}, {ATTENTION}]"
JOINT = "decoding={kind: joint_beam, beam: 2}"


def run(config: Path, run_dir: Path, *overrides: str) -> list[dict]:
    assert main([str(config), f"run_dir={run_dir}", *overrides]) == 0
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_both_heads_train_are_measured_and_searched(
    tone_config: Path, tone_corpus: Path, tmp_path: Path, capsys
) -> None:
    lines = run(tone_config, tmp_path / "run", BOTH, JOINT, "train.max_epochs=3", "train.average_best=1")
    trained, scored = lines[0], [line for line in lines if "dev/wer" in line]
    weighted = 0.3 * trained["train/loss_ctc"] + 0.7 * trained["train/loss_attention"]
    assert trained["train/loss"] == pytest.approx(weighted)
    for line in scored:
        weighted = 0.3 * line["dev/loss_ctc"] + 0.7 * line["dev/loss_attention"]
        assert line["dev/loss"] == pytest.approx(weighted)
        assert -1 <= line["dev/attention_diagonality"] <= 1
        assert 0 <= line["dev/attention_entropy"] <= 1
    # Three epochs of three steps do not make attention follow the speech, and that is said.
    assert "warning: epoch 3: the attention does not follow the speech: diagonality" in capsys.readouterr().err
    recognizer = Recognizer.load(tmp_path / "run")
    assert isinstance(recognizer.transcribe(next((tone_corpus / "dev").iterdir())).text, str)


def test_heads_are_taken_over_by_their_kind(tone_config: Path, tmp_path: Path, capsys) -> None:
    short = ("train.max_steps=1", "train.average_best=1", "optim.learning_rate=1e-9")
    run(tone_config, tmp_path / "base", BOTH, JOINT, *short)
    capsys.readouterr()
    turned = f"heads=[{ATTENTION}, {{kind: ctc, weight: 0.3}}]"
    run(tone_config, tmp_path / "fine", turned, JOINT, *short, f"init_from={tmp_path / 'base'}")
    assert "fresh: none" in capsys.readouterr().out


def test_a_head_of_another_kind_is_left_behind() -> None:
    weights = {"encoder.a": torch.zeros(1), "heads.0.b": torch.ones(1), "heads.1.c": torch.ones(2)}
    assert set(renumber_heads(weights, ("ctc", "attention"), ("attention",))) == {"encoder.a", "heads.0.c"}
    for name in ("heads.2.c", "heads.x.c", "heads"):
        with pytest.raises(ValueError, match=f"init_from: the weights '{name}'; expected heads 0 to 1 of that run"):
            renumber_heads({name: torch.zeros(1)}, ("ctc", "attention"), ("attention",))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["heads=[{kind: ctc}, {kind: ctc}]"], "heads: found ctc, ctc; expected each kind once at most"),
        (
            [f"heads=[{ATTENTION}]"],
            "'ctc_greedy' searches the scores of ctc heads; heads has attention: choose 'attention_beam'",
        ),
        ([JOINT], "'joint_beam' searches the scores of attention and ctc heads; heads has ctc: choose 'ctc_greedy'"),
        (
            ["heads=[{kind: attention, attention: {kind: content, num_heads: 5, attention_size: 10}}]"],
            r"heads.0.attention.num_heads: 5 heads do not divide the 48 values of an encoding",
        ),
        (["heads=[{kind: attention, attention: {kind: contents}}]"], "did you mean 'content'"),
    ],
)
def test_heads_and_decodings_that_do_not_fit_are_refused(tone_config: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tone_config, overrides)


def test_every_decoding_says_which_heads_it_searches() -> None:
    assert decodings_for(["ctc"]) == ["ctc_greedy", "ctc_beam", "ctc_lexicon"]
    assert decodings_for(["attention"]) == ["attention_beam"]
    assert set(decodings_for(["ctc", "attention"])) - set(decodings_for(["ctc"])) == {"attention_beam", "joint_beam"}


def test_a_decoding_gets_its_heads_in_whatever_order_they_are() -> None:
    model, _ = model_of("attention", "ctc")
    attention, ctc = model.heads
    assert choose_heads(CTCGreedy(), model.heads) is ctc
    assert choose_heads(AttentionBeam(AttentionBeamConfig()), model.heads) is attention
    assert choose_heads(JointBeam(JointBeamConfig()), model.heads) == (attention, ctc)
    with pytest.raises(ValueError, match="it searches the scores of a ctc head; the model has attention"):
        choose_heads(CTCGreedy(), [attention])


@pytest.mark.parametrize(
    ("epoch", "diagonality", "warns"), [(2, 0.0, False), (3, 0.49, True), (3, 0.5, False), (9, float("nan"), True)]
)
def test_attention_that_collapsed_is_said(epoch: int, diagonality: float, warns: bool) -> None:
    model, _ = model_of("attention")
    figures = model.heads[0].dev_figures({"diagonality": 2 * diagonality, "entropy": 1.8, "shown": 2.0})
    score = DevScore(ErrorCounts(), ErrorCounts(), {"attention": 1.0}, 1.0, (figures,), {})
    assert bool(score.remarks(epoch)) == warns
    assert score.logged()["dev/attention_entropy"] == 0.9
    assert "dev/blank_share" not in score.logged()
    assert model.heads[0].dev_figures({}).values == {}


def test_multiply_adds_count_a_decoder_once_a_token() -> None:
    model, _ = model_of("attention")
    head = model.heads[0]
    features, lengths = torch.zeros(1, 40, 20), torch.tensor([40])
    two, five = (multiply_adds(model, features, lengths, num_tokens=number) for number in (2, 5))
    cell = head.layers[0]
    matrices = [cell.input_weight, cell.recurrent_weight, head.attention.query.weight, head.readout.weight]
    each = sum(weight.numel() for weight in [*matrices, head.projection.weight])
    encodings = int(model.encoder.output_lengths(lengths))  # type: ignore[operator]
    places = head.attention.convolution.weight.numel() + head.attention.location.weight.numel()
    assert five - two == 3 * (each + places * encodings)


def test_words_of_a_decoder_are_where_it_looked(tmp_path: Path) -> None:
    model, tokenizer = model_of("attention")
    found = Hypothesis(tuple(tokenizer.encode("stop the")), (0, 1, 1, 2, 5, 6, 6, 7), -2.0, (-0.5,) * 8)

    class Looking(AttentionBeam):
        def __call__(self, *_: object) -> list[Hypothesis]:
            return [found]

    decoding = Looking(AttentionBeamConfig())
    recognizer = Recognizer(
        model=model, tokenizer=tokenizer, feature_config=FeatureConfig(num_mels=20), decoding=decoding
    )
    (heard,) = recognizer.recognize([torch.randn(40, 20)])
    assert [word.word for word in heard.words] == ["stop", "the"]
    assert all(word.confidence == pytest.approx(0.6065) for word in heard.words)  # e to the -0.5
    assert heard.words[0].start <= heard.words[0].end <= heard.words[1].start
