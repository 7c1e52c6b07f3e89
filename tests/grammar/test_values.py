"""What a grammar's file says is what its commands mean: values, context, skip words; and what grows is refused."""

import time
from pathlib import Path

import numpy as np
import pytest

from asr.grammar.exporters import export_jsgf
from asr.grammar.file import GrammarError
from asr.grammar.importers import import_jsgf, write_grammar_file
from asr.grammar.network import word_graph
from asr.grammar.parsing import SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.understanding.values import same_value
from tests.grammar.test_templates import sampler, write_grammar

HEAD = "language: en\nintents:\n  A:\n    data:\n      - sentences:\n          - "

CLOCK = """
language: en
intents:
  Alarm:
    data:
      - sentences: ["wake me at {time}"]
        slots: {state: off, code: 0123, when: 07:30, version: 1.10, level: -3, ratio: 0.5, flag: true}
lists:
  time:
    values:
      - {in: noon, out: 12:00}
      - {in: "half past seven", out: "07:30"}
      - {in: never, out: no}
      - {in: see sharp, out: "C#"}
"""


def test_values_are_what_is_written(tmp_path: Path) -> None:
    commands = {command.text: command.slots for command in sampler(tmp_path, CLOCK).all_commands()}
    assert {slots["time"] for slots in commands.values()} == {"12:00", "07:30", "no", "C#"}
    slots = commands["wake me at noon"]
    del slots["time"]
    expected = {"state": "off", "code": "0123", "when": "07:30", "version": "1.10", "level": -3, "ratio": 0.5}
    assert slots == {**expected, "flag": True}


@pytest.mark.parametrize(
    ("numbers", "values"),
    [
        ("{from: 1, to: 9, multiplier: 0.1}", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("{from: -2, to: 2}", [-2, -1, 0, 1, 2]),
        ("{from: -1, to: 1, fractions: halves}", [-1, -0.5, 0, 0.5, 1, 1.5]),
        ("{from: -3, to: -1, multiplier: -0.1}", [0.3, 0.2, 0.1]),
        ("{from: 4, to: 4, fractions: tenths}", [4, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9]),
        ("{from: 0, to: 100, step: 50, multiplier: 2.55}", [0, 127.5, 255]),
        ("{from: 7, to: 7, multiplier: 0}", [0]),
    ],
)
def test_ranges_are_exact_decimals(tmp_path: Path, numbers: str, values: list[float]) -> None:
    text = HEAD + f"'set {{g}}'\nlists:\n  g: {{range: {numbers}}}\n"
    found = list(dict.fromkeys(command.slots["g"] for command in sampler(tmp_path, text).all_commands()))
    assert [repr(value) for value in found] == [repr(value) for value in values]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (21, "21"),
        (21.0, "21"),
        ("Living  Room", "living room"),
        ("don’t", "don't"),
        (0.1 * 3, 0.3),
        (True, "true"),
        (-3, "-3"),
        ("ＡＣ", "ac"),
        ([1, "A"], ["1", "a"]),
        (2.5, "2.50"),
    ],
)
def test_values_that_are_the_same(one: object, other: object) -> None:
    assert same_value(one, other)
    assert same_value(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (-3, 3),
        ("-3", 3),
        ("C#", "C"),
        ("C++", "C"),
        ("1.10", "1.1"),
        ("0123", 123),
        ("$5", 5),
        ("12:00", 1200),
        ("50%", 50),
        (None, "none"),
        (None, None),
        (True, 1),
        (False, 0),
        (1, 2),
        ("a", 1),
        ([1], 1),
        ([1], [1, 2]),
        (10**17, 10**17 + 1),
    ],
)
def test_values_that_differ(one: object, other: object) -> None:
    assert not same_value(one, other)
    assert not same_value(other, one)


HOME = """
language: en
intents:
  Light:
    data:
      - sentences: ["(turn|switch) {name} {state}"]
        requires_context: {domain: light}
  Cover:
    data:
      - sentences: ["open {name}"]
        requires_context: {domain: {value: [cover, lock], slot: true}, floor: {slot: level}}
  Other:
    data:
      - sentences: ["what is {name}"]
        excludes_context: {domain: [light, cover]}
lists:
  state: {values: [on, off]}
  name:
    values:
      - {in: desk lamp, context: {domain: light, floor: 1}}
      - {in: garage door, context: {domain: cover, floor: 0}}
      - {in: front door, context: {domain: {value: lock}}}
      - radio
"""


def test_context_is_required_and_excluded_as_hassil_does(tmp_path: Path) -> None:
    commands = {command.text: command.slots for command in sampler(tmp_path, HOME).all_commands()}
    assert commands == {
        **{
            f"{verb} desk lamp {s}": {"name": "desk lamp", "state": s}
            for verb in ("turn", "switch")
            for s in ("on", "off")
        },
        "open garage door": {"name": "garage door", "domain": "cover", "level": 0},
        "what is front door": {"name": "front door"},
        "what is radio": {"name": "radio"},
    }
    parser = SentenceParser(load_grammar(write_grammar(tmp_path, HOME)))
    assert parser.parse("turn garage door on") == []
    assert parser.parse("open garage door")[0].slots == {"name": "garage door", "domain": "cover", "level": 0}


def test_sentences_are_those_that_hassil_recognises(tmp_path: Path) -> None:
    from hassil import recognize_all
    from hassil.intents import Intents

    path = write_grammar(tmp_path, HOME.replace("[on, off]", '["on", "off"]'))
    parser, intents = SentenceParser(load_grammar(path)), Intents.from_files([path])
    names = ("desk lamp", "garage door", "front door", "radio")
    texts = [f"turn {name} on" for name in names] + [f"{verb} {name}" for verb in ("open", "what is") for name in names]
    for text in texts:
        by_hassil = {result.intent.name for result in recognize_all(text, intents, language="en")}
        assert {meaning.intent for meaning in parser.parse(text)} == by_hassil, text


def test_a_later_value_s_context_counts_and_a_list_s_own_slot(tmp_path: Path) -> None:
    text = HEAD + (
        "'go {a} [{b}] [{room}]'\n        requires_context: {kind: {slot: room}}\n"
        "lists:\n  a: {values: [{in: one, context: {kind: x}}, two]}\n"
        "  b: {values: [{in: three, context: {kind: y}}]}\n  room: {values: [hall]}\n"
    )
    commands = {command.text: command.slots.get("room") for command in sampler(tmp_path, text).all_commands()}
    assert commands == {
        "go one": "x",
        "go one three": "y",
        "go two three": "y",
        **{f"{text} hall": "hall" for text in ("go one", "go one three", "go two three")},
    }
    assert load_grammar(write_grammar(tmp_path, text)).templates["A", 0].is_partial
    with pytest.raises(GrammarError, match="lack the context that they require, which JSGF cannot say"):
        export_jsgf(write_grammar(tmp_path, text))


POLITE = """
language: en
skip_words: [please, "would you", Please!]
intents:
  Light: {data: [{sentences: ["turn on the light[s]", "please wait"]}]}
  Set: {data: [{sentences: ["set {n}"], response: done, metadata: {level: 2, weight: 2}}]}
lists:
  n: {range: {from: 21, to: 22}}
"""


def test_skip_words_may_stand_before_each_word_and_at_the_end(tmp_path: Path) -> None:
    path = write_grammar(tmp_path, POLITE)
    grammar = load_grammar(path)
    graph, parser = word_graph(grammar), SentenceParser(grammar)
    sentences = {" ".join(words) for words, _ in graph.sentences()}
    assert {"please turn on the light", "turn on would you the lights please", "set twenty please one"} <= sentences
    # either of two, or none, at each of five places
    assert sum(text.count("lights") for text in sentences) == 3**5
    for text in sentences:
        (meaning, *_) = parser.parse(text)
        assert (meaning.intent == "Set") == ("set" in text)
    # What is said literally counts before what is skipped, and what is skipped twice is skipped as hassil does.
    assert graph.weigh(["please", "wait"]) == pytest.approx(0, abs=1e-5)
    assert parser.parse("please would you please set twenty two")[0].slots == {"n": 22}
    assert parser.parse("please") == []
    assert (parser.parse("set twenty one")[0].response, parser.parse("set twenty one")[0].metadata) == (
        "done",
        {"level": 2},
    )


def test_skip_words_are_spoken_often_enough(tmp_path: Path) -> None:
    polite = sampler(tmp_path, POLITE)
    assert {"please", "would", "you"} <= set(polite.words)
    commands = polite.sample(60, min_count=3, rng=np.random.default_rng(0))
    assert sum("would you" in command.text for command in commands) >= 3
    parser = SentenceParser(polite.grammar)
    for command in commands:
        assert command.intent in {meaning.intent for meaning in parser.parse(command.text)}, command
    with pytest.raises(GrammarError, match=r"8 sentences; expected at least \d+"):
        polite.sample(8, min_count=3, rng=np.random.default_rng(0))


def test_skip_words_are_exported(tmp_path: Path) -> None:
    path = write_grammar(tmp_path, POLITE.replace(", weight: 2", "").replace(', "please wait"', ""))
    (tmp_path / "x.jsgf").write_text(export_jsgf(path))
    write_grammar_file(tmp_path / "x.yaml", import_jsgf(tmp_path / "x.jsgf"), source="a test")
    exported = {words for words, _ in word_graph(load_grammar(tmp_path / "x.yaml")).sentences()}
    assert exported == {words for words, _ in word_graph(load_grammar(path)).sentences()}


ALL = "go {x}\n"
UNUSED = {
    ALL + "responses: {}\nlists: {x: {values: [a]}}": r"yaml:7: responses: this key has no use here; expected it left",
    "go\n        required_keywords: [go]": r"yaml:7: .*required_keywords: this key has no use here",
    "go\n        name_domains: [light]": r"yaml:7: .*name_domains: this key has no use here.*requires_context",
    "go\n        inferred_domain: light": r"yaml:7: .*inferred_domain: this key has no use here",
    "go\nskip_word: [a]": r"yaml:7: skip_word: unknown key; did you mean 'skip_words'",
    "go\nskip_words: ['!']": r"yaml:7: skip_words\.0: '!' has no words; expected some",
    "go\nsettings: {ignore_whitespace: true}": r"yaml:7: settings\.ignore_whitespace: found True",
    "go\nsettings: {ignore_white: true}": r"yaml:7: settings\.ignore_white: unknown key; did you mean 'ignore_whitespace'",  # noqa: E501
    "go\n        requires_contxt: {a: b}": r"yaml:7: .*requires_contxt: unknown key; did you mean 'requires_context'",
    "go\n        requires_context: {a: {valu: b}}": r"yaml:7: .*requires_context\.a\.valu: unknown key; did you mean 'v",  # noqa: E501
    "go\n        requires_context: {domain: light}": r"yaml:6: .*no sentence has the context .*\(domain\); expected a",
    "go {x}\nlists: {x: {values: [a], wildcard: true}}": r"yaml:7: lists\.x: it has values and wildcard; expected one",
    "go {x}\nlists: {x: {values: [{in: a, metadata: {wieght: 2}}]}}": "wieght: unknown key; did you mean 'weight'",
    "go {x}\nlists: {x: {values: [{in: a, context: {b: [1]}}]}}": r"yaml:7: lists\.x\.values\.0\.context\.b",
    "go {x}\nlists: {x: {values: [' ']}}": r"yaml:7: lists\.x\.values\.0: it is empty; expected words",
    "go {x}\nlists: {x: {range: {from: 1, to: 2, words: false}}}": r"range\.words: found False",
    "go {x}\nlists: {x: {range: {from: 1, to: 2, type: volume}}}": r"range\.type: found 'volume'",
    "go {x}\nlists: {x: {range: {from: 1, to: 1000000000000000000}}}": r"range\.to: found 1000000000000000000; input",
}


@pytest.mark.parametrize(("text", "message"), UNUSED.items())
def test_a_key_that_would_change_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        load_grammar(write_grammar(tmp_path, HEAD + text))


def chain(rule: str, number: int) -> str:
    return "".join(f"  r{each}: {rule.format(each - 1)}\n" for each in range(1, number + 1))


OPTIONALS = "'go " + " ".join(f"[w{n}]" for n in range(1000)) + "'"
ALTERNATIVES = "'go " + " ".join(f"(a{n}|b{n}|)" for n in range(700)) + "'"
TOO_LARGE = {
    "doubling rules": (
        "go <r30>\nexpansion_rules:\n  r0: a\n" + chain("<r{0}> <r{0}>", 30),
        r"<r\d+> makes a network of \d+,\d+ nodes; expected at most",
    ),
    "rules in rules": ("go <r2000>\nexpansion_rules:\n  r0: a\n" + chain("<r{0}>", 2000), "more than 40 rules deep"),
    "a range": ("go {x}\nlists: {x: {range: {from: 1, to: 1000000000}}}", r"list {x} has 1,000,000,000 numbers"),
    "a range inline": ("'go {1..1000000000:x}'", r"list {1\.\.1000000000} has 1,000,000,000 numbers"),
    "no range": ("'go {5..1:x}'", r"{5\.\.1} has no numbers; expected"),
    "permutations": ("'((a;b;c;d;e);(f;g;h;i;j);(k;l;m;n;o);(p;q;r;s;t);u)'", "makes a network of 2,0.* nodes"),
    "optionals": (
        "'go " + " ".join(f"[w{n}]" for n in range(1000)) + "'",
        "a template that makes",
    ),
    "alternatives": (ALTERNATIVES, "a template that makes the search"),
    "brackets": ("'" + "(" * 3000 + "a" + ")" * 3000 + "'", "brackets 3000 deep; expected at most"),
    "lists in lists": (
        "'go {a} {a}'\nlists:\n  a: {values: [" + ",".join(f"'{{b}} x{n}'" for n in range(500)) + "]}\n"
        "  b: {values: [" + ",".join(f"y{n}" for n in range(500)) + "]}\n",
        r"makes a network of [\d,]+ nodes",
    ),
    "values": (
        "'go {x}'\nlists:\n  x:\n    values:\n" + "".join(f"      - value {n}\n" for n in range(60_000)),
        r"yaml:9: lists\.x: 60,000 values, .*; expected at most 50,000",
    ),
    "many templates": (
        "a\n" + "".join(f"          - 'b{n} {{x}}'\n" for n in range(300)) + "lists: {x: {range: {from: 1, to: 999}}}",
        "with it the grammar makes a network of",
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_grammar_that_grows_is_refused_soon_and_what_grows_is_named(tmp_path: Path, name: str) -> None:
    text, message = TOO_LARGE[name]
    path, start = write_grammar(tmp_path, HEAD + text), time.process_time()
    with pytest.raises(GrammarError, match=message):
        word_graph(load_grammar(path))
    assert time.process_time() - start < 10


def test_a_network_that_contexts_multiply_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.grammar.building.MAX_NODES", 5)
    with pytest.raises(GrammarError, match="with it the network has more than 10 nodes"):
        load_grammar(write_grammar(tmp_path, POLITE))


def test_a_list_of_many_values_is_read(tmp_path: Path) -> None:
    text = HEAD + "'go {x}'\nlists:\n  x:\n    values:\n" + "".join(f"      - value w{n}\n" for n in range(20_000))
    assert word_graph(load_grammar(write_grammar(tmp_path, text))).num_sentences == 20_000


def test_the_sampler_draws_no_sentence_without_its_context(tmp_path: Path) -> None:
    drawn = Sampler(load_grammar(write_grammar(tmp_path, HOME))).sample(50, min_count=2, rng=np.random.default_rng(1))
    assert {command.text for command in drawn if command.intent == "Cover"} == {"open garage door"}
