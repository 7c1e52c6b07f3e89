"""The head's contract: padding and neighbours change no utterance's loss; labels it cannot have are refused."""

import itertools
import math

import pytest
import torch

from asr.model.heads.ctc import CTCHead, CTCHeadConfig
from asr.model.heads.labels import LabelError
from asr.text import BLANK_ID, BOS_ID, NUM_SPECIAL, PAD_ID, UNKNOWN_ID

VOCABULARY_SIZE = NUM_SPECIAL + 3
A, B = NUM_SPECIAL, NUM_SPECIAL + 1


@pytest.fixture
def head() -> CTCHead:
    torch.manual_seed(0)
    return CTCHeadConfig().build(4, vocabulary_size=VOCABULARY_SIZE).double()


def test_log_probs_are_normalised_float32_even_from_bfloat16() -> None:
    head = CTCHead(4, vocabulary_size=VOCABULARY_SIZE).bfloat16()
    log_probs = head(torch.randn(2, 5, 4).bfloat16())
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(2, 5))


def test_a_batchs_losses_are_its_members_losses(head: CTCHead, generator) -> None:
    encodings = torch.randn(3, 9, 4, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 6])
    tokens = torch.tensor([[A, B, A], [B, PAD_ID, PAD_ID], [A, A, PAD_ID]])
    token_lengths = torch.tensor([3, 1, 2])
    together = head.loss(encodings, lengths, tokens, token_lengths)
    for row in range(3):
        alone = head.loss(
            encodings[row : row + 1, : lengths[row]],
            lengths[row : row + 1],
            tokens[row : row + 1, : token_lengths[row]],
            token_lengths[row : row + 1],
        )
        torch.testing.assert_close(alone[0], together[row])
    spoilt = encodings.clone()
    spoilt[1, 4:] = 100.0
    torch.testing.assert_close(head.loss(spoilt, lengths, tokens, token_lengths), together)


def test_the_loss_is_the_sum_over_all_alignments(head: CTCHead, generator) -> None:
    encodings = torch.randn(1, 4, 4, generator=generator, dtype=torch.float64)
    log_probs = head(encodings)[0].detach()
    total = 0.0
    for path in itertools.product(range(VOCABULARY_SIZE), repeat=4):
        merged = [label for label, _ in itertools.groupby(path)]
        if [label for label in merged if label != BLANK_ID] == [A, B]:
            total += math.exp(sum(float(log_probs[frame, label]) for frame, label in enumerate(path)))
    loss = head.loss(encodings, torch.tensor([4]), torch.tensor([[A, B]]), torch.tensor([2]))
    assert loss.item() == pytest.approx(-math.log(total), rel=1e-5)


@pytest.mark.parametrize("label", [BLANK_ID, PAD_ID, BOS_ID, VOCABULARY_SIZE, -1])
def test_a_label_the_head_cannot_have_is_refused_before_the_loss(head: CTCHead, label: int) -> None:
    tokens = torch.tensor([[A, B], [A, label]])
    with pytest.raises(LabelError, match=f"utterance 1 of the batch has label {label} at position 1"):
        head.loss(torch.zeros(2, 5, 4).double(), torch.tensor([5, 5]), tokens, torch.tensor([2, 2]))


def test_unknown_is_a_label_like_any_other(head: CTCHead) -> None:
    loss = head.loss(torch.zeros(1, 3, 4).double(), torch.tensor([3]), torch.tensor([[UNKNOWN_ID]]), torch.tensor([1]))
    assert loss.isfinite().all()


@pytest.mark.parametrize(("tokens", "frames"), [([], 0), ([A], 1), ([A, B], 2), ([A, A], 3), ([A, A, A, B], 6)])
def test_frames_needed_is_where_the_loss_becomes_finite(head: CTCHead, tokens: list[int], frames: int) -> None:
    assert head.frames_needed(tokens) == frames
    if not tokens:
        return

    def loss(num_frames: int) -> torch.Tensor:
        encodings = torch.zeros(1, max(1, num_frames), 4).double()
        return head.loss(encodings, torch.tensor([num_frames]), torch.tensor([tokens]), torch.tensor([len(tokens)]))

    assert loss(frames).isfinite().all()
    assert loss(frames - 1).isinf().all()
