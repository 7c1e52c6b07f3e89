"""Error counts and rates: against torchaudio, against arithmetic, and on the edges."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.functional import edit_distance

from asr.metrics import (
    ErrorCounts,
    MetricsError,
    Operation,
    align,
    count_character_errors,
    count_operations,
    count_word_errors,
    total,
)

transcripts = st.lists(st.sampled_from(["on", "off", "lamp", "light"]), max_size=7).map(" ".join)
pairs = st.lists(st.tuples(transcripts, transcripts), max_size=5)


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
