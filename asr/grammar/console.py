"""Checks, imports and exports grammars for the console: what was found or left out is printed."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from asr.files.replacing import replacing
from asr.grammar import importers
from asr.grammar.check import GrammarReport, check_grammar
from asr.grammar.exporters import export_jsgf
from asr.grammar.file import GrammarError
from asr.grammar.jsgf import read_jsgf
from asr.grammar.templates import load_grammar
from asr.text import Tokenizer
from asr.tracking.bars import bar

NUM_SHOWN = 20


def check_grammars(paths: Sequence[Path], *, tokenizer: Tokenizer | None, all_words: bool) -> bool:
    """Checks each grammar and shows what was found; returns whether none has a fault."""
    console, is_whole = Console(), True
    for path in paths:
        try:
            with bar(f"checking {path}"):
                report = check_grammar(path, tokenizer=tokenizer)
        except GrammarError as error:
            _say_faults(console, str(error).splitlines())
            is_whole = False
            continue
        _show(console, path, report, all_words=all_words)
        is_whole = is_whole and not report.faults
    return is_whole


def _show(console: Console, path: Path, report: GrammarReport, *, all_words: bool) -> None:
    """Prints the size of a grammar, its words, what sounds alike, what is ambiguous, hints and faults."""

    def say(line: str, style: str | None = None) -> None:
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    say(
        f"{path}: {report.num_sentences:,} sentences of {len(report.pronunciations):,} words; a graph of "
        f"{report.num_states:,} states"
    )
    # The words to look at come first: those of the grammar's own entries, then those that no training text has.
    shown = sorted(report.pronunciations.items(), key=lambda item: _rank(report.remarks.get(item[0], "")))
    for word, phonemes in shown if all_words else shown[:NUM_SHOWN]:
        remark = report.remarks.get(word)
        say(f"  {word}  {phonemes}{f'  ({remark})' if remark else ''}")
    if not all_words and len(shown) > NUM_SHOWN:
        say(f"  ... and {len(shown) - NUM_SHOWN} more; see all with --all-words")
    partly = "" if report.near.is_complete else " at least (the grammar is too large to compare all)"
    say(
        f"{len(report.near.pairs):,} pairs of words or phrases sound alike and change the meaning (0: the same sounds)"
        f"{partly}"
    )
    for near in report.near.pairs[:NUM_SHOWN]:
        say(f"  {near.distance:.2f}  {' / '.join(near.words)}:  {near.sentences[0]}  /  {near.sentences[1]}")
    ambiguity = report.ambiguity
    partly = "" if ambiguity.is_complete else " at least (the grammar is too large to search in full)"
    say(f"{ambiguity.num_sentences:,} sentences have more than one meaning{partly}")
    for meanings in report.meanings:
        say(f"  {meanings}", "yellow")
    for hint in report.hints:
        say(f"hint: {hint}", "yellow")
    _say_faults(console, report.faults)


def _rank(remark: str) -> int:
    """0 for a word with an entry of the grammar's own, 1 for another one with a remark, 2 for all others."""
    return 0 if "eSpeak" in remark else 1 if remark else 2


def _say_faults(console: Console, faults: list[str]) -> None:
    for fault in faults:
        console.print(f"fault: {fault}", style="red", highlight=False, markup=False, soft_wrap=True)


def import_grammar(
    kind: Literal["rhino", "jsgf", "phrases", "home-assistant"], source: Path, *, output: Path, language: str
) -> None:
    """Writes a grammar of others as templates, and says what is left out; only home-assistant has languages."""
    left_out: list[str] = []
    if kind == "home-assistant":
        lists = importers.read_lists(source)
        values, left_out = importers.import_home_assistant(language, lists)
    else:
        read = {
            "rhino": importers.import_rhino,
            "jsgf": importers.import_jsgf,
            "phrases": importers.import_phrases,
        }[kind]
        values = read(source)
    if kind == "jsgf" and (num_tags := read_jsgf(source).num_tags):
        print(f"{source}: {num_tags:,} tags are left out; slots are lists here: {{list}}", file=sys.stderr)
    importers.write_grammar_file(output, values, source=f"{kind}: {source.name}")
    for text in left_out:
        print(f"left out, for want of a list: {text}", file=sys.stderr)
    print(f"{output}: {len(values['intents'])} intents; look at it with python -m asr.commands check")


def export_grammar(grammar: Path, *, output: Path | None) -> None:
    """Writes the sentences of a grammar as JSGF, or prints them if no output is given."""
    text = export_jsgf(grammar)
    if entries := load_grammar(grammar).pronunciations:
        print(f"{grammar}: pronunciations of {len(entries):,} words are left out; JSGF has none", file=sys.stderr)
    if output is None:
        print(text, end="")
        return
    with replacing(output) as beside:
        beside.write_text(text, encoding="utf-8")
