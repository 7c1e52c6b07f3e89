"""Errors added up by group, and words taken for others."""

from asr.evaluation.groups import Confusion, GroupScore, most_confused, score_group, score_groups
from asr.metrics import ErrorCounts, align_words, total


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
