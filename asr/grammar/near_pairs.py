"""Words and phrases of a grammar that sound alike where the one can stand in the place of the other."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr.grammar.parsing import Meaning, SentenceParser
from asr.grammar.sounds import phonetic_cost, phonetic_costs, sounds
from asr.grammar.word_graph import Graph

NEAR = 0.25  # phonetic distance below which two words are easily taken for each other
LONGEST_PHRASE = 2  # words, of phrases that are compared with others of as many or fewer
MAX_SEARCHED = 2_000  # pairs of states, in the search for two sentences that differ in one word
MAX_COMPARED = 6_000_000  # pairs of words or phrases: some seconds
MAX_LINKED = 300_000  # pairs that differ in one sound, of a group too large to compare each with each
MAX_PHRASES = 20_000  # from one state
MAX_NEAR = 20_000  # pairs that are looked at, whether they change the meaning

Phrase = tuple[str, ...]
Pairs = tuple[np.ndarray, np.ndarray]  # the numbers of the one and of the other


@dataclass(frozen=True)
class NearPair:
    """Two words or phrases that sound alike, and two sentences that differ in these and in meaning."""

    words: tuple[str, str]
    distance: float  # 0 (the same sounds) to 1
    sentences: tuple[str, str]


@dataclass(frozen=True)
class NearPairs:
    """Most alike first."""

    pairs: list[NearPair]
    is_complete: bool  # False: the grammar is too large; of some groups only what one sound tells apart was compared


def find_near_pairs(
    graph: Graph[str], parser: SentenceParser, pronunciations: dict[str, str], *, ignored: Collection[str] = ()
) -> NearPairs:
    """Words and phrases that can stand in the same place, sound alike, and change what the sentence means.

    Phrases of up to LONGEST_PHRASE words are compared where the sentence goes on alike after them: "for tea" and
    "forty". Those that are near because each of their words is are left to the pairs of words, and `ignored` words out.
    """
    search = _Search(graph, parser, {word: sound for word, sound in pronunciations.items() if word not in ignored})
    for state in range(graph.num_states):
        search.compare(state)
    return NearPairs(
        sorted(search.found.values(), key=lambda near: (near.distance, near.words)), is_complete=search.is_complete
    )


class _Search:
    def __init__(self, graph: Graph[str], parser: SentenceParser, pronunciations: dict[str, str]) -> None:
        self._graph, self._parser, self._pronunciations = graph, parser, pronunciations
        self.found: dict[tuple[str, str], NearPair] = {}
        self.is_complete = True
        self._left, self._near_left = MAX_COMPARED, MAX_NEAR
        self._paths = beginnings(graph)
        self._endings: dict[tuple[int, int], list[str] | None] = {}
        self._alike: dict[tuple[Phrase, ...], list[tuple[int, int, float]]] = {}  # of groups compared before
        self._meanings: dict[str, list[tuple[str, str]]] = {}

    def compare(self, state: int) -> None:
        """Compares the words that can follow a state, and the phrases that lead from it to the same state."""
        edges = self._graph.edges[state]
        words = [word for word in edges if word in self._pronunciations]
        for one, other, distance in self._near([(word,) for word in words], phrases=False):
            self._judge(state, (words[one], words[other]), distance, edges[words[one]][0], edges[words[other]][0])
        for target, group in self._phrases(state).items():
            for one, other, distance in self._near(group, phrases=True):
                self._judge(state, (" ".join(group[one]), " ".join(group[other])), distance, target, target)

    def _judge(self, state: int, pair: tuple[str, str], distance: float, one: int, other: int) -> None:
        """Keeps the pair where two sentences that differ in it differ in meaning."""
        if pair in self.found:
            return
        if not self._near_left:
            self.is_complete = False
            return
        self._near_left -= 1
        if (one, other) not in self._endings:
            self._endings[one, other] = common_ending(self._graph, one, other)
        ending = self._endings[one, other]
        if ending is None:
            return
        first, second = (" ".join([*self._paths[state], phrase, *ending]) for phrase in pair)
        if self._meaning(first) != self._meaning(second):
            self.found[pair] = NearPair(pair, round(distance, 3), (first, second))

    def _meaning(self, sentence: str) -> list[tuple[str, str]]:
        if sentence not in self._meanings:
            self._meanings[sentence] = _plain(self._parser.parse(sentence))
        return self._meanings[sentence]

    def _phrases(self, state: int) -> dict[int, list[Phrase]]:
        """Returns the phrases of up to LONGEST_PHRASE words from a state on, by where they lead, if one has several."""
        found: dict[int, list[Phrase]] = {}
        ways: list[tuple[int, Phrase]] = [(state, ())]
        for _ in range(LONGEST_PHRASE):
            if sum(len(self._graph.edges[place]) for place, _ in ways) > MAX_PHRASES:
                self.is_complete = False
                break
            ways = [
                (target, (*said, word))
                for place, said in ways
                for word, (target, _) in self._graph.edges[place].items()
                if word in self._pronunciations
            ]
            for target, said in ways:
                found.setdefault(target, []).append(said)
        return {target: group for target, group in found.items() if len(group) > 1 and len(group[-1]) > 1}

    def _near(self, group: Sequence[Phrase], *, phrases: bool) -> list[tuple[int, int, float]]:
        """Returns the pairs of a group that sound alike, with their distances; of phrases, those without a word in
        common.
        """
        key = tuple(group)
        if key in self._alike:
            return self._alike[key]
        texts = ["".join(self._pronunciations[word] for word in phrase) for phrase in group]
        lengths = np.array([len(sounds(text)) for text in texts])
        num_pairs = len(group) * (len(group) - 1) // 2
        if num_pairs > self._left:
            self.is_complete = False
            compared = [one_sound_apart([sounds(text) for text in texts])]
        else:
            self._left -= num_pairs
            compared = _all_pairs(len(group))
        alike = []
        for first, second in _that_can_be_alike(compared, group, lengths, phrases=phrases):
            longer = np.maximum(lengths[first], lengths[second])
            costs = phonetic_costs(texts, first, second)
            # Single precision may err by less than this; what is kept is computed again.
            for place in np.flatnonzero(costs <= NEAR * longer + 1e-4):
                one, other = int(first[place]), int(second[place])
                distance = self._distance(group[one], group[other])
                if distance <= NEAR:
                    alike.append((one, other, distance))
        self._alike[key] = alike
        return alike

    def _distance(self, one: Phrase, other: Phrase) -> float:
        """Phonetic; 1 for phrases of as many words, unless these are far nearer as a whole than one by one."""
        left, right = ([self._pronunciations[word] for word in phrase] for phrase in (one, other))
        cost = phonetic_cost("".join(left), "".join(right))
        if len(left) == len(right) > 1 and cost > sum(map(phonetic_cost, left, right)) / 2:
            return 1.0
        longer = max(len(sounds("".join(left))), len(sounds("".join(right))))
        return min(1.0, cost / longer) if longer else 0.0


def one_sound_apart(texts: Sequence[Sequence[str]]) -> Pairs:
    """The pairs of texts that are the same but for one sound, in a time that grows as the texts do.

    Two such texts are the same once the right sound is left out of one or of both, so each is filed under all that it
    is without one (as SymSpell does). No more than MAX_LINKED are given.
    """
    filed: dict[str, list[int]] = {}
    for number, text in enumerate(map("".join, texts)):
        for key in {text, *(text[:place] + text[place + 1 :] for place in range(len(text)))}:
            filed.setdefault(key, []).append(number)
    linked = (pair for numbers in filed.values() for pair in itertools.combinations(numbers, 2))
    found = np.array(sorted(set(itertools.islice(linked, MAX_LINKED))), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _all_pairs(number: int) -> Iterator[Pairs]:
    """All pairs of so many, some rows at a time."""
    rows = max(1, 500_000 // max(1, number))
    for start in range(0, number, rows):
        first, second = np.nonzero(np.arange(start, min(start + rows, number))[:, None] < np.arange(number)[None, :])
        yield first + start, second


def _that_can_be_alike(
    compared: Iterable[Pairs], group: Sequence[Phrase], lengths: np.ndarray, *, phrases: bool
) -> Iterator[Pairs]:
    """The pairs that can be alike: of like lengths; of phrases, those of which one has more words, none in common."""
    numbers = {word: number for number, word in enumerate({word for phrase in group for word in phrase})}
    words = np.full((len(group), LONGEST_PHRASE), -1)
    for place, phrase in enumerate(group):
        words[place, : len(phrase)] = [numbers[word] for word in phrase]
    num_words = (words >= 0).sum(axis=1)
    for first, second in compared:
        # What is left over of the longer text costs 0.4 a sound at least.
        longer = np.maximum(lengths[first], lengths[second])
        kept = 0.4 * np.abs(lengths[first] - lengths[second]) <= NEAR * longer
        if phrases:
            kept &= np.maximum(num_words[first], num_words[second]) > 1
            for column in range(LONGEST_PHRASE):
                own = words[first, column]
                kept &= (own < 0) | (own[:, None] != words[second]).all(axis=1)
        yield first[kept], second[kept]


def _plain(meanings: list[Meaning]) -> list[tuple[str, str]]:
    return [(meaning.intent, repr(sorted(meaning.slots.items()))) for meaning in meanings]


def beginnings(graph: Graph[str]) -> list[list[str]]:
    """Returns the shortest way to each state."""
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


def common_ending(graph: Graph[str], one: int, other: int) -> list[str] | None:
    """Returns the shortest end that both states allow; None where there is none, or it is not found soon."""
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
