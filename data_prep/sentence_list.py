"""Sentences to speak from a text file, a line each: chosen so that all sounds and their neighbours are heard.

A recogniser learns a sound beside the sounds that it has met it with. So the sentences to train on are those that
together have every pair of neighbouring phonemes of the list, as early as they can, and then any others.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from asr.grammar.sampling import Command
from asr.text.normalization import normalize_transcript
from asr.text.pronunciation import phonemes
from data_prep.corpus import read_lines
from data_prep.voices import SynthesisError

SILENCE = ""  # stands before the first phoneme of a sentence and after the last

Diphone = tuple[str, str]


class SentenceList:
    """The sentences of a file. Each is drawn once, as long as there are some that were not.

    Raises SynthesisError for a file of no sentences, and for a line with digits, of which nobody knows how they are
    said.
    """

    def __init__(self, path: Path, *, language: str) -> None:
        self.path, self.language = path, language
        self.sentences = tuple(dict.fromkeys(_sentences(path)))
        if not self.sentences:
            raise SynthesisError(f"{path}: no sentence; expected one a line, in words")
        self._fresh = list(range(len(self.sentences)))

    @property
    def num_sentences(self) -> int:
        return len(self.sentences)

    @cached_property
    def words(self) -> list[str]:
        """Returns the vocabulary, sorted."""
        return sorted({word for sentence in self.sentences for word in normalize_transcript(sentence).split()})

    @cached_property
    def diphones(self) -> list[frozenset[Diphone]]:
        """Returns the pairs of neighbouring phonemes of each sentence."""
        spelled = phonemes(self.words, language=self.language)
        return [diphones_of(normalize_transcript(sentence).split(), spelled) for sentence in self.sentences]

    def sample(self, number: int, *, min_count: int, rng: np.random.Generator) -> list[Command]:
        """Returns `number` sentences in random order: those first that have each diphone `min_count` times, where the
        sentences that are left have it so often. When all have been drawn, all are drawn again.
        """
        order = [self._fresh[place] for place in rng.permutation(len(self._fresh))]
        chosen = cover([self.diphones[place] for place in order], min_count, number) if min_count else []
        first = [order[place] for place in chosen]
        rest = sorted(set(range(len(order))) - set(chosen))
        drawn = (first + [order[place] for place in rest])[:number]
        taken = set(drawn)
        self._fresh = [place for place in self._fresh if place not in taken]
        while len(drawn) < number:
            again = [int(place) for place in rng.permutation(len(self.sentences))]
            drawn += again[: number - len(drawn)]
        commands = [_command(self.sentences[place]) for place in drawn]
        return [commands[place] for place in rng.permutation(number)]


def diphones_of(words: Iterable[str], spelled: Mapping[str, Sequence[str]]) -> frozenset[Diphone]:
    """Returns the pairs of neighbouring phonemes of a sentence, those across words and at its ends among them."""
    sounds = [sound for word in words for sound in spelled[word]]
    return frozenset(itertools.pairwise([SILENCE, *sounds, SILENCE]))


def cover(sentences: Sequence[frozenset[Diphone]], min_count: int, number: int) -> list[int]:
    """Returns places of at most `number` sentences in which each diphone is `min_count` times, where so many have it.

    All are heard once before any is sought for a second time. The sentence with the most that are still missing comes
    first, for its length; of equals, the first.
    """
    there = Counter(itertools.chain.from_iterable(sentences))
    missing = dict.fromkeys(there, 0)
    chosen: list[int] = []
    left = set(range(len(sentences)))
    for times in range(1, min_count + 1):
        for diphone, count in there.items():
            missing[diphone] += times <= count
        found = _cover_once(sentences, sorted(left), missing, number - len(chosen))
        chosen += found
        left -= set(found)
    return chosen


def _cover_once(
    sentences: Sequence[frozenset[Diphone]], places: Sequence[int], missing: dict[Diphone, int], number: int
) -> list[int]:
    """Returns the places of sentences by which nothing is missing any more; takes them from what is missing.

    A count below zero is of a diphone that has been heard more often than asked for so far.
    """
    # A gain never grows, so an old one that is still the highest when counted anew is the highest of all.
    heap = [(-_gain(sentences[place], missing), place) for place in places]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < number:
        _, place = heapq.heappop(heap)
        gain = _gain(sentences[place], missing)
        if heap and (-gain, place) > heap[0]:
            heapq.heappush(heap, (-gain, place))
            continue
        if gain == 0:
            break
        chosen.append(place)
        for diphone in sentences[place]:
            missing[diphone] -= 1
    return chosen


def _gain(sentence: frozenset[Diphone], missing: Mapping[Diphone, int]) -> float:
    """Returns how many of a sentence's diphones are missing, for the square root of its length.

    Without the root long sentences would be preferred, with the length itself those of one word.
    """
    return sum(missing[diphone] > 0 for diphone in sentence) / len(sentence) ** 0.5


def _sentences(path: Path) -> list[str]:
    sentences = []
    for number, line in enumerate(read_lines(path), start=1):
        sentence = " ".join(line.split())
        if any(character.isdigit() for character in sentence):
            raise SynthesisError(
                f"{path}:{number}: '{sentence}'; expected numbers in words, as they are to be said and written"
            )
        if normalize_transcript(sentence):
            sentences.append(sentence)
    return sentences


def _command(sentence: str) -> Command:
    return Command(spoken=sentence, text=normalize_transcript(sentence), intent="", slots={})
