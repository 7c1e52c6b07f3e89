"""Prefix beam search: greedy at a beam of 1, exact where nothing is left out, the same in every batch."""

import itertools

import pytest
import torch

from asr.config.reading import ConfigError, check_section
from asr.decoding.ctc_beam import CTCBeam, CTCBeamConfig
from asr.decoding.ctc_greedy import CTCGreedy
from asr.decoding.fusion import FusionConfig
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, BOS_ID, EOS_ID, PAD_ID, CharTokenizer

TOKENIZER = CharTokenizer("ab ")
SIZE = TOKENIZER.vocabulary_size


class GivenScores(CTCHead):
    """A head whose encodings are its log-probabilities already."""

    def __init__(self) -> None:
        super().__init__(1, vocabulary_size=SIZE)

    def forward(self, encodings: torch.Tensor) -> torch.Tensor:
        return encodings


class Bigrams:
    """A language model by a table of log-probabilities: row of the token before, column of the next."""

    def __init__(self, generator: torch.Generator) -> None:
        self.vocabulary_size = SIZE
        self.table = (2 * torch.randn(SIZE, SIZE, generator=generator)).log_softmax(-1)

    def start(self, num_rows: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(num_rows, dtype=torch.int64),)

    def step(self, tokens: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple]:
        return self.table[tokens], (state[0] + 1,)

    def score(self, tokens: tuple[int, ...]) -> float:
        return float(sum(self.table[pair] for pair in itertools.pairwise((BOS_ID, *tokens, EOS_ID))))


def some_scores(generator: torch.Generator, *shape: int, sharpness: float = 1.0) -> torch.Tensor:
    """Random ones of the labels that a head is trained on."""
    logits = sharpness * torch.randn(*shape, SIZE, generator=generator)
    logits[..., [PAD_ID, BOS_ID, EOS_ID]] = -1e4
    return logits.log_softmax(-1)


def exhaustive(scores: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The log-probability of every token sequence, summed over all paths."""
    sums: dict[tuple[int, ...], list[torch.Tensor]] = {}
    labels = [label for label in range(SIZE) if label not in (PAD_ID, BOS_ID, EOS_ID)]
    for path in itertools.product(labels, repeat=len(scores)):
        tokens = tuple(label for label, _ in itertools.groupby(path) if label != BLANK_ID)
        sums.setdefault(tokens, []).append(sum(scores[t, label].double() for t, label in enumerate(path)))
    return {tokens: float(torch.stack(values).logsumexp(0)) for tokens, values in sums.items()}


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_a_beam_of_one_is_greedy_decoding_with_its_score(generator, sharpness: float) -> None:
    scores = some_scores(generator, 20, 15, sharpness=sharpness)
    lengths = torch.randint(0, 16, (20,), generator=generator)
    greedy = CTCGreedy()(GivenScores(), scores, lengths)
    beam = CTCBeam(CTCBeamConfig(beam=1))(GivenScores(), scores, lengths)
    for one, other in zip(greedy, beam, strict=True):
        assert (one.tokens, one.frames) == (other.tokens, other.frames)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_a_beam_that_leaves_nothing_out_gives_the_posterior_of_every_transcript(generator) -> None:
    scores = some_scores(generator, 1, 4)
    expected = exhaustive(scores[0])
    (found,) = CTCBeam(CTCBeamConfig(beam=700)).search(GivenScores(), scores, torch.tensor([4]), num_best=700)
    assert {hypothesis.tokens for hypothesis in found} == expected.keys()
    assert all(hypothesis.score == pytest.approx(expected[hypothesis.tokens], abs=1e-5) for hypothesis in found)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


def test_with_a_language_model_it_is_the_best_weighted_sum(generator) -> None:
    model = Bigrams(generator)
    fusion = FusionConfig(weight=0.7, token_bonus=0.4, word_bonus=0.9)
    decode = CTCBeam(CTCBeamConfig(beam=700), fusion.build(TOKENIZER, model))
    for _ in range(3):
        scores = some_scores(generator, 1, 4)
        (found,) = decode.search(GivenScores(), scores, torch.tensor([4]), num_best=3)
        total = {
            tokens: score + 0.7 * model.score(tokens) + 0.4 * len(tokens) + 0.9 * len(TOKENIZER.decode(tokens).split())
            for tokens, score in exhaustive(scores[0]).items()
        }
        best = sorted(total, key=lambda tokens: -total[tokens])[:3]
        assert [item.tokens for item in found] == best
        assert [item.score for item in found] == pytest.approx([total[tokens] for tokens in best], abs=1e-4)


def test_a_wider_beam_loses_little_and_a_narrow_one_stays_below_the_truth(generator) -> None:
    scores = some_scores(generator, 30, 12, sharpness=2.0)
    lengths = torch.full((30,), 12)
    best = [CTCBeam(CTCBeamConfig(beam=width))(GivenScores(), scores, lengths) for width in (2, 8, 80)]
    for narrow, wide, exact in zip(*best, strict=True):
        assert narrow.score <= exact.score + 1e-9
        assert wide.score <= exact.score + 1e-9
    agreeing = sum(wide.tokens == exact.tokens for wide, exact in zip(best[1], best[2], strict=True))
    assert agreeing >= 24


def test_few_candidates_are_the_likeliest(generator) -> None:
    scores = some_scores(generator, 4, 10, sharpness=8.0)
    lengths = torch.full((4,), 10)
    whole, short = (
        CTCBeam(CTCBeamConfig(beam=8, num_candidates=number))(GivenScores(), scores, lengths) for number in (SIZE, 3)
    )
    assert [item.tokens for item in short] == [item.tokens for item in whole]
    assert [item.score for item in short] == pytest.approx([item.score for item in whole], abs=1e-3)


@pytest.mark.parametrize("with_model", [False, True])
def test_a_hypothesis_does_not_depend_on_what_shares_its_batch(generator, with_model: bool) -> None:
    scores = some_scores(generator, 5, 12)
    lengths = torch.tensor([12, 3, 7, 0, 1])
    fusion = FusionConfig(weight=1.0, hotwords=("ab",)) if with_model else FusionConfig()
    scorer = fusion.build(TOKENIZER, Bigrams(generator) if with_model else None)
    decode, head = CTCBeam(CTCBeamConfig(beam=4), scorer), GivenScores()
    together = decode.search(head, scores, lengths, num_best=4)
    for row, length in enumerate(lengths.tolist()):
        alone = decode.search(head, scores[row : row + 1, : max(1, length)], lengths[row : row + 1], num_best=4)
        assert alone == [together[row]]
    order = [3, 1, 4, 0, 2]
    assert decode.search(head, scores[order], lengths[order], num_best=4) == [together[row] for row in order]


def test_it_agrees_with_flashlight(generator) -> None:
    pytest.importorskip("flashlight.lib.text", reason="needs flashlight-text")
    from torchaudio.models.decoder import ctc_decoder

    scores = some_scores(generator, 8, 14, sharpness=3.0)
    lengths = torch.randint(1, 15, (8,), generator=generator)
    names = [f"token{number}" for number in range(SIZE)]
    reference = ctc_decoder(
        lexicon=None, tokens=names, lm=None, nbest=1, beam_size=100, beam_threshold=1e9, log_add=True,
        blank_token=names[BLANK_ID], sil_token=names[PAD_ID], unk_word=names[BOS_ID],
    )  # fmt: skip
    found = CTCBeam(CTCBeamConfig(beam=100))(GivenScores(), scores, lengths)
    for hypothesis, (theirs, *_) in zip(found, reference(scores, lengths), strict=True):
        assert list(hypothesis.tokens) == [token for token in theirs.tokens.tolist() if token != PAD_ID]
        assert hypothesis.score == pytest.approx(theirs.score, abs=0.05)  # it keeps blank and token paths apart


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam": 0}, "decoding: beam: found 0; input should be greater than or equal to 1"),
        ({"fusion": {"hotwords": ["ab"], "hotword_boost": 0.0}}, "hotword_boost: 0 with hotwords"),
    ],
)
def test_impossible_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_section(values, CTCBeamConfig, where="decoding")
