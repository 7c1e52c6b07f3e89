"""What a check says of a grammar: all ambiguous sentences, words that sound alike, faults with their line."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.commands import main
from asr.grammar.ambiguity import find_ambiguity
from asr.grammar.check import check_grammar
from asr.grammar.file import GrammarError
from asr.grammar.near_pairs import NEAR, find_near_pairs, one_sound_apart
from asr.grammar.network import word_graph
from asr.grammar.parsing import SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.sounds import CONSONANTS, VOWELS, phonetic_cost, phonetic_costs, phonetic_distance, sounds
from asr.grammar.templates import load_grammar
from asr.text import CharTokenizerConfig, pronunciation
from asr.text.phonemes import PhonemeTokenizerConfig
from asr.text.pronunciation import PronunciationError, pronounce
from asr.understanding.result import CommandSearch
from tests.grammar.test_templates import SMALL, write_grammar

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"

AMBIGUOUS = """
language: en
intents:
  A: {data: [{sentences: ["play {x}", "play [the] {x} now", "stop [it|it]"]}]}
  B: {data: [{sentences: ["play radio", "[please] stop", "go {y} on {z}", "go {y} {x}"], slots: {kind: b}}]}
lists:
  x: {values: [radio, jazz, {in: the radio, out: radio}, {in: on radio, out: other}]}
  y: {values: [up, {in: up on, out: up}]}
  z: {values: [radio, jazz]}
"""


def test_all_ambiguous_sentences_are_found(tmp_path: Path) -> None:
    """Against parsing every sentence."""
    grammar = load_grammar(write_grammar(tmp_path, AMBIGUOUS))
    parser = SentenceParser(grammar)
    several = {command.text for command in Sampler(grammar).all_commands() if len(parser.parse(command.text)) > 1}
    found = find_ambiguity(grammar, max_examples=20)
    assert (found.num_sentences, found.is_complete) == (len(several), True)
    assert set(found.examples) <= several
    assert {"stop", "play radio"} <= several
    # "go up on radio" is {y: up, z: radio}, {y: up on = up, x: radio} and {y: up, x: on radio = other}
    assert len(parser.parse("go up on radio")) == 3
    assert find_ambiguity(grammar, max_examples=1).num_sentences == len(several)


def test_a_grammar_too_large_to_search_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.grammar.ambiguity.MAX_STATES", 3)
    assert not find_ambiguity(load_grammar(write_grammar(tmp_path, AMBIGUOUS))).is_complete


def test_the_small_grammar_is_not_ambiguous(tmp_path: Path) -> None:
    assert find_ambiguity(load_grammar(write_grammar(tmp_path, SMALL))).num_sentences == 0


def test_sounds_are_compared_by_what_they_are_made_of() -> None:
    assert sounds("kˈɪtʃən") == ("k", "ɪ", "t", "ʃ", "ə", "n")
    assert phonetic_distance("wˌʌn", "wˈʌn") == phonetic_distance("", "") == 0
    assert phonetic_distance("", "pæt") == pytest.approx(0.7)
    pairs = [("pæt", "bæt"), ("pæt", "kæt"), ("pæt", "mæt"), ("pæt", "ʃuz")]
    distances = [phonetic_distance(*pair) for pair in pairs]
    assert distances == sorted(distances)
    assert all(phonetic_distance(one, other) == phonetic_distance(other, one) for one, other in pairs)
    assert phonetic_distance("fɪftin", "fɪfti") < phonetic_distance("fɪftin", "θɝtin") < 0.5


def test_words_are_pronounced_as_espeak_does() -> None:
    pytest.importorskip("espeakng_loader")
    found = pronounce(["kitchen", "one", "won", "ice cream, please"], language="en-us")
    assert found["kitchen"] == "kˈɪtʃən"
    assert sounds(found["one"]) == sounds(found["won"])
    assert len(sounds(found["ice cream, please"])) > 8  # both clauses
    with pytest.raises(PronunciationError, match="language 'xx-none': eSpeak NG has no such voice"):
        pronounce(["a"], language="xx-none")


def test_without_espeak_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "espeakng_loader", None)
    pronunciation._start.cache_clear()
    with pytest.raises(PronunciationError, match=r"espeakng-loader is not installed; pip install 'earshot\[synth\]'"):
        pronounce(["a"], language="en-us")


def test_an_espeak_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    broken = SimpleNamespace(espeak_TextToPhonemes=SimpleNamespace(), espeak_Initialize=lambda *_: -1)
    monkeypatch.setattr("asr.text.pronunciation.ctypes.CDLL", lambda _: broken)
    pronunciation._start.cache_clear()
    with pytest.raises(PronunciationError, match="eSpeak NG does not start; install espeakng-loader again"):
        pronounce(["a"], language="en-us")


FAULTY = """language: en
intents:
  A:
    data:
      - sentences:
          - "(set|turn) {minutes} café"
          - "from {place} to {place}"
      - sentences: ["go {place}"]
        slots: {place: home}
expansion_rules:
  empty: "[ ]"
  unused: "never"
lists:
  minutes: {values: [fifteen, fifty, ninety nine]}
  place: {values: [here]}
  colour: {values: [red]}
"""


def test_a_faulty_grammar(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, FAULTY)
    report = check_grammar(path, tokenizer=CharTokenizerConfig().train(["abcdefghijklmnopqrstuvwyz "]))
    assert report.num_sentences == 2 * 3 + 1 + 1
    assert set(report.pronunciations) == {
        *("set", "turn", "fifteen", "fifty", "ninety", "nine", "café", "from", "here", "to", "go")
    }
    (near,) = report.near.pairs
    assert near.words == ("fifteen", "fifty")
    assert near.sentences == ("set fifteen café", "set fifty café")
    assert report.faults == [
        f"{path}:6: the model cannot spell 'café' (é); expected the characters (of phonemes, the sounds) it was "
        f"trained with; respell the word, or train on transcripts that have these",
        f"{path}:7: intents.A.data.0.sentences.1: slot 'place' is filled twice in one sentence; expected once; give "
        f"the second another name, as in {{place:second_place}}",
        f"{path}:8: intents.A.data.1.sentences.0: slot 'place' is filled twice in one sentence; expected once; give "
        f"the second another name, as in {{place:second_place}}",
    ]
    assert [hint.partition("; ")[0] for hint in report.hints] == [
        f"{path}:11: expansion_rules.empty: rule <empty> says nothing",
        f"{path}:12: expansion_rules.unused: rule <unused> is not used by any template",
        f"{path}:16: lists.colour: list {{colour}} is not used by any template",
    ]


def test_phrases_that_sound_alike_are_found_where_their_words_do_not(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    text = """
language: en
intents:
  Night: {data: [{sentences: [good night]}]}
  Noble: {data: [{sentences: [goodnight]}]}
  Sweet: {data: [{sentences: [ice cream]}]}
  Loud: {data: [{sentences: [I scream]}]}
  Set: {data: [{sentences: ["set (fifteen|fifty) (monday|sunday)"]}, {sentences: ["set {x}"]}]}
lists:
  x: {values: [forty, for tea]}
"""
    pairs = {frozenset(near.words): near.distance for near in check_grammar(write_grammar(tmp_path, text)).near.pairs}
    alike = {frozenset(pair) for pair in (("good night", "goodnight"), ("ice cream", "i scream"))}
    assert {pair for pair, distance in pairs.items() if distance < 0.1} >= alike
    assert pairs.pop(frozenset(("for tea", "forty"))) < 0.15
    assert not [pair for pair in pairs if "monday" in str(pair) and " " in "".join(pair)]  # words on their own


def test_meanings_of_an_ambiguous_sentence_have_their_lines(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, AMBIGUOUS)
    meanings = check_grammar(path).meanings
    assert f"{path}: 'play radio' is A (x: radio) of line 4, or B (kind: b) of line 5" in meanings


def test_what_is_not_written_as_it_is_spoken_is_a_hint(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, "language: en\nintents:\n  A: {data: [{sentences: ['go at 7:30', 'mp3 & on']}]}")
    assert check_grammar(path).hints == [
        f"{path}:3: '{found}' is not as it is spoken; expected letters; write it out in words"
        for found in ("7", "30", "mp3", "&")
    ]


def test_a_language_that_espeak_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, "language: xx\nintents: {A: {data: [{sentences: [go]}]}}")
    with pytest.raises(GrammarError, match=r"yaml:1: language: language 'xx': eSpeak NG has no such voice; expected"):
        check_grammar(path)


def test_words_without_sound_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.grammar.check.pronounce", lambda words, language: dict.fromkeys(words, ""))
    path = write_grammar(tmp_path, "language: en\nintents: {A: {data: [{sentences: [go]}]}}")
    assert check_grammar(path).faults == [f"{path}:2: eSpeak has no sound for 'go'; expected a word that can be spoken"]


@pytest.mark.parametrize("name", ["barista", "demo", "digits", pytest.param("home", marks=pytest.mark.slow)])
def test_the_shipped_grammars_have_no_faults(name: str) -> None:
    pytest.importorskip("espeakng_loader")
    report = check_grammar(COMMANDS / f"{name}.yaml")
    assert (report.faults, report.hints, report.ambiguity.num_sentences) == ([], [], 0)


def test_words_made_of_two_are_pointed_out_and_not_compared(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    text = """language: en
intents:
  Wake: {data: [{sentences: ["wake at {hour}[ ]{minute}", "goodnight light[s]", "good night"]}]}
lists:
  hour: {range: {from: 18, to: 19}}
  minute: {range: {from: 50, to: 52}}
"""
    path = write_grammar(tmp_path, text)
    report = check_grammar(path)
    assert report.hints == [
        f"{path}:3: intents.Wake.data.0.sentences.0: 'eighteenfifty' is 'eighteen' and 'fifty' in one word, and 1 more "
        f"in this way; expected a space between words; write {{hour}} {{minute}}, not {{hour}}{{minute}}"
    ]
    assert not any("eenfifty" in word for near in report.near.pairs for word in near.words)


@pytest.mark.parametrize("number", [4, 300])
def test_many_pairs_at_once_are_those_of_each(number: int) -> None:
    random = np.random.default_rng(number)
    known = [*CONSONANTS, *VOWELS, "ˈ"]
    texts = ["".join(random.choice(known, random.integers(0, 9))) for _ in range(number)]
    first, second = random.integers(0, number, (2, 500))
    expected = [phonetic_cost(texts[one], texts[other]) for one, other in zip(first, second)]
    assert phonetic_costs(texts, first, second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("limit", ["MAX_COMPARED", "MAX_PHRASES", "MAX_NEAR"])
def test_what_is_not_compared_is_said(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, AMBIGUOUS.replace("[radio, jazz, {in: the", "[forty, for tea, fort, {in: the"))
    assert check_grammar(path).near.is_complete
    monkeypatch.setattr(f"asr.grammar.near_pairs.{limit}", 1)
    assert not check_grammar(path).near.is_complete
    main(["check", str(path)])
    assert "at least (the grammar is too large to compare all)" in capsys.readouterr().out.replace("\n", " ")


def test_a_grammar_of_another_language_than_the_phonemes(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    english = PhonemeTokenizerConfig().train(["go now"])
    german = write_grammar(tmp_path, "language: de-AT\nintents: {A: {data: [{sentences: [geh]}]}}")
    expected = "a grammar in language 'de-AT', but the model's phonemes are those of 'en-us'; expected a grammar in"
    assert expected in check_grammar(german, tokenizer=english).faults[0]
    with pytest.raises(GrammarError, match=expected):
        CommandSearch.load(german, english)
    assert not check_grammar(german, tokenizer=PhonemeTokenizerConfig(language="de").train(["geh"])).faults


@pytest.mark.parametrize("language", ["no", "de_AT", "pt-BR", "zh"])
def test_a_language_by_another_name_or_of_another_region_is_pronounced(language: str, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    path = write_grammar(tmp_path, f"language: {language}\nintents: {{A: {{data: [{{sentences: [skru]}}]}}}}")
    assert check_grammar(path).pronunciations["skru"]


@given(st.lists(st.text("abk", max_size=4), max_size=12))
def test_what_one_sound_tells_apart_is_found_by_what_is_left(texts: list[str]) -> None:
    def is_close(one: str, other: str) -> bool:
        left = [{text, *(text[:place] + text[place + 1 :] for place in range(len(text)))} for text in (one, other)]
        return not left[0].isdisjoint(left[1])

    first, second = one_sound_apart(texts)
    wanted = [pair for pair in itertools.combinations(range(len(texts)), 2) if is_close(texts[pair[0]], texts[pair[1]])]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == wanted


def test_of_a_group_too_large_the_nearest_are_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it was compared."""
    values = ["".join(word) for word in itertools.product("ptk", "aiu", "lnr", "eo", "bdg", "iu")]
    path = write_grammar(
        tmp_path,
        "language: en\nintents: {A: {data: [{sentences: ['play {name}']}]}}\n"
        f"lists: {{name: {{values: [{', '.join(values)}]}}}}\n",
    )
    grammar = load_grammar(path)
    graph, parser = word_graph(grammar, skipping=False), SentenceParser(grammar)
    monkeypatch.setattr("asr.grammar.near_pairs.MAX_COMPARED", len(values) ** 2 // 4)
    monkeypatch.setattr("asr.grammar.near_pairs.MAX_NEAR", 50)
    found = find_near_pairs(graph, parser, {word: word for word in ["play", *values]})
    assert not found.is_complete
    assert found.pairs
    assert all(near.distance <= NEAR for near in found.pairs)
