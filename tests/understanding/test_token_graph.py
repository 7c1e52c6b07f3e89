"""The searches with an attention decoder: against all transcripts there are, alone and with CTC and a scorer."""

import itertools
import math
from typing import NamedTuple

import pytest
import torch

from asr.decoding.attention_beam import AttentionBeam, AttentionBeamConfig
from asr.decoding.ctc_prefix import CTCPrefixScorer
from asr.decoding.joint_beam import JointBeam, JointBeamConfig
from asr.decoding.scorer import Scorer, ScorerState
from asr.model.heads.attention import AttentionHead
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, BOS_ID, EOS_ID, UNKNOWN_ID
from tests.model.heads.test_attention import ENCODING_SIZE, VOCABULARY_SIZE, A, B, C, build

POSSIBLE = (UNKNOWN_ID, A, B, C)
LENGTHS = torch.tensor([4, 2, 3])


class Heads(NamedTuple):
    attention: AttentionHead
    ctc: CTCHead


def heads(seed: int = 0) -> Heads:
    attention = build(seed=seed)
    torch.manual_seed(seed)
    ctc = CTCHead(ENCODING_SIZE, vocabulary_size=VOCABULARY_SIZE).double()
    return Heads(attention, ctc)


@pytest.fixture
def encodings(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 4, ENCODING_SIZE, generator=generator, dtype=torch.float64)


class Bigrams:
    """A scorer that remembers the last token; the state is the last one's number, so that a wrong row is found."""

    vocabulary_size = VOCABULARY_SIZE

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(9)
        self.table = torch.randn(VOCABULARY_SIZE, VOCABULARY_SIZE, generator=generator)

    def start(self, num_rows: int, device: torch.device) -> ScorerState:
        return (torch.zeros(num_rows, dtype=torch.int64, device=device),)

    def step(self, tokens: torch.Tensor, state: ScorerState) -> tuple[torch.Tensor, ScorerState]:
        return self.table[tokens] + 0.1 * state[0][:, None], (tokens,)


def scored(scorer: Bigrams, tokens: tuple[int, ...]) -> float:
    read, last, total = BOS_ID, 0, 0.0
    for token in (*tokens, EOS_ID):
        total += float(scorer.table[read, token]) + 0.1 * last
        read, last = token, read
    return total


def all_transcripts(max_tokens: int) -> list[tuple[int, ...]]:
    return [tokens for number in range(max_tokens + 1) for tokens in itertools.product(POSSIBLE, repeat=number)]


def log_probs_of(
    head: AttentionHead | CTCHead, encodings: torch.Tensor, transcripts: list[tuple[int, ...]]
) -> torch.Tensor:
    """Of every transcript, by the head's loss on all of them as one batch."""
    given = torch.nn.utils.rnn.pad_sequence([torch.tensor(each, dtype=torch.int64) for each in transcripts], True)
    lengths, number = torch.full((len(transcripts),), len(encodings)), torch.tensor([len(each) for each in transcripts])
    with torch.inference_mode():
        return -head.loss(encodings.expand(len(transcripts), -1, -1), lengths, given, number)


def assert_best(found: list, scores: torch.Tensor, transcripts: list[tuple[int, ...]]) -> None:
    best = scores.topk(3)
    assert [each.tokens for each in found] == [transcripts[index] for index in best.indices.tolist()]
    assert [each.score for each in found] == pytest.approx(best.values.tolist())


@pytest.mark.parametrize("normalization", [0.0, 1.0])
@pytest.mark.parametrize("with_scorer", [False, True])
def test_a_wide_attention_beam_finds_the_best_of_all_transcripts(
    encodings, normalization: float, with_scorer: bool
) -> None:
    head, scorer = heads().attention, Bigrams()
    config = AttentionBeamConfig(
        beam=80, length_normalization=normalization, max_tokens_per_encoding=0.75, end_threshold=None
    )
    found = AttentionBeam(config, scorer if with_scorer else None).search(head, encodings, LENGTHS, num_best=3)
    for row, length in enumerate(LENGTHS.tolist()):
        transcripts = all_transcripts(math.ceil(0.75 * length))
        totals = log_probs_of(head, encodings[row, :length], transcripts)
        if with_scorer:
            totals = totals + torch.tensor([scored(scorer, each) for each in transcripts])
        norms = torch.tensor([((5 + len(each) + 1) / 6) ** normalization for each in transcripts])
        assert_best(found[row], totals / norms, transcripts)


def test_a_wide_joint_beam_finds_the_best_of_all_transcripts(encodings) -> None:
    both, scorer = heads(), Bigrams()
    config = JointBeamConfig(beam=300, ctc_weight=0.4, trust_silence=False, end_threshold=None)
    found = JointBeam(config, scorer).search(both, encodings, LENGTHS, num_best=3)
    for row, length in enumerate(LENGTHS.tolist()):
        transcripts = all_transcripts(length)
        written, spelled = (log_probs_of(head, encodings[row, :length], transcripts) for head in both)
        added = torch.tensor([scored(scorer, each) for each in transcripts])
        assert_best(found[row], 0.4 * spelled + 0.6 * written + added, transcripts)


def test_prefix_probabilities_are_those_of_all_that_begins_so(generator) -> None:
    log_probs = torch.randn(2, 4, VOCABULARY_SIZE, generator=generator).double().log_softmax(-1)
    lengths = torch.tensor([4, 3])
    scorer = CTCPrefixScorer.of(log_probs, lengths)
    state, origin = scorer.start(2), torch.tensor([[1, 0], [0, 0]])
    prefixes: list[list[tuple[int, ...]]] = [[(), ()], [(), ()]]
    for tokens in ([[A, B], [C, UNKNOWN_ID]], [[A, A], [C, B]], [[B, B], [C, C]]):
        scores = scorer.score(state)
        for row, length in enumerate(lengths.tolist()):
            paths = list(itertools.product(range(VOCABULARY_SIZE), repeat=length))
            said = [tuple(label for label, _ in itertools.groupby(path) if label != BLANK_ID) for path in paths]
            chances = [math.exp(sum(float(log_probs[row, t, label]) for t, label in enumerate(path))) for path in paths]
            for place, prefix in enumerate(prefixes[row]):
                longer = (*prefix, A)
                expected = sum(p for each, p in zip(said, chances) if each[: len(longer)] == longer)
                assert float(scores[row, place, A].exp()) == pytest.approx(expected)
                exactly = sum(p for each, p in zip(said, chances) if each == prefix)
                assert float(scores[row, place, EOS_ID].exp()) == pytest.approx(exactly)
        chosen = torch.tensor(tokens)
        state = scorer.advance(state, origin, chosen)
        prefixes = [
            [(*prefixes[row][int(origin[row, place])], tokens[row][place]) for place in range(2)] for row in range(2)
        ]


@torch.inference_mode()
def greedy(head: AttentionHead, encodings: torch.Tensor, max_tokens: int) -> tuple[tuple[int, ...], float]:
    memory = head.attention.prepare(encodings[None], torch.tensor([len(encodings)]))
    state, token, tokens, score = head.start(memory), BOS_ID, [], 0.0
    while token != EOS_ID:
        log_probs, state = head.step(torch.tensor([token]), state, memory)
        token = int(log_probs[0].argmax()) if len(tokens) < max_tokens else EOS_ID
        score += float(log_probs[0, token])
        tokens.append(token)
    return tuple(tokens[:-1]), score


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy_and_ends_at_the_greatest_number_of_tokens(encodings, seed: int) -> None:
    head = heads(seed).attention
    with torch.no_grad():
        head.projection.bias[EOS_ID] -= seed  # the higher the seed, the less it wants to end
    found = AttentionBeam(AttentionBeamConfig(beam=1, length_normalization=0.0))(head, encodings, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        tokens, score = greedy(head, encodings[row, :length], length)
        assert found[row].tokens == tokens
        assert found[row].score == pytest.approx(score)
        assert len(found[row].frames) == len(tokens)
        assert all(each <= 0 for each in found[row].log_probs)
        assert sum(found[row].log_probs) >= score
        assert list(found[row].frames) == sorted(found[row].frames)


def decodings() -> list:
    return [
        AttentionBeam(AttentionBeamConfig(beam=1)),
        AttentionBeam(AttentionBeamConfig(beam=3, coverage=0.3), Bigrams()),
        JointBeam(JointBeamConfig(beam=3), Bigrams()),
        JointBeam(JointBeamConfig(beam=1, trust_silence=False)),
    ]


@pytest.mark.parametrize("decode", decodings(), ids=["greedy", "attention", "joint", "joint-greedy"])
def test_an_utterance_does_not_depend_on_what_shares_its_batch(decode, generator) -> None:
    both = heads()
    encodings = torch.randn(5, 12, ENCODING_SIZE, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([12, 3, 7, 0, 1])
    head = both if isinstance(decode, JointBeam) else both.attention
    together = decode.search(head, encodings, lengths, num_best=2)
    assert together[3][0].tokens == ()
    order = torch.tensor([3, 1, 4, 0, 2])
    spoilt = encodings.clone()
    spoilt[1, 3:] = torch.nan
    turned = decode.search(head, spoilt[order], lengths[order], num_best=2)
    for row, length in enumerate(lengths.tolist()):
        alone = decode.search(head, encodings[row : row + 1, :length], lengths[row : row + 1], num_best=2)[0]
        for other in (alone, turned[order.tolist().index(row)]):
            assert [(each.tokens, each.frames) for each in other] == [
                (each.tokens, each.frames) for each in together[row]
            ]
            assert [each.score for each in other] == pytest.approx([each.score for each in together[row]])


def test_a_wider_beam_never_finds_less(generator) -> None:
    both = heads()
    encodings = torch.randn(6, 10, ENCODING_SIZE, generator=generator, dtype=torch.float64)
    lengths = torch.full((6,), 10)
    configs = [JointBeamConfig(beam=beam, trust_silence=False, end_threshold=None) for beam in (1, 4, 32)]
    scores = [[best.score for best in JointBeam(config)(both, encodings, lengths)] for config in configs]
    assert all(narrow <= wide + 1e-9 for narrow, wide in zip(scores[0], scores[2]))
    assert sum(scores[1]) <= sum(scores[2]) + 1e-9


def test_where_ctc_hears_nothing_a_joint_transcript_is_empty(encodings) -> None:
    both = heads()
    with torch.no_grad():
        both.attention.projection.bias[EOS_ID] = -50.0  # on its own it never ends
        both.ctc.projection.weight.zero_()
        both.ctc.projection.bias.zero_()
        both.ctc.projection.bias[BLANK_ID] = 0.1
    trusting, inventing = (JointBeam(JointBeamConfig(beam=2, trust_silence=trust)) for trust in (True, False))
    assert [found.tokens for found in trusting(both, encodings, LENGTHS)] == [(), (), ()]
    assert all(found.tokens for found in inventing(both, encodings, LENGTHS))


def test_coverage_prefers_what_looks_at_more(encodings) -> None:
    head = heads().attention
    anywhere = AttentionBeamConfig(beam=20, end_threshold=None)
    plain = AttentionBeam(anywhere).search(head, encodings, LENGTHS, num_best=20)
    covering = AttentionBeam(anywhere.model_copy(update={"coverage": 20.0}))(head, encodings, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        transcripts = [covering[row].tokens, *(each.tokens for each in plain[row])]
        given = torch.nn.utils.rnn.pad_sequence([torch.tensor(each, dtype=torch.int64) for each in transcripts], True)
        lengths, number = torch.full((len(given),), length), torch.tensor([len(each) for each in transcripts])
        weights = head(encodings[row, :length].expand(len(given), -1, -1), lengths, given, number).weights[:, 0]
        spoken = torch.arange(weights.shape[1])[None, :, None] <= number[:, None, None]
        seen = ((weights * spoken).sum(dim=1) > 0.5).sum(dim=1)
        assert seen[0] == seen.max()


@pytest.mark.parametrize("threshold", [1.0, 1.5, 4.0])
def test_a_transcript_ends_where_the_decoder_wants_it_to(encodings, threshold: float) -> None:
    both = heads()
    config = AttentionBeamConfig(
        beam=80, length_normalization=0.0, max_tokens_per_encoding=0.75, end_threshold=threshold
    )
    found = AttentionBeam(config).search(both.attention, encodings, LENGTHS, num_best=80)
    number_ended = 0
    for row, length in enumerate(LENGTHS.tolist()):
        most = math.ceil(0.75 * length)
        transcripts = all_transcripts(most)
        totals = log_probs_of(both.attention, encodings[row, :length], transcripts)
        allowed = torch.tensor(
            [
                len(each) == most or wants_to_end(both.attention, encodings[row, :length], each, threshold)
                for each in transcripts
            ]
        )
        number_ended += int(allowed.sum())
        best = totals.masked_fill(~allowed, -math.inf).argmax()
        assert found[row][0].tokens == transcripts[int(best)]
        assert {each.tokens for each in found[row]} <= {t for t, may in zip(transcripts, allowed) if may}
    assert number_ended


@torch.inference_mode()
def wants_to_end(head: AttentionHead, encodings: torch.Tensor, tokens: tuple[int, ...], threshold: float) -> bool:
    memory = head.attention.prepare(encodings[None], torch.tensor([len(encodings)]))
    state = head.start(memory)
    for token in (BOS_ID, *tokens):
        log_probs, state = head.step(torch.tensor([token]), state, memory)
    end = float(log_probs[0, EOS_ID])
    log_probs[0, EOS_ID] = -math.inf
    return end >= threshold * float(log_probs[0].max())


def test_the_scorers_of_these_tests_are_scorers() -> None:
    assert isinstance(Bigrams(), Scorer)


@pytest.mark.parametrize("config", [AttentionBeamConfig, JointBeamConfig])
def test_a_beam_of_nothing_is_refused(config: type) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        config(beam=0)
