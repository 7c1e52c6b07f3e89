"""A grammar written for others has the same sentences when it is read back, and only those."""

from pathlib import Path

import pytest

from asr.commands import main
from asr.grammar.exporters import export_jsgf
from asr.grammar.file import GrammarError
from asr.grammar.importers import import_jsgf, write_grammar_file
from asr.grammar.network import word_graph
from asr.grammar.templates import load_grammar
from tests.grammar.test_templates import write_grammar

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"

ODD = """
language: en
intents:
  Light:
    data:
      - sentences: ["[<please>] turn (on;the {room}) light[s][ now]", "{room}s light[ n]ing", "go (a|b|)"]
      - sentences: ["in {room} <do>"]
        lists: {room: {values: [attic, {in: "(big|small) shed"}]}}
        expansion_rules: {do: "[dance] or sing"}
  please: {data: [{sentences: ["P.S. don't <do>", "count [{count}][, again]"]}]}
lists:
  room: {values: [kitchen, {in: "living [-]room", out: lounge}]}
  count: {range: {from: 20, to: 22}}
expansion_rules:
  please: "please [do]"
  do: "wait in {room}"
"""


def read_back(text: str, folder: Path) -> Path:
    (folder / "exported.jsgf").write_text(text, encoding="utf-8")
    write_grammar_file(folder / "exported.yaml", import_jsgf(folder / "exported.jsgf"), source="a test")
    return folder / "exported.yaml"


@pytest.mark.parametrize("name", ["barista", "demo", "digits"])
def test_a_shipped_grammar_is_the_same_language(name: str, tmp_path: Path) -> None:
    """The smallest graph of a language is unique: equal graphs are equal languages."""
    path = COMMANDS / f"{name}.yaml"
    assert word_graph(load_grammar(read_back(export_jsgf(path), tmp_path))) == word_graph(load_grammar(path))


def test_words_that_templates_make_of_pieces_are_whole(tmp_path: Path) -> None:
    path = write_grammar(tmp_path, ODD)
    text = export_jsgf(path)
    assert word_graph(load_grammar(read_back(text, tmp_path))) == word_graph(load_grammar(path))
    assert "<room> = kitchen | " in text
    assert "<room_2> = attic | (big | small) shed;" in text  # of its block alone
    assert "<please_2> = p s don't <do" in text  # an intent of the name of a rule
    assert "twenty one" in text


WEIGHTED = """
language: en
intents:
  Go: {data: [{sentences: ["go {where}"], metadata: {weight: 3}}, {sentences: [stay]}]}
lists:
  where: {values: [{in: home, metadata: {weight: 0.5}}, away]}
"""


def test_weights_are_kept(tmp_path: Path) -> None:
    text = export_jsgf(write_grammar(tmp_path, WEIGHTED))
    assert "<where> = /0.5/ home | /1/ away;" in text
    assert "<Go> = /3/ go <where> | /1/ stay;" in text


def test_too_much_in_one_word_is_refused(tmp_path: Path) -> None:
    path = write_grammar(tmp_path, ODD.replace("{room}s light", "{count}{count}{count}{count}{count}{count}{count}s"))
    with pytest.raises(GrammarError, match="ways to say what is joined without a space, such as 'twenty"):
        export_jsgf(path)


def test_the_program_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_grammar(tmp_path, WEIGHTED)
    assert main(["export", str(path), "--format", "jsgf"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("#JSGF V1.0 UTF-8 en;\n")
    assert main(["export", str(path), "--output", str(tmp_path / "x.jsgf")]) == 0
    assert (tmp_path / "x.jsgf").read_text() == printed
