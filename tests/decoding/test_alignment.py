"""Forced alignment: the path that exhaustive search finds, the words of every tokenizer, reaching over what is loud."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding.alignment import (
    LONGEST_DIP,
    LONGEST_REACH,
    WordSpan,
    align_tokens,
    reach_out,
    spell_words,
    word_places,
)
from asr.text import CharTokenizerConfig, SentencePieceTokenizerConfig, Tokenizer

TEXTS = ["turn the light on", "play some music", "stop it", "no"]


def random_scores(num_frames: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_frames, size, generator=generator).mul(2).log_softmax(dim=-1)


def paths_of(tokens: Sequence[int], num_frames: int, size: int) -> list[tuple[int, ...]]:
    """Every sequence of labels that CTC reads as these tokens."""
    return [
        path
        for path in itertools.product(range(size), repeat=num_frames)
        if [label for label, _ in itertools.groupby(path) if label] == list(tokens)
    ]


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 1, 2], [2, 1, 2, 1]])
def test_the_alignment_is_that_of_the_likeliest_path(tokens: list[int]) -> None:
    num_frames, size = 6, 3
    for seed in range(5):
        scores = random_scores(num_frames, size, seed)
        best = max(
            paths_of(tokens, num_frames, size),
            key=lambda path: float(scores[range(num_frames), path].sum()),
        )
        places = [(label, len(list(group))) for label, group in itertools.groupby(best)]
        starts = np.cumsum([0, *(length for _, length in places)]).tolist()
        expected = [(s, s + length) for (label, length), s in zip(places, starts) if label]
        spans = align_tokens(scores, tokens)
        assert [(span.start_encoding, span.end_encoding) for span in spans] == expected
        for span, token in zip(spans, tokens, strict=True):
            assert span.log_posterior == pytest.approx(
                float(scores[span.start_encoding : span.end_encoding, token].max())
            )


def test_tokens_that_do_not_fit_lie_evenly() -> None:
    spans = align_tokens(random_scores(4, 3, 0), [1, 1, 2, 2])  # needs two blanks more
    assert [(span.start_encoding, span.end_encoding) for span in spans] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert {span.log_posterior for span in spans} == {-np.inf}
    assert align_tokens(random_scores(4, 3, 0), []) == []


@functools.cache
def tokenizers() -> list[Tokenizer]:
    return [CharTokenizerConfig().train(TEXTS), SentencePieceTokenizerConfig(vocabulary_size=24).train(TEXTS)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1), st.lists(st.integers(0, 30), max_size=12))
def test_the_words_of_any_tokens_are_those_of_their_text(number: int, tokens: list[int]) -> None:
    tokenizer = tokenizers()[number]
    tokens = [1 + token % (tokenizer.vocabulary_size - 1) for token in tokens]  # no blank
    words = spell_words(tokens, align_tokens(random_scores(30, 30, 1), tokens), tokenizer, frames_per_encoding=4)
    assert [word.text for word in words] == tokenizer.decode(tokens).split()
    places = [place for places in word_places(tokens, tokenizer) for place in places]
    assert places == sorted(places)
    assert [word.start_frame for word in words] == sorted(word.start_frame for word in words)


def test_a_word_lasts_from_its_first_token_to_its_last() -> None:
    tokenizer = tokenizers()[0]
    tokens = tokenizer.encode("no stop")
    spans = align_tokens(random_scores(40, tokenizer.vocabulary_size, 3), tokens)
    no, stop = spell_words(tokens, spans, tokenizer, frames_per_encoding=4)
    assert (no.start_frame, no.end_frame) == (4 * spans[0].start_encoding, 4 * spans[1].end_encoding)
    assert (stop.start_frame, stop.end_frame) == (4 * spans[3].start_encoding, 4 * spans[6].end_encoding)
    assert no.posterior == pytest.approx(np.exp((spans[0].log_posterior + spans[1].log_posterior) / 2))


def loudness(*stretches: tuple[float, int]) -> torch.Tensor:
    """Features [frame, 3] of stretches of so loud frames."""
    return torch.tensor([float(value) for value, number in stretches for _ in range(number)])[:, None].expand(-1, 3)


def reached(spans: list[tuple[float, float]], features: torch.Tensor) -> list[tuple[float, float]]:
    words = [WordSpan("word", start, end, 0.5) for start, end in spans]
    return [(word.start_frame, word.end_frame) for word in reach_out(words, features)]


def test_a_word_reaches_over_what_is_loud() -> None:
    assert reached([(24, 28)], loudness((0, 20), (9, 30), (0, 20))) == [(20, 50)]


def test_a_word_bridges_a_dip_but_not_a_pause() -> None:
    short = loudness((0, 20), (9, 10), (0, LONGEST_DIP), (9, 10), (0, 20))
    assert reached([(22, 26)], short) == [(20, 40 + LONGEST_DIP)]
    assert reached([(34 + LONGEST_DIP, 36 + LONGEST_DIP)], short) == [(20, 40 + LONGEST_DIP)]
    long = loudness((0, 20), (9, 10), (0, LONGEST_DIP + 1), (9, 10), (0, 20))
    assert reached([(22, 26)], long) == [(20, 30)]


def test_two_words_meet_where_it_is_quietest() -> None:
    features = loudness((0, 20), (9, 15), (7, 1), (9, 14), (0, 20))
    assert reached([(24, 28), (44, 46)], features) == [(20, 35), (35, 50)]
    assert reached([(24, 36), (36, 40)], features) == [(20, 36), (36, 50)]


def test_a_word_reaches_no_further_than_it_may() -> None:
    features = loudness((0, 40), (9, 300), (0, 10))
    assert reached([(200, 204)], features) == [(200 - LONGEST_REACH, 204 + LONGEST_REACH)]


@settings(deadline=None)
@given(st.integers(1, 120), st.lists(st.integers(0, 130), max_size=8), st.integers(0, 9))
def test_words_stay_in_order_and_inside(num_frames: int, edges: list[int], seed: int) -> None:
    edges = sorted(min(edge, num_frames) for edge in edges)
    features = torch.randn(num_frames, 2, generator=torch.Generator().manual_seed(seed))
    words = reached(list(zip(edges[::2], edges[1::2])), features)
    flat = [edge for word in words for edge in word]
    assert flat == sorted(flat)
    assert all(0 <= edge <= num_frames for edge in flat)
