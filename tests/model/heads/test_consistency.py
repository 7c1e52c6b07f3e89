"""Two views of each utterance that learn to agree, and losses of the encoder's lower layers: CTC's regularisations."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from asr.config.reading import ConfigError
from asr.config.recognizer import load_config
from asr.model.acoustic import Model
from asr.model.cells.lstm import LSTMConfig
from asr.model.encoders.pyramid import PyramidEncoderConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads.ctc import CTCHead, CTCHeadConfig
from asr.model.layers.subsampling import ConvSubsamplingConfig
from asr.recognizer import Recognizer
from asr.text import NUM_SPECIAL
from asr.train import main as train

VOCABULARY_SIZE = NUM_SPECIAL + 3
A, B = NUM_SPECIAL, NUM_SPECIAL + 1
ENCODER = RecurrentEncoderConfig(
    subsampling=ConvSubsamplingConfig(factor=2, num_channels=2, output_size=6),
    cell=LSTMConfig(hidden_size=3),
    num_layers=3,
    dropout=0.0,
)


@pytest.fixture
def head() -> CTCHead:
    torch.manual_seed(0)
    return CTCHeadConfig(consistency_weight=0.2).build(4, vocabulary_size=VOCABULARY_SIZE)


def model_with(config: CTCHeadConfig) -> Model:
    torch.manual_seed(0)
    return Model(num_mels=8, encoder=ENCODER, heads=(config,), vocabulary_size=VOCABULARY_SIZE)


@pytest.fixture
def batch(generator) -> tuple[torch.Tensor, ...]:
    """Two views of two utterances."""
    features = torch.randn(4, 24, 8, generator=generator)
    lengths = torch.tensor([24, 15, 24, 15])
    tokens = torch.tensor([[A, B, A], [B, 0, 0], [A, B, A], [B, 0, 0]])
    return features, lengths, tokens, torch.tensor([3, 1, 3, 1])


def test_the_disagreement_is_the_divergence_from_the_other_view(head: CTCHead, generator) -> None:
    encodings, lengths = torch.randn(4, 6, 4, generator=generator), torch.tensor([6, 3, 6, 3])
    log_probs = head(encodings).detach().double()
    for row, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        own, theirs = log_probs[row, : lengths[row]], log_probs[other, : lengths[row]]
        expected = 0.2 * (theirs.exp() * (theirs - own)).sum()
        assert head.disagreement(encodings, lengths)[row].item() == pytest.approx(float(expected), rel=1e-4)


def test_padding_and_neighbours_change_no_disagreement(head: CTCHead, generator) -> None:
    encodings, lengths = torch.randn(4, 6, 4, generator=generator), torch.tensor([6, 3, 6, 3])
    together = head.disagreement(encodings, lengths)
    spoilt = encodings.clone()
    spoilt[[1, 3], 3:] = torch.tensor([100.0, -50.0])[:, None, None]
    assert torch.equal(head.disagreement(spoilt, lengths), together)
    alone = head.disagreement(encodings[[1, 3], :3], lengths[[1, 3]])
    torch.testing.assert_close(alone, together[[1, 3]])


def test_views_that_agree_have_none(head: CTCHead, generator) -> None:
    encodings = torch.randn(2, 6, 4, generator=generator).repeat(2, 1, 1)
    torch.testing.assert_close(head.disagreement(encodings, torch.tensor([6, 6, 6, 6])), torch.zeros(4))


def test_the_gradient_pulls_to_the_other_view_and_not_through_it(head: CTCHead, generator) -> None:
    """By the scores before the softmax it is the weight times (own - other): the other counts as a constant."""
    logits = torch.randn(2, 5, VOCABULARY_SIZE, generator=generator, requires_grad=True)
    head.projection = torch.nn.Identity()  # type: ignore[assignment]
    head.disagreement(logits, torch.tensor([5, 5])).sum().backward()
    own = functional.softmax(logits.detach(), dim=-1)
    torch.testing.assert_close(logits.grad, 0.2 * (own - own.flip(0)), rtol=1e-4, atol=1e-6)


def test_a_models_loss_is_ctc_with_the_disagreement(batch: tuple[torch.Tensor, ...]) -> None:
    model = model_with(CTCHeadConfig(consistency_weight=0.2))
    assert model.num_views == 2
    encodings, lengths = model.encode(*batch[:2])
    head = model.heads[0]
    expected = head.loss(encodings, lengths, *batch[2:]) + head.disagreement(encodings, lengths)
    assert torch.equal(model(*batch, 2)[0], expected)
    assert head.disagreement(encodings, lengths).min() > 0


def test_without_a_weight_it_is_plain_ctc_bit_for_bit(batch: tuple[torch.Tensor, ...]) -> None:
    plain, weightless = model_with(CTCHeadConfig()), model_with(CTCHeadConfig(consistency_weight=0.0))
    assert weightless.num_views == 1
    assert torch.equal(plain(*batch), weightless(*batch))
    assert torch.equal(plain(*batch), weightless(*batch, 2))


def test_a_lower_layers_loss_is_by_the_same_projection(batch: tuple[torch.Tensor, ...]) -> None:
    model = model_with(CTCHeadConfig(intermediate_layers=(2, 1), intermediate_share=0.25))
    encodings, lengths, below = model.encoder.encode(*batch[:2], intermediate=[1, 2])
    assert torch.equal(encodings, model.encode(*batch[:2])[0])
    head = model.heads[0]
    losses = [head.loss(each, lengths, *batch[2:]) for each in (encodings, below[1], below[2])]
    expected = 0.75 * losses[0] + 0.125 * (losses[1] + losses[2])
    torch.testing.assert_close(model(*batch)[0], expected)
    assert model.num_parameters == model_with(CTCHeadConfig()).num_parameters
    both = model_with(CTCHeadConfig(intermediate_layers=(1, 2), intermediate_share=0.25, consistency_weight=0.2))
    torch.testing.assert_close(both(*batch, 2)[0], expected + both.heads[0].disagreement(encodings, lengths))


def test_padding_changes_no_loss_of_a_lower_layer(batch: tuple[torch.Tensor, ...]) -> None:
    model = model_with(CTCHeadConfig(intermediate_layers=(1,), consistency_weight=0.2))
    features, lengths, tokens, token_lengths = batch
    rows = [1, 3]
    alone = model(features[rows, :15], lengths[rows], tokens[rows, :1], token_lengths[rows], 2)
    torch.testing.assert_close(alone[0], model(*batch, 2)[0, rows])


def test_the_gradient_is_the_sum_of_those_of_each_part(batch: tuple[torch.Tensor, ...]) -> None:
    """Of every parameter: CTC at the top and below, each by its share, and the disagreement at the top."""
    config = CTCHeadConfig(intermediate_layers=(1,), intermediate_share=0.25, consistency_weight=0.2)
    model = model_with(config)
    model(*batch, 2).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model = model_with(config)
    head, (encodings, lengths, below) = model.heads[0], model.encoder.encode(*batch[:2], intermediate=[1])
    (0.75 * head.loss(encodings, lengths, *batch[2:])).sum().backward(retain_graph=True)
    (0.25 * head.loss(below[1], lengths, *batch[2:])).sum().backward(retain_graph=True)
    head.disagreement(encodings, lengths).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "layers", "message"),
    [
        (
            "{kind: recurrent, num_layers: 3}",
            "[3]",
            r"heads\.0\.intermediate_layers: \[3\]; expected layers from 1 to 2, those below",
        ),
        (
            "{kind: recurrent, num_layers: 3}",
            "[0, 1]",
            r"heads\.0\.intermediate_layers: \[0, 1\]; expected layers from 1 to 2, those below",
        ),
        ("{kind: recurrent, num_layers: 1}", "[1]", "expected none, as this encoder gives no layer below its last"),
        ("{kind: pyramid}", "[1]", "expected none, as this encoder gives no layer below its last"),
    ],
)
def test_layers_that_are_not_inside_the_encoder_are_refused(
    tone_config: Path, encoder: str, layers: str, message: str
) -> None:
    words = [f"encoder={encoder}", f"heads=[{{kind: ctc, intermediate_layers: {layers}}}]"]
    with pytest.raises(ConfigError, match=message):
        load_config(tone_config, words)


def test_a_model_refuses_them_too() -> None:
    with pytest.raises(ValueError, match="expected none, as this encoder gives no layer below its last"):
        Model(
            num_mels=8,
            encoder=PyramidEncoderConfig(),
            heads=(CTCHeadConfig(intermediate_layers=(1,)),),
            vocabulary_size=VOCABULARY_SIZE,
        )


BOTH = "heads=[{kind: ctc, consistency_weight: 0.2, intermediate_layers: [1]}]"


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_a_training_with_both_learns_and_is_the_same_with_workers(
    tone_config: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    words = ["encoder.num_layers=2", "augment=[{kind: speed}, {kind: silence}, {kind: spec_augment}]"]
    for name, workers in (("alone", 0), ("workers", 2)):
        run = [f"run_dir={tmp_path / name}", f"data.num_workers={workers}"]
        assert train([str(tone_config), BOTH, *words, *run]) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "workers")]
    assert weights[0] == weights[1]
    found = losses(tmp_path / "alone")
    assert found[-1] < 0.7 * found[0]
    recognizer = Recognizer.load(tmp_path / "alone")
    assert isinstance(recognizer.transcribe(next((tone_corpus / "dev").iterdir())).text, str)
