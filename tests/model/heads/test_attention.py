"""The attention decoder: its equations, its options, and what its attention looks like."""

import itertools
from typing import get_args

import pytest
import torch

from asr.model.cells import CellConfig
from asr.model.cells.lstm import LSTMConfig
from asr.model.heads.attention import AttentionHead, AttentionHeadConfig, GuidedAttentionConfig
from asr.model.heads.attention_shape import diagonality, entropy, off_diagonal
from asr.model.heads.labels import LabelError
from asr.model.heads.mechanisms import (
    Attention,
    ContentAttentionConfig,
    DotProductAttentionConfig,
    LocationAttentionConfig,
)
from asr.text import BLANK_ID, BOS_ID, EOS_ID, NUM_SPECIAL, PAD_ID

VOCABULARY_SIZE = NUM_SPECIAL + 3
A, B, C = range(NUM_SPECIAL, VOCABULARY_SIZE)
ENCODING_SIZE = 8

ATTENTIONS = [
    ContentAttentionConfig(attention_size=6),
    ContentAttentionConfig(attention_size=6, num_heads=2),
    LocationAttentionConfig(attention_size=6, num_filters=2, kernel_size=3, sharpening=2.0, window=2),
    LocationAttentionConfig(attention_size=8, num_filters=2, kernel_size=5, num_heads=4),
    DotProductAttentionConfig(attention_size=6, num_heads=2),
]
CELLS = [member() for member in get_args(get_args(CellConfig)[0]) if member().kind != "conv_lstm"]
TOKENS = torch.tensor([[A, B, A, C], [B, PAD_ID, PAD_ID, PAD_ID], [PAD_ID] * 4])
TOKEN_LENGTHS = torch.tensor([4, 1, 0])
LENGTHS = torch.tensor([9, 4, 6])


def build(*, seed: int = 0, **options: object) -> AttentionHead:
    """A small decoder with weights large enough that everything matters."""
    torch.manual_seed(seed)
    values = {"embedding_size": 5, "cell": LSTMConfig(hidden_size=7), "dropout": 0.0, **options}
    head = AttentionHeadConfig(**values).build(ENCODING_SIZE, vocabulary_size=VOCABULARY_SIZE)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return head.double().eval()


@pytest.fixture
def encodings(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 9, ENCODING_SIZE, generator=generator, dtype=torch.float64)


def members() -> list:
    """Every attention and every cell, with and without input feeding."""
    first, *others = CELLS
    heads = [{"attention": attention, "input_feeding": fed} for attention in ATTENTIONS for fed in (True, False)]
    heads += [{"cell": cell.model_copy(update={"hidden_size": 7, "projection_size": 4})} for cell in (first, *others)]
    return [*heads, {"num_layers": 2}]


@pytest.mark.parametrize("options", members(), ids=str)
def test_a_batchs_losses_are_its_members_losses_and_padding_changes_nothing(options: dict, encodings) -> None:
    head = build(**options)
    together = head.loss(encodings, LENGTHS, TOKENS, TOKEN_LENGTHS)
    for row, (length, number) in enumerate(zip(LENGTHS.tolist(), TOKEN_LENGTHS.tolist(), strict=True)):
        one = slice(row, row + 1)
        alone = head.loss(encodings[one, :length], LENGTHS[one], TOKENS[one, :number], TOKEN_LENGTHS[one])
        torch.testing.assert_close(alone[0], together[row])
    spoilt, garbage = encodings.clone(), TOKENS.clone()
    spoilt[1, 4:], garbage[1, 1:] = torch.nan, A
    torch.testing.assert_close(head.loss(spoilt, LENGTHS, garbage, TOKEN_LENGTHS), together)


@pytest.mark.parametrize("options", members(), ids=str)
def test_a_step_at_a_time_is_the_given_transcript_at_once(options: dict, encodings) -> None:
    head = build(**options)
    with torch.inference_mode():
        forced = head(encodings, LENGTHS, TOKENS, TOKEN_LENGTHS)
        memory = head.attention.prepare(encodings, LENGTHS)
        state, read = head.start(memory), torch.full((3,), BOS_ID)
        for step in range(5):
            log_probs, state = head.step(read, state, memory)
            rows = step <= TOKEN_LENGTHS
            torch.testing.assert_close(log_probs[rows], forced.log_probs[rows, step])
            torch.testing.assert_close(state.weights[rows], forced.weights[rows, :, step])
            read = TOKENS[:, min(step, 3)]


def test_the_loss_is_that_of_the_tokens_and_the_end(encodings) -> None:
    head = build()
    log_probs = head(encodings, LENGTHS, TOKENS, TOKEN_LENGTHS).log_probs
    expected = -sum(log_probs[0, step, label] for step, label in enumerate([A, B, A, C, EOS_ID]))
    losses = head.loss(encodings, LENGTHS, TOKENS, TOKEN_LENGTHS)
    torch.testing.assert_close(losses[0], expected)
    torch.testing.assert_close(losses[2], -log_probs[2, 0, EOS_ID])
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(3, 5, dtype=torch.float64))
    assert (log_probs[:, :, [BLANK_ID, PAD_ID, BOS_ID]] == -torch.inf).all()


def test_probabilities_of_all_transcripts_sum_to_one(encodings) -> None:
    """Of up to one token, and of all that go on after two."""
    head, possible = build(), [2, A, B, C]
    pairs = torch.tensor(list(itertools.product(possible, repeat=2)))
    number = torch.full((len(pairs),), 2)
    with torch.inference_mode():
        steps = head(encodings[:1].expand(16, -1, -1), LENGTHS[:1].expand(16), pairs, number).log_probs.exp()
    first, second = (steps[:, place].gather(1, pairs[:, place, None])[:, 0] for place in range(2))
    ended = steps[0, 0, EOS_ID] + (first * steps[:, 1, EOS_ID])[::4].sum()
    assert float(ended + (first * second).sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("label", [BLANK_ID, PAD_ID, BOS_ID, EOS_ID, VOCABULARY_SIZE, -1])
def test_a_label_the_head_cannot_have_is_refused(encodings, label: int) -> None:
    tokens = torch.tensor([[A, B], [A, label], [A, A]])
    with pytest.raises(LabelError, match=f"attention head: utterance 1 of the batch has label {label} at position 1"):
        build().loss(encodings, LENGTHS, tokens, torch.tensor([2, 2, 2]))


def test_gradients_reach_everything_and_are_right(encodings) -> None:
    head = build(attention=ATTENTIONS[2], guided_attention=GuidedAttentionConfig(), label_smoothing=0.1).train()
    head.loss(encodings, LENGTHS, TOKENS, TOKEN_LENGTHS).sum().backward()
    missing = [name for name, value in head.named_parameters() if value.requires_grad and value.grad is None]
    assert missing == []
    assert all(value.grad.isfinite().all() for value in head.parameters() if value.grad is not None)
    inputs = encodings[:2, :5].clone().requires_grad_()
    lengths = torch.tensor([5, 3])
    assert torch.autograd.gradcheck(
        lambda x: head.loss(x, lengths, TOKENS[:2, :2], torch.tensor([2, 1])), inputs, fast_mode=True
    )


def test_smoothing_spreads_over_what_can_follow(encodings) -> None:
    plain, smooth = build(label_smoothing=0.0).train(), build(label_smoothing=0.3).train()
    arguments = encodings, LENGTHS, TOKENS, TOKEN_LENGTHS
    log_probs = plain(*arguments).log_probs[1, :2]
    possible = log_probs[:, [2, EOS_ID, A, B, C]]
    expected = 0.7 * plain.loss(*arguments)[1] - 0.3 * possible.mean(dim=1).sum()
    torch.testing.assert_close(smooth.loss(*arguments)[1], expected)
    torch.testing.assert_close(smooth.eval().loss(*arguments), plain.eval().loss(*arguments))


def test_scheduled_sampling_reads_guesses_in_training_only(encodings) -> None:
    plain, sampled = build(), build(scheduled_sampling=0.9)
    arguments = encodings, LENGTHS, TOKENS, TOKEN_LENGTHS
    torch.testing.assert_close(sampled.loss(*arguments), plain.loss(*arguments))
    torch.manual_seed(5)
    first = sampled.train().loss(*arguments)
    torch.manual_seed(5)
    torch.testing.assert_close(sampled.loss(*arguments), first)
    assert not torch.allclose(sampled.loss(*arguments), first)


def test_guided_attention_costs_what_lies_off_the_diagonal(encodings) -> None:
    guided = build(guided_attention=GuidedAttentionConfig(weight=3.0, width=0.2), label_smoothing=0.0).train()
    arguments = encodings, LENGTHS, TOKENS, TOKEN_LENGTHS
    weights = guided(*arguments).weights[1, 0, :2, :4]
    distance = torch.tensor([[step / 2 - frame / 4 for frame in range(4)] for step in range(2)], dtype=torch.float64)
    penalty = (weights * (1 - torch.exp(-(distance**2) / (2 * 0.2**2)))).sum()
    torch.testing.assert_close(guided.loss(*arguments)[1] - build().loss(*arguments)[1], 3.0 * penalty)


def attend(attention: Attention, encodings: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    memory = attention.prepare(encodings, torch.full((len(encodings),), encodings.shape[1]))
    return attention(torch.ones(len(before), 4, dtype=torch.float64), before, memory)[1]


def test_content_attention_is_bahdanaus(encodings) -> None:
    attention = ContentAttentionConfig(attention_size=6).build(encoding_size=ENCODING_SIZE, query_size=4).double()
    query = torch.ones(4, dtype=torch.float64)
    energies = [
        attention.energy[0, :, 0] @ torch.tanh(attention.query(query) + attention.key(encoding))
        for encoding in encodings[0]
    ]
    expected = torch.stack(energies).softmax(dim=0)
    found = attend(attention, encodings, torch.zeros(3, 1, 9, dtype=torch.float64))
    torch.testing.assert_close(found[0, 0], expected)


def test_sharpening_and_a_window_narrow_where_it_looks(encodings) -> None:
    options = {"attention_size": 6, "num_filters": 2, "kernel_size": 3}
    plain = LocationAttentionConfig(**options).build(encoding_size=ENCODING_SIZE, query_size=4).double().eval()
    sharp = LocationAttentionConfig(**options, sharpening=4.0, window=2)
    sharp = sharp.build(encoding_size=ENCODING_SIZE, query_size=4).double().eval()
    sharp.load_state_dict(plain.state_dict())
    before = torch.zeros(3, 1, 9, dtype=torch.float64)
    free = attend(plain, encodings, before)
    torch.testing.assert_close(attend(sharp, encodings, before), (free.log() * 4.0).softmax(dim=-1))
    before[:, :, 6] = 1.0
    near = attend(sharp, encodings, before)
    assert (near[:, :, :4] == 0).all()
    assert (near[:, :, 4:] > 0).all()
    assert (attend(sharp.train(), encodings, before) > 0).all()


def test_without_any_frame_there_is_nothing_to_see() -> None:
    head = build()
    losses = head.loss(torch.zeros(1, 1, ENCODING_SIZE).double(), torch.tensor([0]), TOKENS[:1], TOKEN_LENGTHS[:1])
    assert losses.isfinite().all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_log_probs_are_float32_under_autocast(precision: torch.dtype) -> None:
    head = build().float()
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        forced = head(torch.randn(3, 9, ENCODING_SIZE), LENGTHS, TOKENS, TOKEN_LENGTHS)
    assert forced.log_probs.dtype == forced.weights.dtype == torch.float32


def test_a_straight_map_is_diagonal_and_a_collapsed_one_is_not() -> None:
    straight, collapsed, level = torch.eye(6), torch.zeros(6, 6), torch.full((6, 6), 1 / 6)
    collapsed[:, 2] = 1.0
    maps = torch.stack([straight, straight.flip(1), collapsed, level])
    lengths = torch.full((4,), 6)
    torch.testing.assert_close(diagonality(maps, lengths), torch.tensor([1.0, -1.0, 0.0, 0.0]).double())
    torch.testing.assert_close(entropy(maps, lengths, lengths), torch.tensor([0.0, 0.0, 0.0, 1.0]).double())
    padded = torch.nn.functional.pad(maps, (0, 3, 0, 2))
    torch.testing.assert_close(diagonality(padded, lengths), diagonality(maps, lengths))
    torch.testing.assert_close(entropy(padded, lengths, lengths), entropy(maps, lengths, lengths))
    assert diagonality(maps, torch.tensor([1, 2, 2, 2]))[0].isnan()
    assert off_diagonal(lengths, lengths, num_steps=6, num_frames=6, width=0.3)[0].diagonal().sum() == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda: ContentAttentionConfig(attention_size=7, num_heads=2), "7 is no multiple of the 2 heads; choose 6"),
        (lambda: LocationAttentionConfig(kernel_size=4), "4 is even and has no middle; choose 3 or 5"),
        (lambda: AttentionHeadConfig(cell={"kind": "conv_lstm"}), "'conv_lstm' convolves over the frequency bands"),
        (
            lambda: DotProductAttentionConfig(num_heads=3, attention_size=6).build(encoding_size=8, query_size=4),
            "3 heads do not divide the 8 values of an encoding",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(fault, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault()
