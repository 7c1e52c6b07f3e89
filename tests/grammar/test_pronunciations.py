"""pronunciations: of a grammar: they replace eSpeak NG's, are shown by check, and their faults are named."""

from pathlib import Path

import numpy as np
import pytest

from asr.commands import main
from asr.fitting.transcripts import LabelSearch
from asr.grammar.check import check_grammar
from asr.grammar.file import GrammarError
from asr.grammar.templates import load_grammar
from asr.text import BLANK_ID, CharTokenizerConfig, PhonemeTokenizer, PhonemeTokenizerConfig, TokenizerError
from asr.understanding.labelled import constrain
from asr.understanding.result import CommandSearch
from tests.grammar.test_templates import write_grammar

GRAMMAR = """
language: en
intents:
  Call: {data: [{sentences: ["call {name} [now]"]}]}
lists:
  name: {values: [nguyen, siobhan, bob]}
skip_words: [uh]
pronunciations:
"""
ENTRIES = """
  Nguyen: [win, /ŋ w i ə n/]
  siobhan: /ʃɪvˈæn/
"""


@pytest.fixture(scope="module")
def tokenizer() -> PhonemeTokenizer:
    pytest.importorskip("espeakng_loader")
    texts = ["call bob now", "the quick brown fox jumps over a lazy dog beside their house", "measure thirty boys"]
    texts.append("two big birds saw four good fathers near her fair shop at home charming things win")
    return PhonemeTokenizerConfig(inventory="language", accents=["en-gb"]).train(texts)


def pronounced(tokenizer: PhonemeTokenizer, tokens: list[int]) -> str:
    return " ".join(tokenizer.pieces[token] for token in tokens)


def scores_of(tokens: list[int], size: int) -> np.ndarray:
    scores = np.full((2 * len(tokens), size), -9.0, dtype=np.float32)
    scores[1::2, BLANK_ID] = -0.1
    scores[2 * np.arange(len(tokens)), tokens] = -0.1
    return scores


def test_an_entry_replaces_what_espeak_says_in_the_search(tokenizer: PhonemeTokenizer, tmp_path: Path) -> None:
    plain = CommandSearch.load(write_grammar(tmp_path, GRAMMAR.replace("pronunciations:", "")), tokenizer)
    search = CommandSearch.load(write_grammar(tmp_path, GRAMMAR + ENTRIES), tokenizer)
    for said in ("/w ɪ n/", "/ŋwiən/"):
        tokens = [*tokenizer.encode("call"), *tokenizer.tokens_of(said), *tokenizer.encode("now")]
        found = search.understand(scores_of(tokens, tokenizer.vocabulary_size), seconds_per_encoding=0.04)
        before = plain.understand(scores_of(tokens, tokenizer.vocabulary_size), seconds_per_encoding=0.04)
        assert found.guesses[0].slots == {"name": "nguyen"}
        assert -1e-5 < found.score <= 0.0
        assert before.score < -0.1
        assert found.guesses[0].text == "call nguyen now"
    assert tokenizer.encode("nguyen") != tokenizer.tokens_of("win")  # the model's own is as it was


def test_transcripts_of_labels_are_searched_by_entries_too(tokenizer: PhonemeTokenizer, tmp_path: Path) -> None:
    grammar = load_grammar(write_grammar(tmp_path, GRAMMAR + ENTRIES))
    scores = scores_of([*tokenizer.encode("call"), *tokenizer.tokens_of("/ʃɪvæn/")], tokenizer.vocabulary_size)
    found = LabelSearch(grammar, tokenizer).search(scores, intent="Call", slots={"name": "siobhan"})
    assert found.text == "call siobhan"
    assert found.ratio == pytest.approx(0.0, abs=1e-5)
    assert constrain(grammar, intent="Call", slots={"name": "siobhan"}).pronunciations == grammar.pronunciations


def test_sounds_are_read_from_ipa_and_from_respellings(tokenizer: PhonemeTokenizer) -> None:
    assert pronounced(tokenizer, tokenizer.tokens_of("/ˈtʃɑːɹm.əl/")) == "tʃ ɑːɹ m ə l"
    assert pronounced(tokenizer, tokenizer.tokens_of("/rɪŋ/")) == "ɹ ɪ ŋ"  # r is written for ɹ
    assert tokenizer.tokens_of("big boys") == [*tokenizer.encode("big"), *tokenizer.encode("boys")]
    of_texts = PhonemeTokenizerConfig().train(["two cups"])
    assert pronounced(of_texts, of_texts.tokens_of("/kʌpuː/")) == "k ʌ p uː"
    with pytest.raises(
        TokenizerError, match="'/kæp/' has the sound 'æ', which the model does not know; expected sounds"
    ):
        of_texts.tokens_of("/kæp/")
    with pytest.raises(TokenizerError, match="'gym' has sounds that the model does not know; expected words"):
        of_texts.tokens_of("gym")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("  nguyem: win", r"9: pronunciations.nguyem: the grammar has no word 'nguyem'; did you mean 'nguyen'\?"),
        ("  nguyen: /wɯn/", "9: pronunciations.nguyen: '/wɯn/' has the sound 'ɯ', which the model does not know"),
        (
            "  call bob: cob",
            "9: pronunciations.call bob: 'call bob' is 2 words; expected one; give each word an entry",
        ),
        ("  bob: []", "9: pronunciations.bob: it is empty; expected IPA between slashes, as in /wɪn/, or words"),
        ("  bob: [win, //]", "9: pronunciations.bob: it is empty; expected IPA"),
        ("  bob: 3", "9: pronunciations.bob: found the number 3; expected words"),
    ],
)
def test_faults_are_named(entries: str, message: str, tokenizer: PhonemeTokenizer, tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=message):
        CommandSearch.load(write_grammar(tmp_path, GRAMMAR + entries), tokenizer)


def test_a_model_of_letters_does_without_but_its_words_are_checked(tmp_path: Path) -> None:
    letters = CharTokenizerConfig().train(["abcdefghijklmnopqrstuvwxyz "])
    search = CommandSearch.load(write_grammar(tmp_path, GRAMMAR + ENTRIES), letters)
    assert search.tokenizer is letters
    with pytest.raises(GrammarError, match="the grammar has no word 'bobby'; did you mean 'bob'"):
        CommandSearch.load(write_grammar(tmp_path, GRAMMAR + "  bobby: bob"), letters)


def test_check_shows_unusual_words_first_and_where_an_entry_is_used(
    tokenizer: PhonemeTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_grammar(tmp_path, GRAMMAR + ENTRIES)
    report = check_grammar(path, tokenizer=tokenizer)
    assert report.faults == []
    assert report.pronunciations["siobhan"] == "ʃɪvˈæn"
    assert report.remarks["siobhan"].startswith(f"by {path}:11: pronunciations.siobhan; eSpeak NG says ")
    assert report.remarks["nguyen"].startswith("or ŋ w i ə n; by ")
    assert "bob" not in report.remarks
    assert report.remarks["uh"] == "in no training text"
    tokenizer.save(tmp_path / "run/tokenizer")
    assert main(["check", str(path), "--run", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["nguyen", "siobhan", "uh"]
    wrong = check_grammar(write_grammar(tmp_path, GRAMMAR + "  nguyen: /wɯn/\n  bobby: bob\n"), tokenizer=tokenizer)
    assert len(wrong.faults) == 2
    letters = CharTokenizerConfig().train(["abcdefghijklmnopqrstuvwxyz "])
    hints = check_grammar(write_grammar(tmp_path, GRAMMAR + ENTRIES), tokenizer=letters).hints
    assert sum("the model writes letters, so this changes nothing" in hint for hint in hints) == 2


def test_an_export_says_that_it_leaves_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(write_grammar(tmp_path, GRAMMAR + ENTRIES))]) == 0
    assert "pronunciations of 2 words are left out; JSGF has none" in capsys.readouterr().err
