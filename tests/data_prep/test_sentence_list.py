"""Sentences of a file: all sounds beside all their neighbours first, none in two splits, and nothing that they mean."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Manifest
from data_prep import speaking, synthesize
from data_prep.sentence_list import SentenceList, cover, diphones_of
from data_prep.voices import SynthesisError
from tests.data_prep.test_synthesize import InThisProcess, write_grammar

SENTENCES = [f"{verb} the {what}" for verb in ("open", "close", "find", "buy") for what in ("door", "blind", "oven")]
SPELLED = {"a": ("eɪ",), "tea": ("t", "iː")}


def write_list(folder: Path, lines: list[str] = SENTENCES) -> Path:
    path = folder / "sentences.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_neighbours_are_those_across_words_and_at_the_ends() -> None:
    assert diphones_of(["a", "tea"], SPELLED) == {("", "eɪ"), ("eɪ", "t"), ("t", "iː"), ("iː", "")}


def test_everything_is_heard_once_before_anything_twice() -> None:
    sentences = [frozenset(pairs) for pairs in ([("a", "b")], [("a", "b")], [("b", "c"), ("a", "b")], [("d", "e")])]
    assert cover(sentences, 1, 4) == [2, 3]
    assert cover(sentences, 2, 4) == [2, 3, 0]  # the others are once in the list
    assert cover(sentences, 3, 4) == [2, 3, 0, 1]
    assert cover(sentences, 3, 1) == [2]


def test_a_small_sample_has_all_that_the_list_has(tmp_path: Path) -> None:
    path = write_list(tmp_path, [*SENTENCES, *["open the door please"] * 3])
    whole = SentenceList(path, language="en-us")
    assert whole.num_sentences == len(SENTENCES) + 1  # what is there three times is one
    there = Counter(pair for sentence in whole.diphones for pair in sentence)
    drawn = whole.sample(8, min_count=1, rng=np.random.default_rng(0))
    places = [whole.sentences.index(command.spoken) for command in drawn]
    assert set().union(*(whole.diphones[place] for place in places)) == set(there)
    again = SentenceList(path, language="en-us").sample(8, min_count=1, rng=np.random.default_rng(0))
    assert again == drawn
    other = SentenceList(path, language="en-us").sample(8, min_count=1, rng=np.random.default_rng(1))
    assert other != drawn


def test_no_sentence_is_drawn_twice_while_there_are_others(tmp_path: Path) -> None:
    sentences = SentenceList(write_list(tmp_path), language="en-us")
    first = [each.text for each in sentences.sample(5, min_count=0, rng=np.random.default_rng(0))]
    second = [each.text for each in sentences.sample(19, min_count=1, rng=np.random.default_rng(0))]
    assert len(set(first)) == 5
    assert set(second) == set(SENTENCES)
    assert sorted(Counter(second)[text] for text in first) == [1, 1, 1, 1, 1]
    assert len(second) == 19


def test_what_a_list_cannot_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match=r"sentences.txt:2: 'wake me at 7'; expected numbers in words"):
        SentenceList(write_list(tmp_path, ["hello", "wake me at 7"]), language="en")
    with pytest.raises(SynthesisError, match=r"sentences.txt: no sentence; expected one a line"):
        SentenceList(write_list(tmp_path, ["", "..."]), language="en")


def test_a_list_is_spoken_without_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    counts = ("--num-train", "6", "--num-dev", "3", "--num-test", "3", "--num-dev-speakers", "2")
    path = str(write_list(tmp_path, [*SENTENCES, "It's Ann's, please!"]))
    assert synthesize.main([path, str(tmp_path / "out"), *counts, "--language", "en-gb"]) == 0
    said = {split: Manifest.read(tmp_path / "out" / f"{split}.jsonl") for split in synthesize.SPLITS}
    texts = [utterance.text for utterances in said.values() for utterance in utterances]
    assert [len(utterances) for utterances in said.values()] == [6, 3, 3]
    assert len(set(texts)) == 12
    assert set(texts) < {*SENTENCES, "it's ann's please"}
    for utterances in said.values():
        for utterance in utterances:
            assert not {"intent", "slots"} & set(utterance.extra)
            assert utterance.extra["accent"].startswith("en-gb")


@pytest.mark.parametrize(
    ("is_list", "options", "message"),
    [
        (True, ("--other-speech", "conf/commands/everyday.yaml"), "--other-speech: beside sentences that are no"),
        (False, ("--language", "de"), "--language de: beside a grammar, which names its own; leave it out"),
    ],
)
def test_options_that_do_not_fit_what_is_spoken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_list: bool, options: tuple[str, ...], message: str
) -> None:
    path = str(write_list(tmp_path)) if is_list else write_grammar(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        synthesize.main([path, str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err


def test_a_list_as_other_speech_beside_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "ProcessPoolExecutor", InThisProcess)
    counts = ("--num-train", "6", "--num-dev", "0", "--num-test", "0", "--min-count", "0", "--num-other", "5")
    others = ("--other-speech", str(write_list(tmp_path)), "--num-other-held-out", "0", "--num-dev-speakers", "1")
    assert synthesize.main([write_grammar(tmp_path), str(tmp_path / "out"), *counts, *others]) == 0
    spoken = Manifest.read(tmp_path / "out" / "other_speech" / "train.jsonl")
    assert {utterance.text for utterance in spoken} <= set(SENTENCES)
    assert len(spoken) == 5
    assert not {"intent", "slots"} & set(spoken[0].extra)
