"""Casting: people in one split each, by whatever engine and in whatever blend they speak."""

from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Manifest
from data_prep import speaking, synthesize
from data_prep.casting import cast_all, cast_speakers
from data_prep.voices import SAME_PERSON, SynthesisError, people_of
from tests.data_prep.test_synthesize import InThisProcess, write_grammar
from tests.data_prep.test_voices import Voices

BLENDS = ("ann=0.5+bob=0.5", "bob=0.6+cid=0.4", "eve=0.5+flo=0.5", "af_heart=0.5+ann=0.5")
KOKORO = Voices("ann", "bob", "cid", "dan", "eve", "flo", "af_heart", *BLENDS)
HIBARI = Voices("w098-p100", "w082-p050")


def all_people(cast: dict[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(person for engine, names in cast.items() for name in names for person in people_of(engine, name))


def test_a_speaker_is_made_of_people() -> None:
    assert people_of("kokoro", "ann=0.6+bob=0.4") == {"kokoro/ann", "kokoro/bob"}
    assert people_of("hibari", "w098-p100") == people_of("kokoro", "af_heart")
    assert people_of("flite", "slt") == people_of("festival", "cmu_us_slt_arctic_hts")
    assert people_of("espeak", "slt") == {"espeak/slt"}
    assert all(len({name.split("/")[0] for name in person}) == len(person) for person in SAME_PERSON)


def test_no_part_of_a_blend_is_in_two_splits() -> None:
    for seed in range(20):
        cast = cast_speakers(KOKORO, num_dev=1, num_test=2, rng=np.random.default_rng(seed))
        by_split = [all_people({"kokoro": names}) for names in cast.values()]
        assert [len(people) for people in by_split[1:]] == [1, 2]
        assert not by_split[0] & (by_split[1] | by_split[2])
        assert not any("+" in name for name in (*cast["dev"], *cast["test"]))
        held_out = {*cast["dev"], *cast["test"]}
        left_out = [blend for blend in BLENDS if blend not in cast["train"]]
        assert left_out == [blend for blend in BLENDS if any(name in blend for name in held_out)]


def test_her_who_speaks_by_hibari_too_is_in_train() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cast = cast_all({"kokoro": KOKORO, "hibari": HIBARI}, num_dev=1, num_test=1, rng=rng)
        assert cast["train"]["hibari"] == HIBARI.speakers
        assert "af_heart" in cast["train"]["kokoro"]


def test_those_named_and_all_that_is_made_of_them_are_kept_out_of_train() -> None:
    engines = {"kokoro": KOKORO, "hibari": HIBARI}
    rng = np.random.default_rng(0)
    named = {"test": ["kokoro/bob", "kokoro/eve=0.5+flo=0.5"], "dev": ["hibari/w098-p100"]}
    cast = cast_all(engines, num_dev=1, num_test=1, rng=rng, named=named)
    assert cast["test"] == {"kokoro": ("bob", "eve=0.5+flo=0.5")}
    assert cast["dev"] == {"hibari": ("w098-p100",)}
    assert cast["train"] == {"kokoro": ("ann", "cid", "dan"), "hibari": ()}
    drawn = cast_all(engines, num_dev=1, num_test=1, rng=rng, named={"test": named["test"]})
    assert drawn["test"] == cast["test"]
    assert drawn["dev"]["kokoro"][0] in ("ann", "cid", "dan")
    assert not all_people(drawn["dev"]) & all_people(drawn["train"])


def test_who_sounds_like_one_named_does_not_speak() -> None:
    class Alike(Voices):
        def families(self) -> list[tuple[str, ...]]:
            return [("adam", "benjamin"), ("carl",), ("dora",)]

    cast = cast_all(
        {"espeak": Alike()}, num_dev=0, num_test=0, rng=np.random.default_rng(0), named={"test": ["espeak/adam"]}
    )
    assert cast["train"] == {"espeak": ("carl", "dora")}


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ("kokoro/who", "--dev-voices: no voice 'kokoro/who'; expected one of kokoro/ann, "),
        ("kokoro/ann", "--test-voices: kokoro/ann is a voice of dev too, as kokoro/ann; expected each person in one"),
        ("kokoro/ann=0.5+bob=0.5", "kokoro/ann is a voice of dev too, as kokoro/ann=0.5"),
    ],
)
def test_a_voice_in_two_splits_is_refused(dev: str, message: str) -> None:
    named = {"dev": [dev], "test": ["kokoro/ann"]}
    with pytest.raises(SynthesisError, match=message.replace("+", r"\+")):
        cast_all({"kokoro": KOKORO}, num_dev=1, num_test=1, rng=np.random.default_rng(0), named=named)


def test_only_those_named_speak_a_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    command = [write_grammar(tmp_path), str(tmp_path / "out"), "--num-train", "0", "--num-dev", "0", "--num-test", "5"]
    assert synthesize.main([*command, "--test-voices", "espeak/f2,espeak/Annie"]) == 0
    spoken = list(Manifest.read(tmp_path / "out" / "test.jsonl"))
    assert {utterance.speaker for utterance in spoken} == {"espeak/f2", "espeak/Annie"}
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_nobody_left_to_train_on(tmp_path: Path) -> None:
    pytest.importorskip("hibari")
    command = [write_grammar(tmp_path), str(tmp_path / "out"), "--num-dev", "0", "--num-test", "0"]
    with pytest.raises(SynthesisError, match="train: no speaker is left; expected one at least; name fewer by --dev-"):
        synthesize.main([*command, "--engines", "hibari", "--test-voices", "hibari/w098-p100"])
