"""Sentence templates: the same sentences as hassil's own sampler, every choice covered, every fault with its line."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hassil import recognize_all
from hassil.intents import Intents
from hassil.sample import sample_intents
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.grammar.file import GrammarError
from asr.grammar.references import number_words
from asr.grammar.sampling import Command, Sampler
from asr.grammar.templates import load_grammar
from asr.text.normalization import normalize_transcript

GRAMMARS = sorted((Path(__file__).parents[2] / "conf" / "commands").glob("*.yaml"))

SMALL = """
language: en
intents:
  TurnOn:
    data:
      - sentences: ["(turn|switch) on [the] {area} light[s]", "light[s] on"]
        slots: {domain: light}
      - sentences: ["<please> make it (warm;dry)"]
        expansion_rules: {please: "(please|would you)"}
  Timer:
    data:
      - sentences: ["timer {minutes} [<unit>]", "wake me at {2..3:hour} a.m."]
lists:
  area:
    values: [kitchen, {in: "[living] room", out: lounge}, {in: "(TV|cinema) corner"}]
  minutes:
    range: {from: 20, to: 22}
expansion_rules:
  unit: "minute[s]"
"""


def write_grammar(folder: Path, text: str = SMALL) -> Path:
    path = folder / "grammar.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def sampler(folder: Path, text: str = SMALL) -> Sampler:
    return Sampler(load_grammar(write_grammar(folder, text)))


def by_hassil(path: Path) -> set[tuple[str, str]]:
    """Intent and transcript of every sentence, by hassil's own sampler (which spells numbers in digits too)."""
    intents = Intents.from_files([path])
    for values in intents.slot_lists.values():
        if hasattr(values, "digits"):
            values.digits = False
    return {(intent, normalize_transcript(text)) for intent, text in sample_intents(intents, language="en")}


def test_all_sentences_are_those_of_hassil(tmp_path: Path) -> None:
    text = SMALL.replace("{2..3:hour}", "(two|three)").replace("<please>", "(please|would you)")
    text = text.replace('        expansion_rules: {please: "(please|would you)"}\n', "")  # its sampler ignores those
    small = sampler(tmp_path, text)
    commands = list(small.all_commands())
    assert {(command.intent, command.text) for command in commands} == by_hassil(small.grammar.path)
    assert len(commands) == 2 * 2 * 5 * 2 + 2 + 2 * 2 + 3 * 3 + 2


def test_a_small_grammar_in_full(tmp_path: Path) -> None:
    commands = {command.text: command for command in sampler(tmp_path).all_commands()}
    assert commands["turn on the tv corner lights"] == Command(
        "turn on the TV corner lights",
        "turn on the tv corner lights",
        "TurnOn",
        {"domain": "light", "area": "TV corner"},
    )
    assert commands["switch on living room light"].slots == {"domain": "light", "area": "lounge"}
    assert commands["light on"].slots == {"domain": "light"}
    assert commands["would you make it dry warm"].slots == {}
    assert commands["timer twenty one minutes"] == Command(
        "timer twenty-one minutes", "timer twenty one minutes", "Timer", {"minutes": 21}
    )
    assert commands["wake me at two a m"] == Command("wake me at two a.m.", "wake me at two a m", "Timer", {"hour": 2})


def test_counts_ways_and_lists_words(tmp_path: Path) -> None:
    small = sampler(tmp_path)
    commands = list(small.all_commands())
    assert small.num_sentences == len(commands) == 40 + 2 + 4 + 9 + 2
    assert small.words == sorted({word for command in commands for word in command.text.split()})


def pairs(text: str) -> set[tuple[str, str]]:
    return set(pairwise(["", *text.split(), ""]))


@pytest.mark.parametrize("min_count", [0, 1, 4])
def test_every_pair_of_words_and_every_value_often_enough(tmp_path: Path, min_count: int) -> None:
    small = sampler(tmp_path)
    possible = {pair for command in small.all_commands() for pair in pairs(command.text)}
    commands = small.sample(300, min_count=min_count, rng=np.random.default_rng(0))
    assert len(commands) == 300
    for pair in possible:
        assert sum(pair in pairs(command.text) for command in commands) >= min_count, pair
    assert {pair for command in commands for pair in pairs(command.text)} <= possible
    for slot, values in (("area", ("kitchen", "lounge", "TV corner")), ("minutes", (20, 21, 22)), ("hour", (2, 3))):
        for value in values:
            assert sum(command.slots.get(slot) == value for command in commands) >= min_count


def test_covering_needs_few_sentences(tmp_path: Path) -> None:
    """Drawn freely, a hundred values of a list would need about 500 sentences to be there each."""
    text = """
language: en
intents:
  A: {data: [{sentences: ["say {number} now"]}]}
lists:
  number: {range: {from: 1, to: 99}}
"""
    commands = sampler(tmp_path, text).sample(99, min_count=1, rng=np.random.default_rng(0))
    assert {command.slots["number"] for command in commands} == set(range(1, 100))


def test_a_small_grammar_is_enumerated(tmp_path: Path) -> None:
    small = sampler(tmp_path)
    commands = small.sample(60, min_count=0, rng=np.random.default_rng(0))
    assert {command.text for command in commands} == {command.text for command in small.all_commands()}


def test_too_few_sentences_to_cover(tmp_path: Path) -> None:
    with pytest.raises(
        GrammarError, match=r"grammar\.yaml: 20 sentences; expected at least \d+, for each of \d+ choices"
    ):
        sampler(tmp_path).sample(20, min_count=5, rng=np.random.default_rng(0))


def test_the_same_seed_gives_the_same_sentences(tmp_path: Path) -> None:
    first, second = (sampler(tmp_path).sample(80, min_count=2, rng=np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != sampler(tmp_path).sample(80, min_count=2, rng=np.random.default_rng(8))


words = st.sampled_from(["a", "bee", "see", "dee"])
templates = st.recursive(
    words,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(" ".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        inner.map(lambda part: f"[{part}]"),
        st.tuples(words, words).map(lambda two: f"{two[0]}[{two[1]}]"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]};{two[1]})"),
    ),
    max_leaves=7,
)


@settings(max_examples=150, deadline=None)
@given(template=templates)
def test_any_template_gives_what_hassil_gives(tmp_path_factory: pytest.TempPathFactory, template: str) -> None:
    path = write_grammar(
        tmp_path_factory.mktemp("any"), f'language: en\nintents: {{A: {{data: [{{sentences: ["go {template}"]}}]}}}}\n'
    )
    any_sampler = Sampler(load_grammar(path))
    texts = {command.text for command in any_sampler.all_commands()}
    assert texts == {text for _, text in by_hassil(path)}
    # each pair that the sampler knows of is one of a sentence, and the other way round
    known = {item for item in any_sampler.items if isinstance(item, tuple)}
    assert known == {pair for text in texts for pair in pairs(text)}


@pytest.mark.parametrize("path", GRAMMARS, ids=lambda path: path.stem)
def test_shipped_grammars_are_recognised_by_hassil(path: Path) -> None:
    """A sentence drawn is one that hassil takes for a command of the same intent."""
    intents = Intents.from_files([path])
    commands = Sampler(load_grammar(path)).sample(60, min_count=0, rng=np.random.default_rng(0))
    for command in commands:
        results = list(recognize_all(command.spoken, intents, language="en"))
        assert command.intent in {result.intent.name for result in results}, command
        assert normalize_transcript(command.text) == command.text


@pytest.mark.parametrize("path", GRAMMARS, ids=lambda path: path.stem)
def test_shipped_grammars_are_commands_worth_learning(path: Path) -> None:
    shipped = Sampler(load_grammar(path))
    assert shipped.num_sentences > 300
    assert not [word for word in shipped.words if not word.replace("'", "").isascii() or word.isdigit()]
    assert len(shipped.words) >= 10


def test_numbers_as_people_say_them() -> None:
    assert number_words(21, "en") == ("twenty-one",)
    assert number_words(105, "en") == (
        "one hundred five",
        "one hundred and five",
    )
    assert number_words(18.5, "en") == ("eighteen point five",)
    assert number_words(21, "de") == ("einundzwanzig",)


HEAD = "language: en\nintents:\n  A:\n    data:\n      - sentences:\n          - "
SENTENCE = r"intents\.A\.data\.0\.sentences\.0"
FLAT = "intents: {A: {data: [{sentences: [go]}]}}\n"
NOT_THE_FORM = {  # keys and types
    FLAT: "yaml:1: 'language' is missing; this key is required",
    "": "yaml:1: found None; expected language: and intents:, and perhaps lists: and expansion_rules:",
    "language: [\n": r"yaml:2: not a YAML file: while parsing a flow node, .*; expected YAML, indented with spaces",
    "language: \0\n": "yaml: not a YAML file: unacceptable character .*; expected YAML, indented",
    "language: en\nlanguage: de\n"
    + FLAT: "yaml:2: language: .* there twice, the same key as in line 1; expected each once",
    "language: en\nlanguages: en\n" + FLAT: "yaml:2: languages: unknown key; did you mean 'language'",
    HEAD.replace("sentences", "sentence")
    + "go": r"yaml:6: intents\.A\.data\.0\.sentence: unknown key; did you mean 's",
    HEAD.replace("data", "dat") + "go": r"intents\.A\.dat: unknown key; did you mean 'data'",
    HEAD + "go\nlists:\n  x: {value: [a]}": r"yaml:8: lists\.x\.value: unknown key; did you mean 'values'",
    HEAD + "go\nlists:\n  x: {values: [{inn: a}]}": r"yaml:8: lists\.x\.values\.0\.inn: unknown key; did you mean 'in'",
    HEAD + "go\nlists:\n  x: {range: {from: 1, to: 2, stop: 3}}": r"yaml:8: lists\.x\.range\.stop: unknown key",
    HEAD + "true": rf"yaml:6: {SENTENCE}: YAML reads true as yes; expected words; put it in quotes: 'true'",
    HEAD + "5": rf"yaml:6: {SENTENCE}: found the number 5; expected words, as they are spoken; write them in letters",
    HEAD + "": rf"yaml:6: {SENTENCE}: found nothing; expected words",
    HEAD + "[go]": rf"yaml:6: {SENTENCE}: found \['go'\]; expected a template in quotes, such as",
    HEAD
    + "go\nlists:\n  x: {values: [up, null]}": r"yaml:8: lists\.x\.values\.1: YAML reads null as nothing; .*: 'null'",
    HEAD + "go\nlists:\n  x: {values: []}": r"yaml:8: lists\.x\.values: it is empty; expected one at least; write some",
    HEAD
    + "go\nlists:\n  x: [a, b]": r"yaml:8: lists\.x: found \['a', 'b'\]; expected values: \[\.\.\.\], or range: {fro",
    HEAD + "go\nlists:\n  x: {range: 5}": r"yaml:8: lists\.x\.range: found 5; expected {from: 1, to: 9}, perhaps with",
    "language: en\nintents:\n  A: [go]": r"yaml:3: intents\.A: found \['go'\]; expected data: and a list of blocks",
    HEAD.replace("\n          - ", " ")
    + "go": r"yaml:5: .*\.sentences: found 'go'; expected a list: \[go\], or each in",
    HEAD
    + "go\n        metadata: {weight: 0}": r"yaml:7: intents\.A\.data\.0\.metadata: .*weight 0; expected a number abo",
}
NO_TEMPLATE = {  # what hassil cannot parse; all of it is said at once
    HEAD + "''": rf"yaml:6: {SENTENCE}: it is empty; expected words; write some, or leave it out",
    HEAD + "go <x>\nexpansion_rules:\n  x: ''": r"yaml:8: expansion_rules\.x: it is empty; expected words; write some",
    HEAD + "(go\n          - go]": r"(?s)yaml:6: .*'\(go' is no template.*yaml:7: .*'go\]' is no template",
    HEAD + "go (there": rf"yaml:6: {SENTENCE}: 'go \(there' is no template",
    HEAD + "go\nexpansion_rules:\n  x: 'a]'": r"yaml:8: expansion_rules\.x: 'a\]' is no template",
    HEAD + "go {x}\nlists:\n  x: {}": r"yaml:8: lists\.x: 'x' is no list",
    HEAD
    + "go {x}\nlists:\n  x: {range: {from: 3, to: 1}}": r"yaml:8: lists\.x\.range: from 3 to 1; expected the smaller",
}
NO_SENTENCES = {  # names that lead nowhere, and what cannot be spoken
    HEAD + "go {plac}\nlists:\n  place: {values: [home]}": "yaml:6: .*: no list {plac}; did you mean 'place'",
    HEAD + "go {place}": r"yaml:6: .*: no list {place}; expected one of \(none\)",
    HEAD + "go <there>": r"yaml:6: .*: no expansion rule <there>; expected one of \(none\)",
    HEAD + "go <a>\nexpansion_rules: {a: x <b>, b: y <a>}": "yaml:6: .*: <a> -> <b> -> <a> never ends",
    HEAD + "go {x}\n          - run <y>": r"(?s)yaml:6: .*: no list {x}.*yaml:7: .*: no expansion rule <y>",
    HEAD + "go <a>\nexpansion_rules:\n  a: 'x {b}'": r"yaml:6: .*, in <a>: no list {b}; expected one of \(none\)",
    HEAD + "go {x}\nlists:\n  x: {wildcard: true}": r"yaml:6: .*: list {x} is a wildcard, .*; expected values: ",
    HEAD.replace("en", "xx", 1) + "go {1..3:x}": "yaml:6: .*: the numbers of {1..3} in language 'xx'",
    HEAD + "(a;b;c;d;e;f)": "yaml:6: .*: 6 parts in any order; expected at most 5",
    HEAD + "'[go]'": rf"yaml:6: {SENTENCE}: it has a sentence without words; expected one word at least",
    HEAD + "(go|...)": rf"yaml:6: {SENTENCE}: it has a sentence without words; expected one word at least",
}


@pytest.mark.parametrize(("text", "message"), (NOT_THE_FORM | NO_TEMPLATE | NO_SENTENCES).items())
def test_faults_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        sampler(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=r"none\.yaml: no such file; expected a grammar of sentence templates"):
        load_grammar(tmp_path / "none.yaml")


def test_without_hassil_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hassil", None)
    with pytest.raises(GrammarError, match=r"need the package hassil.*pip install 'earshot\[commands\]'"):
        load_grammar(write_grammar(tmp_path))


def test_templates_need_no_torch() -> None:
    import subprocess

    code = "import sys, asr.grammar.templates, asr.grammar.sampling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
