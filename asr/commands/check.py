"""What to know of a grammar before a model is trained for it: its size, its words, and where it will go wrong."""

from __future__ import annotations

import functools
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.commands.ambiguity import Ambiguity, find_ambiguity
from asr.commands.grammar_file import GrammarError, ParsedFile, read_grammar_file
from asr.commands.network import unfold, word_graph
from asr.commands.parsing import Meaning, Parser
from asr.commands.pronunciation import phonetic_cost, phonetic_distance, sounds
from asr.commands.templates import Grammar, load_grammar
from asr.decoding.token_graph import unspellable
from asr.decoding.word_graph import Graph
from asr.pronunciation import PronunciationError, pronounce
from asr.tokenizer import Tokenizer

NEAR = 0.25  # phonetic distance below which two words are easily taken for each other
LONGEST_PHRASE = 2  # words, of phrases that are compared with others of as many or fewer
MAX_SEARCHED = 2_000  # pairs of states, in the search for two sentences that differ in one word
DIGITS_OR_SIGNS = re.compile(r"\w*\d\w*|[&%$€£@#°+=*/]")
VOICES = {"en": "en-us"}  # where eSpeak has several of a language


@dataclass(frozen=True)
class NearPair:
    """Two words or phrases that sound alike, and two sentences that differ in these and in meaning."""

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
    meanings: list[str]  # of each example of the ambiguous sentences
    faults: list[str]
    hints: list[str]


def check_grammar(path: Path, *, tokenizer: Tokenizer | None = None) -> GrammarReport:
    """Check a grammar, and where a tokenizer is given, whether it can spell the words."""
    grammar, file = load_grammar(path), read_grammar_file(path)
    graph, parser = word_graph(grammar), Parser(grammar)
    words = sorted(graph.symbols)
    ambiguity = find_ambiguity(grammar)
    try:
        pronunciations = pronounce(words, language=VOICES.get(grammar.language, grammar.language))
    except PronunciationError as error:
        raise GrammarError(f"{file.where(('language',))}: {error}") from error
    faults = [
        f"{_where(file, word)}: the model cannot spell '{word}' ({characters}); expected the characters (of phonemes, "
        f"the sounds) it was trained with; respell the word, or train on transcripts that have these"
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
        ambiguity=ambiguity,
        meanings=[_meanings(sentence, parser, file) for sentence in ambiguity.examples],
        faults=[*faults, *_slots_used_twice(grammar, file)],
        hints=[*_unused_and_empty(grammar, file), *_unspoken(grammar, file)],
    )


def near_pairs(graph: Graph[str], parser: Parser, pronunciations: dict[str, str]) -> list[NearPair]:
    """Words and phrases that can stand in the same place, sound alike, and change what the sentence means.

    Phrases of up to LONGEST_PHRASE words are compared where the sentence goes on alike after them: "for tea" and
    "forty". Those that are near because each of their words is are left to the pairs of words.
    """
    paths = _beginnings(graph)
    found: dict[tuple[str, str], NearPair] = {}
    distances: dict[tuple[str, str], float] = {}
    for state in range(graph.num_states):
        for pair, ending in itertools.chain(_words_in_place(graph, state), _phrases_in_place(graph, state)):
            if pair not in distances:
                distances[pair] = _distance(*pair, pronunciations)
            if distances[pair] > NEAR or pair in found:
                continue
            said = ending()
            if said is None:
                continue
            one, other = (" ".join([*paths[state], phrase, *said]) for phrase in pair)
            if _plain(parser.parse(one)) != _plain(parser.parse(other)):
                found[pair] = NearPair(pair, round(distances[pair], 3), (one, other))
    return sorted(found.values(), key=lambda near: (near.distance, near.words))


_Candidate = tuple[tuple[str, str], Callable[[], list[str] | None]]  # two phrases; the end of a sentence after both


def _words_in_place(graph: Graph[str], state: int) -> Iterator[_Candidate]:
    edges = graph.edges[state]
    for one, other in itertools.combinations(edges, 2):
        yield (one, other), functools.partial(_common_ending, graph, edges[one][0], edges[other][0])


def _phrases_in_place(graph: Graph[str], state: int) -> Iterator[_Candidate]:
    """Pairs of which one has several words, that lead to the same state and have no word in common."""
    for target, phrases in _phrases(graph, state).items():
        for one, other in itertools.combinations(phrases, 2):
            if max(len(one), len(other)) > 1 and not set(one) & set(other):
                yield (" ".join(one), " ".join(other)), functools.partial(_common_ending, graph, target, target)


def _phrases(graph: Graph[str], state: int) -> dict[int, list[tuple[str, ...]]]:
    """Those of up to LONGEST_PHRASE words from a state on, by the state that they lead to."""
    found: dict[int, list[tuple[str, ...]]] = {}
    ways: list[tuple[int, tuple[str, ...]]] = [(state, ())]
    for _ in range(LONGEST_PHRASE):
        ways = [(target, (*said, word)) for place, said in ways for word, (target, _) in graph.edges[place].items()]
        for target, said in ways:
            found.setdefault(target, []).append(said)
    return found


def _distance(one: str, other: str, pronunciations: dict[str, str]) -> float:
    """Phonetic; 1 for phrases of as many words, unless these are far nearer as a whole than one by one."""
    left, right = ([pronunciations[word] for word in phrase.split()] for phrase in (one, other))
    whole = "".join(left), "".join(right)
    if len(left) == len(right) > 1 and phonetic_cost(*whole) > sum(map(phonetic_cost, left, right)) / 2:
        return 1.0
    return phonetic_distance(*whole)


def _plain(meanings: list[Meaning]) -> list[tuple[str, str]]:
    return [(meaning.intent, repr(sorted(meaning.slots.items()))) for meaning in meanings]


def _meanings(sentence: str, parser: Parser, file: ParsedFile) -> str:
    """Where the sentence comes from and what it means there; the first counts."""
    ways = []
    for meaning in parser.parse(sentence):
        key = file.intents[meaning.intent][meaning.number].key
        slots = ", ".join(f"{slot}: {value}" for slot, value in sorted(meaning.slots.items()))
        ways.append(f"{meaning.intent} ({slots}) of line {file.lines[key]}")
    return f"{file.path}: '{sentence}' is {', or '.join(ways)}"


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


def _unspoken(grammar: Grammar, file: ParsedFile) -> Iterator[str]:
    """Digits, of which a transcript does not say how they are read, and signs that voices say but transcripts lack."""
    texts = dict.fromkeys(arc.text for arcs in grammar.arcs for arc in arcs)
    for found in dict.fromkeys(found for text in texts for found in DIGITS_OR_SIGNS.findall(text)):
        yield f"{_where(file, found)}: '{found}' is not as it is spoken; expected letters; write it out in words"


def _where(file: ParsedFile, word: str) -> str:
    """The first line of the file that has the word, or the file."""
    for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), 1):
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line.lower()):
            return f"{file.path}:{number}"
    return str(file.path)
