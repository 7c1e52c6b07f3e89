"""Intervals of error rates: against theory, and on the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.evaluation.intervals import Interval, bootstrap_interval
from asr.metrics import ErrorCounts, MetricsError, count_word_errors

counts_lists = st.lists(st.builds(ErrorCounts, *[st.integers(0, 5)] * 4), min_size=1, max_size=12)


@given(counts_lists, st.integers(0, 2**32))
def test_the_interval_is_a_pure_function_of_its_generator(counts: list[ErrorCounts], seed: int) -> None:
    first = bootstrap_interval(counts, generator=np.random.default_rng(seed), num_resamples=50)
    assert first == bootstrap_interval(counts, generator=np.random.default_rng(seed), num_resamples=50)
    assert 0 <= first.low <= first.high


def test_equal_utterances_have_an_interval_of_no_width() -> None:
    interval = bootstrap_interval([ErrorCounts(3, 1)] * 20, generator=np.random.default_rng(0))
    assert interval == Interval(0.25, 0.25)


def test_the_interval_has_the_width_theory_gives() -> None:
    # 1,000 one-word utterances, 200 wrong: a binomial proportion, 95 % within 1.96 * sqrt(0.2 * 0.8 / 1000).
    counts = [ErrorCounts(substitutions=1)] * 200 + [ErrorCounts(hits=1)] * 800
    interval = bootstrap_interval(counts, generator=np.random.default_rng(1), num_resamples=4000)
    half_width = 1.96 * math.sqrt(0.2 * 0.8 / 1000)
    assert interval.low == pytest.approx(0.2 - half_width, abs=0.003)
    assert interval.high == pytest.approx(0.2 + half_width, abs=0.003)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        wrong = generator.random(120) < 0.3
        counts = [ErrorCounts(substitutions=1) if is_wrong else ErrorCounts(hits=1) for is_wrong in wrong]
        interval = bootstrap_interval(counts, generator=generator, num_resamples=300, level=0.8)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.73 < covered / 300 < 0.88


def test_blocks_of_draws_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_word_errors(["a b", "a", "a b c"], ["a", "b", "a b c d"])
    whole = bootstrap_interval(counts, generator=np.random.default_rng(3))
    monkeypatch.setattr("asr.evaluation.intervals._BLOCK_DRAWS", 10)
    assert bootstrap_interval(counts, generator=np.random.default_rng(3)) == whole


def test_an_interval_over_empty_references_is_infinite_not_a_crash() -> None:
    counts = [ErrorCounts(insertions=1)] * 3
    assert bootstrap_interval(counts, generator=np.random.default_rng(0)) == Interval(math.inf, math.inf)


def test_impossible_intervals_are_refused() -> None:
    with pytest.raises(MetricsError, match="no utterances"):
        bootstrap_interval([], generator=np.random.default_rng(0))
    with pytest.raises(MetricsError, match=r"level 1.5 and num_resamples 1000"):
        bootstrap_interval([ErrorCounts()], generator=np.random.default_rng(0), level=1.5)
    with pytest.raises(MetricsError, match="num_resamples 0"):
        bootstrap_interval([ErrorCounts()], generator=np.random.default_rng(0), num_resamples=0)
