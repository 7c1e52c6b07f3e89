"""What two lines of manifests say of one stretch of a recording."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data import listed_twice
from asr.data.listed_twice import find_contradicted, say_contradiction, stretch_keys
from asr.data.manifest import Utterance

ON = Utterance("a", "/x/a.wav", 1.0, "turn on")


def contradicted(*utterances: Utterance) -> dict[int, list[str]]:
    found = find_contradicted(stretch_keys(utterances), utterances.__getitem__)
    return {place: [member.id for member in members] for place, members in found.items()}


def test_one_stretch_with_two_transcripts_is_found() -> None:
    off = replace(ON, id="b", text="turn off")
    other = replace(ON, id="c", audio_filepath="/x/c.wav", text="turn off")
    assert contradicted(ON, other, off) == {0: ["a", "b"], 2: ["a", "b"]}
    assert contradicted(ON, replace(off, offset=0.0004)) == {0: ["a", "b"], 1: ["a", "b"]}  # the same millisecond
    assert contradicted(ON, replace(off, offset=0.5), replace(off, id="d", duration=0.5)) == {}
    assert say_contradiction([ON, off]) == (
        "its recording is listed with different transcripts: 'turn on' (a) and 'turn off' (b)"
    )


def test_the_same_again_is_no_contradiction() -> None:
    assert contradicted(ON, replace(ON, id="b"), replace(ON, id="c", speaker="anna")) == {}
    assert contradicted(ON) == contradicted() == {}


def test_intents_and_slots_may_contradict_too() -> None:
    light = replace(ON, text="", extra={"intent": "Light", "slots": {"room": "hall"}})
    other = replace(light, id="b", extra={"intent": "Light", "slots": {"room": "bath"}})
    assert contradicted(light, other) == {0: ["a", "b"], 1: ["a", "b"]}
    assert "'' as Light {'room': 'bath'} (b)" in say_contradiction([light, other])


def test_keys_that_are_the_same_by_chance_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_twice, "hash", lambda key: 7, raising=False)
    assert contradicted(ON, replace(ON, id="b", audio_filepath="/x/b.wav", text="off")) == {}


def test_keys_are_the_same_for_the_same_stretch(tmp_path: Path) -> None:
    keys = stretch_keys([ON, replace(ON, id="b", text="off"), replace(ON, offset=1.0)])
    assert keys.dtype == np.int64
    assert keys[0] == keys[1] != keys[2]
