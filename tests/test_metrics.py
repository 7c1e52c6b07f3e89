"""Error counts, rates, intervals: against torchaudio, against arithmetic, and on the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.functional import edit_distance

from asr.metrics import (
    Confusion,
    ErrorCounts,
    GroupScore,
    Interval,
    MetricsError,
    Operation,
    align,
    align_words,
    bootstrap_interval,
    count_character_errors,
    count_operations,
    count_word_errors,
    most_confused,
    score_group,
    score_groups,
    total,
)

transcripts = st.lists(st.sampled_from(["on", "off", "lamp", "light"]), max_size=7).map(" ".join)
pairs = st.lists(st.tuples(transcripts, transcripts), max_size=5)
counts_lists = st.lists(st.builds(ErrorCounts, *[st.integers(0, 5)] * 4), min_size=1, max_size=12)


@given(pairs)
def test_word_edits_agree_with_torchaudio(pairs: list[tuple[str, str]]) -> None:
    counts = count_word_errors([reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs])
    assert [count.errors for count in counts] == [edit_distance(r.split(), h.split()) for r, h in pairs]
    assert [count.reference_length for count in counts] == [len(r.split()) for r, _ in pairs]
    assert [count.hits + count.substitutions + count.insertions for count in counts] == [
        len(h.split()) for _, h in pairs
    ]


@given(st.text("ab ", max_size=9), st.text("ab ", max_size=9))
def test_character_edits_agree_with_torchaudio(reference: str, hypothesis: str) -> None:
    (count,) = count_character_errors([reference], [hypothesis])
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    assert count.errors == edit_distance(reference, hypothesis)
    assert count.reference_length == len(reference)


@given(transcripts, transcripts)
def test_an_alignment_reads_back_as_both_sides(reference: str, hypothesis: str) -> None:
    operations = align(reference, hypothesis)
    assert [operation.reference for operation in operations if operation.reference] == reference.split()
    assert [operation.hypothesis for operation in operations if operation.hypothesis] == hypothesis.split()
    for operation in operations:
        assert (operation.kind == "hit") == (operation.reference == operation.hypothesis)
    assert count_operations(operations) == count_word_errors([reference], [hypothesis])[0]


def test_every_kind_of_edit_is_named() -> None:
    assert align("turn the light on", "turn a light on now") == [
        Operation("hit", "turn", "turn"),
        Operation("substitution", "the", "a"),
        Operation("hit", "light", "light"),
        Operation("hit", "on", "on"),
        Operation("insertion", "", "now"),
    ]
    assert align("stop", "") == [Operation("deletion", "stop", "")]


def test_insertions_against_an_empty_reference_count() -> None:
    counts = count_word_errors(["", "on off", ""], ["yes no", "on", " "])
    assert counts == [ErrorCounts(insertions=2), ErrorCounts(hits=1, deletions=1), ErrorCounts()]
    assert total(counts) == ErrorCounts(hits=1, deletions=1, insertions=2)
    assert total(counts).rate == 1.5
    assert [count.rate for count in counts] == [math.inf, 0.5, 0.0]


def test_character_errors_of_an_empty_reference_count() -> None:
    assert count_character_errors(["", "ab"], ["xyz", ""]) == [ErrorCounts(insertions=3), ErrorCounts(deletions=2)]


def test_the_corpus_rate_is_of_totals_not_a_mean_of_rates() -> None:
    counts = count_word_errors(["a", "a b c d e f g h i"], ["x", "a b c d e f g h i"])
    assert total(counts).rate == pytest.approx(0.1)


def test_white_space_is_not_an_error() -> None:
    assert count_word_errors(["  turn\ton "], ["turn on"]) == [ErrorCounts(hits=2)]
    assert count_character_errors(["  a\tb "], ["a b"]) == [ErrorCounts(hits=3)]


def test_nothing_to_score_is_nothing() -> None:
    assert count_word_errors([], []) == []
    assert count_character_errors([], []) == []
    assert total([]) == ErrorCounts()


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(MetricsError, match="2 references and 1 hypotheses"):
        count_word_errors(["a", "b"], ["a"])
    with pytest.raises(MetricsError, match="1 references and 0 hypotheses"):
        count_character_errors(["a"], [])


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
    monkeypatch.setattr("asr.metrics._BLOCK_DRAWS", 10)
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


def test_groups_add_up() -> None:
    counts = [ErrorCounts(hits=2), ErrorCounts(hits=1, deletions=1), ErrorCounts(insertions=1)]
    groups = score_groups(["zoe", "adam", "zoe"], counts)
    assert list(groups) == ["adam", "zoe"]
    assert groups["zoe"] == GroupScore(num_utterances=2, num_exact=1, counts=ErrorCounts(hits=2, insertions=1))
    assert score_group(counts).counts == total(counts)
    assert score_group(counts).num_exact == 1


def test_confusions_are_ranked_with_ties_in_order() -> None:
    alignments = align_words(["on", "on", "off", "lamp"], ["off", "off", "of", "lump"])
    assert most_confused(alignments) == [
        Confusion("on", "off", 2),
        Confusion("lamp", "lump", 1),
        Confusion("off", "of", 1),
    ]
    assert most_confused(alignments, limit=1) == [Confusion("on", "off", 2)]
