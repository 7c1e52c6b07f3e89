"""What to know of a grammar before a model is trained for it: its size, its words, and where it will go wrong."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.commands.ambiguity import Ambiguity, find_ambiguity
from asr.commands.grammar_file import ParsedFile, read_grammar_file
from asr.commands.network import unfold, word_graph
from asr.commands.parsing import Meaning, Parser
from asr.commands.pronunciation import phonetic_distance, sounds
from asr.commands.templates import Grammar, load_grammar
from asr.decoding.token_graph import unspellable
from asr.decoding.word_graph import Graph
from asr.pronunciation import pronounce
from asr.tokenizer import Tokenizer

NEAR = 0.25  # phonetic distance below which two words are easily taken for each other
MAX_SEARCHED = 2_000  # pairs of states, in the search for two sentences that differ in one word
VOICES = {"en": "en-us"}  # where eSpeak has several of a language


@dataclass(frozen=True)
class NearPair:
    """Two words that sound alike, and two sentences that differ in these words and in meaning."""

    words: tuple[str, str]
    distance: float  # 0 (the same sounds) to 1
    sentences: tuple[str, str]


@dataclass(frozen=True)
class GrammarReport:
    """What a check found; `faults` are to be mended, `hints` to be looked at. Each starts with file and line."""

    num_sentences: int  # different ones
    num_states: int  # of the graph of words that is searched
    pronunciations: dict[str, str]  # IPA of each word
    near_pairs: list[NearPair]  # most alike first
    ambiguity: Ambiguity
    faults: list[str]
    hints: list[str]


def check_grammar(path: Path, *, tokenizer: Tokenizer | None = None) -> GrammarReport:
    """Check a grammar, and where a tokenizer is given, whether it can spell the words."""
    grammar, file = load_grammar(path), read_grammar_file(path)
    graph, parser = word_graph(grammar), Parser(grammar)
    words = sorted(graph.symbols)
    pronunciations = pronounce(words, language=VOICES.get(grammar.language, grammar.language))
    faults = [
        f"{_where(file, word)}: the model cannot spell '{word}' ({characters}); expected the characters it was trained "
        f"with; respell the word, or train on transcripts that have these characters"
        for word, characters in (unspellable(graph.symbols, tokenizer) if tokenizer else {}).items()
    ]
    faults += [
        f"{_where(file, word)}: eSpeak has no sound for '{word}'; expected a word that can be spoken"
        for word, phonemes in pronunciations.items()
        if not sounds(phonemes)
    ]
    return GrammarReport(
        num_sentences=graph.num_sentences,
        num_states=graph.num_states,
        pronunciations=pronunciations,
        near_pairs=near_pairs(graph, parser, pronunciations),
        ambiguity=find_ambiguity(grammar),
        faults=[*faults, *_slots_used_twice(grammar, file)],
        hints=[*_unused_and_empty(grammar, file)],
    )


def near_pairs(graph: Graph[str], parser: Parser, pronunciations: dict[str, str]) -> list[NearPair]:
    """Words that can stand in the same place, sound alike, and change what the sentence means."""
    paths = _beginnings(graph)
    found: dict[tuple[str, str], NearPair] = {}
    distances: dict[tuple[str, str], float] = {}
    for state, edges in enumerate(graph.edges):
        for pair in itertools.combinations(edges, 2):
            if pair not in distances:
                distances[pair] = phonetic_distance(*(pronunciations[word] for word in pair))
            if distances[pair] > NEAR or pair in found:
                continue
            ending = _common_ending(graph, edges[pair[0]][0], edges[pair[1]][0])
            if ending is None:
                continue
            one, other = (" ".join([*paths[state], word, *ending]) for word in pair)
            if _plain(parser.parse(one)) != _plain(parser.parse(other)):
                found[pair] = NearPair(pair, round(distances[pair], 3), (one, other))
    return sorted(found.values(), key=lambda near: (near.distance, near.words))


def _plain(meanings: list[Meaning]) -> list[tuple[str, str]]:
    return [(meaning.intent, repr(sorted(meaning.slots.items()))) for meaning in meanings]


def _beginnings(graph: Graph[str]) -> list[list[str]]:
    """The shortest way to each state."""
    ways: list[list[str] | None] = [None] * graph.num_states
    ways[0] = []
    queue = deque([0])
    while queue:
        state = queue.popleft()
        for word, (target, _) in graph.edges[state].items():
            if ways[target] is None:
                ways[target] = [*(ways[state] or []), word]
                queue.append(target)
    return [way or [] for way in ways]


def _common_ending(graph: Graph[str], one: int, other: int) -> list[str] | None:
    """The shortest end that both states allow; None where there is none, or it is not found soon."""
    queue: deque[tuple[int, int, list[str]]] = deque([(one, other, [])])
    seen = {(one, other)}
    while queue and len(seen) < MAX_SEARCHED:
        left, right, said = queue.popleft()
        if left in graph.finals and right in graph.finals:
            return said
        for word, (target, _) in graph.edges[left].items():
            if word in graph.edges[right]:
                pair = (target, graph.edges[right][word][0])
                if pair not in seen:
                    seen.add(pair)
                    queue.append((*pair, [*said, word]))
    return None


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
                fixed = grammar.slots[mark.name, mark.number]
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


def _where(file: ParsedFile, word: str) -> str:
    """The first line of the file that has the word, or the file."""
    for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), 1):
        if re.search(rf"\b{re.escape(word)}\b", line.lower()):
            return f"{file.path}:{number}"
    return str(file.path)
