"""Checks a grammar before a model is trained for it: its size, its words, and where it will go wrong."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.grammar.ambiguity import Ambiguity, find_ambiguity
from asr.grammar.file import GrammarError, ParsedFile, read_grammar_file
from asr.grammar.grammar import Grammar, language_fault
from asr.grammar.near_pairs import NearPairs, beginnings, common_ending, find_near_pairs
from asr.grammar.network import unfold, word_graph
from asr.grammar.parsing import SentenceParser
from asr.grammar.pronunciations import unpronounceable_entries, unused_entries, with_pronunciations
from asr.grammar.sounds import sounds
from asr.grammar.templates import load_grammar
from asr.grammar.word_graph import Graph
from asr.text import PhonemeTokenizer, Tokenizer
from asr.text.normalization import normalize_transcript
from asr.text.pronunciation import PronunciationError, pronounce
from asr.text.special import unspellable

DIGITS_OR_SIGNS = re.compile(r"\w*\d\w*|[&%$€£@#°+=*/]")
VOICES = {"en": "en-us"}  # where eSpeak has several of a language


@dataclass(frozen=True)
class GrammarReport:
    """Holds what a check found; `faults` are to be mended, `hints` to be looked at. Each starts with file and line."""

    num_sentences: int  # different ones
    num_states: int  # of the graph of words that is searched
    pronunciations: dict[str, str]  # IPA of each word, the grammar's own where it has one
    remarks: dict[str, str]  # what to know of unusual words: that no training text has them, or whose entry is used
    near: NearPairs
    ambiguity: Ambiguity
    meanings: list[str]  # of each example of the ambiguous sentences
    faults: list[str]
    hints: list[str]


def check_grammar(path: Path, *, tokenizer: Tokenizer | None = None) -> GrammarReport:
    """Check a grammar, and where a tokenizer is given, whether it can spell the words."""
    grammar, file = load_grammar(path), read_grammar_file(path)
    graph, parser = word_graph(grammar, skipping=False), SentenceParser(grammar)
    words = sorted(graph.symbols.union(*grammar.skip_words))
    ambiguity, glued = find_ambiguity(grammar), _glued(grammar, graph)
    try:
        pronunciations, remarks = _pronounced(grammar, words, tokenizer)
    except PronunciationError as error:
        raise GrammarError(f"{file.where(('language',))}: {error}") from error
    faults = list(unused_entries(grammar, words))
    if isinstance(tokenizer, PhonemeTokenizer) and not language_fault(grammar, tokenizer):
        faults += unpronounceable_entries(grammar, tokenizer)
        tokenizer = tokenizer if faults else with_pronunciations(tokenizer, grammar, words)
    faults += [
        f"{_where(file, word)}: the model cannot spell '{word}' ({characters}); expected the characters (of phonemes, "
        f"the sounds) it was trained with; respell the word, or train on transcripts that have these"
        for word, characters in (unspellable(set(words), tokenizer) if tokenizer else {}).items()
    ]
    if wrong_language := language_fault(grammar, tokenizer):
        faults.insert(0, wrong_language)
    faults += [
        f"{_where(file, word)}: eSpeak has no sound for '{word}'; expected a word that can be spoken"
        for word, phonemes in pronunciations.items()
        if not sounds(phonemes)
    ]
    return GrammarReport(
        num_sentences=graph.num_sentences,
        num_states=graph.num_states,
        pronunciations=pronunciations,
        remarks=remarks,
        near=find_near_pairs(graph, parser, pronunciations, ignored=glued),
        ambiguity=ambiguity,
        meanings=[_meanings(sentence, parser, file) for sentence in ambiguity.examples],
        faults=[*faults, *_slots_used_twice(grammar, file)],
        hints=[
            *_unheeded(grammar, tokenizer),
            *_unused_and_empty(grammar, file),
            *_unspoken(grammar, file),
            *_say_glued(glued, graph, parser, file),
        ],
    )


def _pronounced(
    grammar: Grammar, words: Sequence[str], tokenizer: Tokenizer | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the IPA of each word, and what is unusual of some: that an entry is used, or that no training text has
    them.
    """
    voice = VOICES.get(grammar.language, grammar.language)
    found, remarks = pronounce(words, language=voice), {}
    if isinstance(tokenizer, PhonemeTokenizer):
        remarks = {word: "in no training text" for word in words if not tokenizer.is_trained(word)}
    for entry in grammar.pronunciations:
        if entry.word not in found:
            continue
        ways = [way.strip("/ ") if way.startswith("/") else _joined(way, voice) for way in entry.ways]
        remarks[entry.word] = f"by {entry.place}; eSpeak NG says {found[entry.word]}"
        found[entry.word] = ways[0]
        if ways[1:]:
            remarks[entry.word] = f"or {', or '.join(ways[1:])}; {remarks[entry.word]}"
    return found, remarks


def _joined(words: str, voice: str) -> str:
    return "".join(pronounce([word], language=voice)[word] for word in words.split())


def _unheeded(grammar: Grammar, tokenizer: Tokenizer | None) -> Iterator[str]:
    if tokenizer is not None and not isinstance(tokenizer, PhonemeTokenizer):
        for entry in grammar.pronunciations:
            yield f"{entry.place}: the model writes letters, so this changes nothing; expected a model of phonemes"


def _meanings(sentence: str, parser: SentenceParser, file: ParsedFile) -> str:
    """Returns where the sentence comes from and what it means there; the first counts."""
    ways = []
    for meaning in parser.parse(sentence):
        key = file.intents[meaning.intent][meaning.number].key
        slots = ", ".join(f"{slot}: {value}" for slot, value in sorted(meaning.slots.items()))
        ways.append(f"{meaning.intent} ({slots}) of line {file.lines[key]}")
    return f"{file.path}: '{sentence}' is {', or '.join(ways)}"


def _glued(grammar: Grammar, graph: Graph[str]) -> dict[str, tuple[str, str]]:
    """Words that templates make of two whole words for want of a space, with these: eighteenfifty."""
    vocabulary = graph.symbols
    texts = {arc.text for arcs in grammar.arcs for arc in arcs}
    written = {word for text in texts for word in normalize_transcript(text).split()}
    found: dict[str, tuple[str, str]] = {}
    for word in sorted(vocabulary - written):
        halves = ((word[:cut], word[cut:]) for cut in range(2, len(word) - 1))
        parts = next((pair for pair in halves if vocabulary.issuperset(pair)), None)
        if parts:
            found[word] = parts
    return found


def _say_glued(
    glued: dict[str, tuple[str, str]], graph: Graph[str], parser: SentenceParser, file: ParsedFile
) -> Iterator[str]:
    for where, words in _by_template(glued, graph, parser, file).items():
        first, *others = words
        more = f", and {len(others):,} more in this way" if others else ""
        yield (
            f"{where}: '{first}' is '{glued[first][0]}' and '{glued[first][1]}' in one word{more}; expected a space "
            f"between words; write {{hour}} {{minute}}, not {{hour}}{{minute}}"
        )


def _by_template(
    words: Collection[str], graph: Graph[str], parser: SentenceParser, file: ParsedFile
) -> dict[str, list[str]]:
    """Returns the words by the place of the template that the first found sentence with them comes from."""
    paths = beginnings(graph)
    left, places = set(words), {}
    for state in range(graph.num_states):
        for word in left & graph.edges[state].keys():
            ending = common_ending(graph, graph.edges[state][word][0], graph.edges[state][word][0]) or []
            meaning = parser.parse(" ".join([*paths[state], word, *ending]))[0]
            places[word] = file.where(file.intents[meaning.intent][meaning.number].key)
            left.discard(word)
    by_place: dict[str, list[str]] = {}
    for word in sorted(places):
        by_place.setdefault(places[word], []).append(word)
    return by_place


def _slots_used_twice(grammar: Grammar, file: ParsedFile) -> Iterator[str]:
    """A slot has one value; a sentence that fills it twice loses the first."""
    steps = unfold(grammar)
    filled: list[set[tuple[str, int, str]]] = [set() for _ in steps]  # intent, template and slot, on some way to it
    inside: list[set[tuple[str, int]]] = [set() for _ in steps]
    reported: set[tuple[str, int, str]] = set()
    for state, leaving in enumerate(steps):
        for step in leaving:
            mark = step.mark
            if mark is not None and mark.kind == "template":
                inside[step.target].add((mark.name, mark.number))
                fixed = grammar.templates[mark.name, mark.number].slots
                filled[step.target] |= {(mark.name, mark.number, slot) for slot in fixed}
                continue
            inside[step.target] |= inside[state]
            filled[step.target] |= filled[state]
            if mark is None or mark.slot is None:
                continue
            uses = {(intent, number, mark.slot) for intent, number in inside[state]}
            for intent, number, slot in sorted((uses & filled[state]) - reported):
                reported.add((intent, number, slot))
                key = file.intents[intent][number].key
                yield (
                    f"{file.where(key)}: slot '{slot}' is filled twice in one sentence; expected once; give the second "
                    f"another name, as in {{{mark.name}:second_{slot}}}"
                )
            filled[step.target] |= uses


def _unused_and_empty(grammar: Grammar, file: ParsedFile) -> Iterator[str]:
    """Rules that say nothing, and rules and lists that no template uses."""
    marks = [arc.mark for arcs in grammar.arcs for arc in arcs if arc.mark is not None]
    rules = {mark.name for mark in marks if mark.kind == "rule"}
    lists = {mark.name for mark in marks if mark.kind == "value"}
    for name, rule in file.rules.items():
        where = file.where(("expansion_rules", name))
        if not (rule.text or "").strip("()[]| \t"):
            yield f"{where}: rule <{name}> says nothing; expected words; remove it"
        elif name not in rules:
            yield f"{where}: rule <{name}> is not used by any template; expected a use; remove it, or name it in one"
    for name in file.lists:
        if name not in lists:
            where = file.where(("lists", name))
            yield f"{where}: list {{{name}}} is not used by any template; expected a use; remove it, or name it in one"


def _unspoken(grammar: Grammar, file: ParsedFile) -> Iterator[str]:
    """Digits, of which a transcript does not say how they are read, and signs that voices say but transcripts lack."""
    texts = dict.fromkeys(arc.text for arcs in grammar.arcs for arc in arcs)
    for found in dict.fromkeys(found for text in texts for found in DIGITS_OR_SIGNS.findall(text)):
        yield f"{_where(file, found)}: '{found}' is not as it is spoken; expected letters; write it out in words"


def _where(file: ParsedFile, word: str) -> str:
    """Returns the first line of the file that has the word, or the file."""
    for number, line in enumerate(file.path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if word in line.lower() and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line.lower()):
            return f"{file.path}:{number}"
    return str(file.path)
