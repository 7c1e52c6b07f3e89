"""Grammars of others: the same sentences with the same meaning, or an error that says why not."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asr.commands import main
from asr.grammar.exporters import export_jsgf
from asr.grammar.file import GrammarError
from asr.grammar.importers import (
    import_home_assistant,
    import_jsgf,
    import_phrases,
    import_rhino,
    read_lists,
    write_grammar_file,
)
from asr.grammar.jsgf import read_jsgf
from asr.grammar.network import word_graph
from asr.grammar.parsing import Meaning, SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.templates import Grammar, load_grammar

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"


def written(folder: Path, values: dict[str, Any]) -> Grammar:
    write_grammar_file(folder / "imported.yaml", values, source="a test")
    return load_grammar(folder / "imported.yaml")


def source(folder: Path, text: str) -> Path:
    path = folder / "source"
    path.write_text(text, encoding="utf-8")
    return path


def meanings(grammar: Grammar) -> dict[str, tuple[str, dict[str, Any]]]:
    return {command.text: (command.intent, command.slots) for command in Sampler(grammar).all_commands()}


def test_the_shipped_barista_is_the_benchmark_s_language(shared_data: Path, tmp_path: Path) -> None:
    """The smallest graph of a language is unique: equal graphs are equal languages."""
    original = written(tmp_path, import_rhino(shared_data / "barista" / "coffee_maker.yaml"))
    shipped = load_grammar(COMMANDS / "barista.yaml")
    graph = word_graph(shipped)
    assert graph == word_graph(original)
    sampler = Sampler(shipped)
    assert graph.num_sentences == sampler.num_sentences == 120_130_920
    parsers = SentenceParser(shipped), SentenceParser(original)
    for command in sampler.sample(100, min_count=0, rng=np.random.default_rng(0)):
        for parser in parsers:
            assert parser.parse(command.text) == [Meaning(command.intent, command.slots)]


RHINO = """
context:
  expressions:
    changeColor:
      - "[turn, switch the] (all) lights @to $color:color"
      - make it $color:shade (and $pv.SingleDigitInteger:level, please)
    turn: ["lights $state:state"]
  slots:
    color: [red, "deep blue"]
    state: [on, off]
  macros:
    to: ["[to, into]"]
"""


def test_a_rhino_context(tmp_path: Path) -> None:
    found = meanings(written(tmp_path, import_rhino(source(tmp_path, RHINO))))
    assert len(found) == 2 * 2 * 2 * 2 + 2 * (1 + 10 + 1) + 2
    assert found["turn all lights into deep blue"] == ("changeColor", {"color": "deep blue"})
    assert found["switch the lights to red"] == ("changeColor", {"color": "red"})
    assert found["make it red and seven"] == ("changeColor", {"shade": "red", "level": 7})
    assert found["make it red please"] == ("changeColor", {"shade": "red"})
    assert found["lights off"] == ("turn", {"state": "off"})  # a word, not YAML's false


JSGF = """#JSGF V1.0 UTF-8 en;
/* a kitchen
   robot */
grammar kitchen;
public <cook> = /3/ <please> (cook | boil {verb}) [the] <food> | /0.5/ stop "cooking; now" ; // two ways
<please> = please | <NULL>;
<food.kind> = rice;
<food> = <food.kind> | eggs {egg};
public <wait> = wait;
"""


def test_a_jsgf_grammar(tmp_path: Path) -> None:
    values = import_jsgf(source(tmp_path, JSGF))
    grammar = written(tmp_path, values)
    found = meanings(grammar)
    assert set(found) == {"wait", "stop cooking now"} | {
        " ".join(f"{please} {verb} {the} {food}".split())
        for please in ("please", "")
        for verb in ("cook", "boil")
        for the in ("the", "")
        for food in ("rice", "eggs")
    }
    assert {intent for intent, _ in found.values()} == {"cook", "wait"}
    weights = dict(word_graph(grammar).sentences())
    assert weights["cook", "eggs"] == pytest.approx(np.log(3))
    assert weights["stop", "cooking", "now"] == pytest.approx(np.log(0.5))
    assert weights[("wait",)] == pytest.approx(0)


PUBLIC = "#JSGF V1.0;\ngrammar a;\npublic <a> = "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#JSGF V1.0;\ngrammar a;\n<a> = b;", "no public rule; expected one at least"),
        (
            "#JSGF V1.0;\nimport <b.c>;\n",
            "source:2: imports are not read; expected the imported rules in this file",
        ),
        (PUBLIC + "b", "source:3: 'public a = b' ... has no end; expected a ; after each rule"),
        (PUBLIC + "b <c>;\n<d> = e;", "source:3: no rule <c>; expected one of a, d"),
        (PUBLIC + "b+;", r"source:3: '\+' repeats without end; expected a grammar of finite"),
        (PUBLIC + "<VOID>;", "source:3: <VOID> can never be said"),
        (PUBLIC + "/0/ b | c;", "source:3: weight /0/; expected a number above 0"),
        (PUBLIC + "/1e/ b | c;", "source:3: weight /1e/; expected a number above 0"),
        (PUBLIC + "(b | [c);", r"source:3: '\[' without its '\]'; expected brackets in pairs"),
        (PUBLIC + "b) c;", r"source:3: '\)' without its opening"),
        (PUBLIC + "b > c;", "source:3: cannot be read at '> c"),
        (PUBLIC + "/2/ b | c;", "source:3: some alternatives have a weight; expected one before each"),
        (PUBLIC + "b | ;", "source:3: an alternative of <a> is empty; expected words, or <NULL>"),
        (PUBLIC + "b = c;", "source:3: '=' in the midst of <a>; expected words and <rules>"),
        (PUBLIC + "b;\n<a> = c;", "source:4: rule <a> is there already; expected each name once"),
        (PUBLIC + "b;\n<NULL> = c;", "source:4: rule <NULL> is there already"),
        (PUBLIC + "b;\nc;", r"source:4: 'c' is no rule; expected \[public\] <name>"),
        (PUBLIC + "(" * 50 + "b" + ")" * 50 + ";", "source:3: brackets more than 40 deep"),
        ("#JSGF V1.0\ngrammar a", "source:1: the first line has no end; expected #JSGF V1.0 UTF-8 en;"),
        ("#JSGF V1.0 EBCDIC-9;\n<a> = b;", "source:1: encoding 'EBCDIC-9'; expected one that exists"),
        ("#JSGF V1.0 ASCII;\n<a> = ä;", "source: not in ASCII at byte 24; expected the encoding that its first line"),
    ],
)
def test_faults_of_a_jsgf_grammar_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        import_jsgf(source(tmp_path, text))


def test_names_of_jsgf_that_templates_cannot_have_are_kept_apart(tmp_path: Path) -> None:
    text = PUBLIC + "go <a.b> | stay <a_b> | run <a-b>;\n<a.b> = one;\n<a_b> = two;\n<a-b> = three;\npublic <x.y> = z;"
    grammar = written(tmp_path, import_jsgf(source(tmp_path, text)))
    assert meanings(grammar) == {
        "go one": ("a", {}),
        "stay two": ("a", {}),
        "run three": ("a", {}),
        "z": ("x.y", {}),
    }


def test_weights_of_jsgf_count_wherever_they_stand(tmp_path: Path) -> None:
    text = PUBLIC + "go (/2/ up | /0.5/ (/3/ down | /5/ <NULL>) now) [/7/ please | /1/ then] <w>;\n<w> = /4/ a | /9/ b;"
    grammar = written(tmp_path, import_jsgf(source(tmp_path, text)))
    weights = {" ".join(words): float(np.exp(weight)) for words, weight in word_graph(grammar).sentences()}
    assert weights == {
        f"go {way}{then} {w}": pytest.approx(one * two * three, rel=1e-6)
        for way, one in (("up", 2), ("down now", 1.5), ("now", 2.5))
        for then, two in (("", 1), (" please", 7), (" then", 1))
        for w, three in (("a", 4), ("b", 9))
    }
    again = tmp_path / "again"
    again.mkdir()
    (again / "x.jsgf").write_text(export_jsgf(grammar.path), encoding="utf-8")
    assert word_graph(written(again, import_jsgf(again / "x.jsgf"))) == word_graph(grammar)


@pytest.mark.parametrize(
    ("content", "language"),
    [
        ("#JSGF V1.0 UTF-8 de;\ngrammar a;\npublic <a> = grün;".encode(), "de"),
        ("\ufeff#JSGF V1.0 UTF-8 de-AT;\ngrammar a;\npublic <a> = grün;".encode(), "de-AT"),
        ("#JSGF V1.0 ISO8859-1 de;\ngrammar a;\npublic <a> = grün;".encode("latin-1"), "de"),
        ("#JSGF V1.0 UTF-16 de;\ngrammar a;\npublic <a> = grün;".encode("utf-16"), "de"),
        ("#JSGF V1.0;\ngrammar a;\npublic <a> = grün;".encode(), "en"),
        ("grammar a;\npublic <a> = grün;".encode(), "en"),
    ],
)
def test_a_jsgf_header_s_encoding_and_language_count(tmp_path: Path, content: bytes, language: str) -> None:
    (tmp_path / "source").write_bytes(content)
    grammar = written(tmp_path, import_jsgf(tmp_path / "source"))
    assert (grammar.language, set(meanings(grammar))) == (language, {"grün"})
    assert export_jsgf(grammar.path).startswith(f"#JSGF V1.0 UTF-8 {language};\n")


def test_quotes_escapes_comments_and_tags_of_jsgf(tmp_path: Path) -> None:
    text = PUBLIC + r"""say "a (b); \"c\" // d" {tag \} // no comment; } /* * ; */ | "x | y" {t};  // the end;"""
    path = source(tmp_path, text)
    assert set(meanings(written(tmp_path, import_jsgf(path)))) == {"say a b c d", "x y"}
    assert read_jsgf(path).num_tags == 2
    assert main(["import", "jsgf", str(path), "--output", str(tmp_path / "out.yaml")]) == 0


def test_a_jsgf_file_is_measured_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.grammar.jsgf.MAX_BYTES", 10)
    with pytest.raises(GrammarError, match="bytes; expected at most 10 of JSGF"):
        read_jsgf(source(tmp_path, JSGF))
    with pytest.raises(GrammarError, match="none: no such file; expected a grammar to import"):
        read_jsgf(tmp_path / "none")


def test_doubling_rules_of_jsgf_are_refused_by_name(tmp_path: Path) -> None:
    rules = "".join(f"<r{n}> = <r{n - 1}> <r{n - 1}>;\n" for n in range(1, 30))
    values = import_jsgf(source(tmp_path, PUBLIC + f"<r29>;\n<r0> = b;\n{rules}"))
    with pytest.raises(GrammarError, match=r"<r\d+> makes a network of [\d,]+ nodes"):
        write_grammar_file(tmp_path / "out.yaml", values, source="a test")


@given(text=st.text(st.sampled_from('ab<>()[]|/=;*+{}"\\ \n.1'), max_size=50))
def test_any_jsgf_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = source(tmp_path_factory.mktemp("any"), PUBLIC + text)
    try:
        values = import_jsgf(path)
    except GrammarError:
        return
    assert values["intents"]


def test_a_rule_that_never_ends_is_refused_when_written(tmp_path: Path) -> None:
    values = import_jsgf(source(tmp_path, PUBLIC + "b <c>;\n<c> = d <c>;"))
    with pytest.raises(GrammarError, match="<c> -> <c> never ends"):
        write_grammar_file(tmp_path / "out.yaml", values, source="a test")
    assert not (tmp_path / "out.yaml").exists()


def test_phrases(tmp_path: Path) -> None:
    text = "# commands\nlights on\nstop!   # at once\nStop\thalt now\n\nlights on\n"
    found = meanings(written(tmp_path, import_phrases(source(tmp_path, text))))
    assert found == {"lights on": ("LightsOn", {}), "stop": ("Stop", {}), "halt now": ("Stop", {})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nlights (on)", r"source:2: 'lights \(on\)' has a sign of templates"),
        ("# none\n", "no phrases; expected one"),
        ("lights on\n" * 900_000, "9,000,000 bytes; expected at most 8,388,608 of phrases"),
    ],
)
def test_phrases_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        import_phrases(source(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b", "no context with expressions; expected the YAML file of a Rhino context"),
        ("a: [", "not a YAML file"),
        (
            "context: {expressions: {a: ['go $colour:x']}, slots: {color: [red]}}",
            r"no slot type \$colour; did you mean",
        ),
        ("context: {expressions: {a: ['go @b']}}", r"no macro @b; expected one of \(none\)"),
        ("context: {expressions: {a: ['go $x']}}", r"cannot be read at '\$x'; expected \$type:slot"),
    ],
)
def test_faults_of_a_rhino_context_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        import_rhino(source(tmp_path, text))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match="none: no such file; expected a grammar to import"):
        import_phrases(tmp_path / "none")


HOME = """
area: [kitchen, {in: living room, out: lounge}]
name:
  - {in: desk lamp, context: {domain: light}}
  - {in: front door, context: {domain: lock}}
"""


def test_home_assistant_s_intents_over_the_lists_of_a_home(tmp_path: Path) -> None:
    pytest.importorskip("home_assistant_intents")
    values, left_out = import_home_assistant("en", read_lists(source(tmp_path, HOME)))
    parser = SentenceParser(written(tmp_path, values))
    (light,) = parser.parse("turn on the kitchen lights")
    assert (light.intent, light.slots) == ("HassTurnOn", {"area": "kitchen", "domain": "light"})
    assert "HassTurnOn" in {each.intent for each in parser.parse("turn on the desk lamp")}
    # a lock is no lamp: its templates ask for the domain
    brightness = "set the {} brightness to ten percent"
    assert [each.slots["name"] for each in parser.parse(brightness.format("desk lamp"))] == ["desk lamp"]
    assert parser.parse(brightness.format("front door")) == []
    assert any("{floor}" in text for text in left_out)  # this home has no floors
    assert not any("{area}" in text and "{" not in text.replace("{area}", "") for text in left_out)


def test_faults_of_a_home_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("home_assistant_intents")
    with pytest.raises(GrammarError, match=r"no phrases in language 'xx'; expected one of .*en"):
        import_home_assistant("xx", {})
    with pytest.raises(GrammarError, match="not lists of values; expected `area:"):
        read_lists(source(tmp_path, "area: kitchen"))
    monkeypatch.setattr("home_assistant_intents.get_speech_to_phrase_intents", lambda _: {"intents": {}})
    with pytest.raises(GrammarError, match="none can be used without lists; expected area or name"):
        import_home_assistant("en", {})
    monkeypatch.setitem(sys.modules, "home_assistant_intents", None)
    with pytest.raises(GrammarError, match=r"which is not installed; pip install 'earshot\[commands\]'"):
        import_home_assistant("en", {})


def test_what_is_written_is_plain_yaml(tmp_path: Path) -> None:
    written(tmp_path, import_rhino(source(tmp_path, RHINO)))
    text = (tmp_path / "imported.yaml").read_text()
    assert text.startswith("# Imported from a test.\n")
    assert yaml.safe_load(text)["language"] == "en"


@pytest.mark.parametrize("encoding", ["UT\x00F", "no-such", "hex"])
def test_an_encoding_that_cannot_be_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.jsgf"
    path.write_text(f"#JSGF V1.0 {encoding} en;\ngrammar a;\npublic <a> = b;\n")
    with pytest.raises(GrammarError, match=r"x\.jsgf:1: encoding '.*'; expected one that exists, such as UTF-8"):
        import_jsgf(path)


def test_a_file_of_one_word_is_no_grammar(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("out")
    with pytest.raises(GrammarError, match=r"x\.yaml"):
        load_grammar(path)
