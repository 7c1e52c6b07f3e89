"""The decoding's contract: right against exhaustive search, and independent of what shares the batch."""

import itertools

import pytest
import torch

from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, NUM_SPECIAL

A, B = NUM_SPECIAL, NUM_SPECIAL + 1


class GivenScores(CTCHead):
    """A head whose encodings are its log-probabilities already."""

    def __init__(self) -> None:
        super().__init__(1, vocabulary_size=NUM_SPECIAL + 2)

    def forward(self, encodings: torch.Tensor) -> torch.Tensor:
        return encodings


def scores_of(labels: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), NUM_SPECIAL + 2).float().mul(9).log_softmax(-1)[None]


@pytest.mark.parametrize(
    ("labels", "tokens", "frames"),
    [
        ([A, A, BLANK_ID, A, B, B, BLANK_ID], (A, A, B), (0, 3, 4)),
        ([BLANK_ID, BLANK_ID], (), ()),
        ([B], (B,), (0,)),
        ([BLANK_ID, A, B, A], (A, B, A), (1, 2, 3)),
    ],
)
def test_repeats_merge_and_blanks_vanish(labels: list[int], tokens: tuple, frames: tuple) -> None:
    scores = scores_of(labels)
    (found,) = CTCGreedyConfig().build()(GivenScores(), scores, torch.tensor([len(labels)]))
    assert (found.tokens, found.frames) == (tokens, frames)
    assert found.score == pytest.approx(float(scores.max(-1).values.sum()))


def test_the_path_is_the_best_of_all_paths(generator) -> None:
    scores = torch.randn(1, 4, NUM_SPECIAL + 2, generator=generator).log_softmax(-1)
    paths = itertools.product(range(NUM_SPECIAL + 2), repeat=4)
    best = max(paths, key=lambda path: sum(scores[0, frame, label] for frame, label in enumerate(path)))
    merged = tuple(label for label, _ in itertools.groupby(best) if label != BLANK_ID)
    (found,) = CTCGreedyConfig().build()(GivenScores(), scores, torch.tensor([4]))
    assert found.tokens == merged


def test_a_hypothesis_does_not_depend_on_what_shares_its_batch(generator) -> None:
    scores = torch.randn(5, 12, NUM_SPECIAL + 2, generator=generator).log_softmax(-1)
    lengths = torch.tensor([12, 3, 7, 0, 1])
    decode, head = CTCGreedyConfig().build(), GivenScores()
    together = decode(head, scores, lengths)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = decode(head, scores[row : row + 1, :length] if length else scores[:1, :1], lengths[row : row + 1])
        assert alone == together[row]
    order = [3, 1, 4, 0, 2]
    assert decode(head, scores[order], lengths[order]) == [together[row] for row in order]
