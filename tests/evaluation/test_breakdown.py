"""Where commands go wrong: verdicts, conditions, and what each value of a slot is taken for."""

from typing import Any

import pytest

from asr.data.manifest import Utterance
from asr.evaluation.breakdown import (
    JudgedCommand,
    SlotValue,
    by_condition,
    by_speaker,
    condition_of,
    count_verdicts,
    score_by,
    slot_rows,
    slot_values,
)
from asr.understanding.scoring import Proportion
from tests.understanding.test_acceptance import labelled


def judged(label: Any, *, speaker: str | None = None, condition: str | None = None) -> JudgedCommand:
    return JudgedCommand(Utterance("u", "/x.wav", 3.0, speaker=speaker), label, condition)


TEA = {"drink": "tea", "size": 2}
HEARD = [
    judged(labelled("Order", TEA, ("Order", {**TEA, "milk": "some"})), speaker="a", condition="6 dB"),
    judged(labelled("Order", TEA, ("Order", {"drink": "coffee"})), speaker="b", condition="6 dB"),
    judged(labelled("Order", TEA, ("Order", TEA), understood=False), speaker="a", condition="12 dB"),
    judged(labelled("Order", TEA, ("Stop", {}), understood=False), condition="12 dB"),
    judged(labelled("Order", TEA, None), condition="clean"),
    judged(labelled(None, {}, ("Stop", {})), speaker="b"),
    judged(labelled(None, {}, ("Stop", {}), understood=False)),
]


def test_each_recording_has_one_verdict() -> None:
    verdicts = ["accepted", "wrong", "rejected", "missed", "missed", "false accept", "ignored"]
    assert [each.verdict for each in HEARD] == verdicts
    counts = {"false accept": 1, "wrong": 1, "missed": 2, "rejected": 1, "accepted": 1, "ignored": 1}
    assert list(count_verdicts(HEARD).items()) == list(counts.items())


def test_slots_stand_side_by_side() -> None:
    assert [(row.slot, row.state) for row in slot_rows(HEARD[0])] == [
        ("drink", "right"),
        ("size", "right"),
        ("milk", "extra"),
    ]
    assert [(row.slot, row.state) for row in slot_rows(HEARD[1])] == [("drink", "wrong"), ("size", "missing")]


def test_values_are_counted_with_what_they_are_taken_for() -> None:
    assert slot_values(HEARD) == [
        SlotValue("drink", "tea", num_said=5, num_right=2, taken_for=(("", 2), ("coffee", 1))),
        SlotValue("size", "2", num_said=5, num_right=2, taken_for=(("", 3),)),
    ]


def test_figures_by_condition_and_speaker() -> None:
    conditions = score_by(HEARD, by_condition)
    assert list(conditions) == ["6 dB", "12 dB", "clean"]
    assert conditions["6 dB"].accepted == Proportion(1, 2)
    speakers = score_by(HEARD, by_speaker)
    assert {name: (score.accepted, score.false_accepts) for name, score in speakers.items()} == {
        "a": (Proportion(1, 2), Proportion(0, 0)),
        "b": (Proportion(0, 1), Proportion(1, 1)),
    }


@pytest.mark.parametrize(
    ("extra", "field", "expected"),
    [
        ({"snr_db": 6.0}, None, "6 dB"),
        ({"snr": -2.5, "condition": "kitchen"}, None, "kitchen"),
        ({"snr": "low"}, None, "low"),
        ({"room": 3, "snr_db": 6}, "room", "3"),
        ({"snr_db": 6}, "room", None),
        ({}, None, None),
    ],
)
def test_conditions_come_from_the_manifest(extra: dict, field: str | None, expected: str | None) -> None:
    assert condition_of(Utterance("u", "/x.wav", 1.0, extra=extra), field) == expected
