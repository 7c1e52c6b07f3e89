"""Measures how far two pronunciations are apart."""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Sequence

import numpy as np

# fmt: off
# Place from the lips (0) to the throat (8), manner, voice.
CONSONANTS = {
    "p": (0, "stop", 0), "b": (0, "stop", 1), "m": (0, "nasal", 1), "w": (0, "glide", 1), "ʍ": (0, "glide", 0),
    "f": (1, "fricative", 0), "v": (1, "fricative", 1), "β": (0, "fricative", 1), "ʋ": (1, "glide", 1),
    "θ": (2, "fricative", 0), "ð": (2, "fricative", 1), "t": (3, "stop", 0), "d": (3, "stop", 1),
    "n": (3, "nasal", 1), "s": (3, "fricative", 0), "z": (3, "fricative", 1), "l": (3, "liquid", 1),
    "ɹ": (3, "liquid", 1), "r": (3, "liquid", 1), "ɾ": (3, "liquid", 1), "ɫ": (3, "liquid", 1),
    "ʃ": (4, "fricative", 0), "ʒ": (4, "fricative", 1), "ɲ": (5, "nasal", 1), "j": (5, "glide", 1),
    "ç": (5, "fricative", 0), "k": (6, "stop", 0), "ɡ": (6, "stop", 1), "g": (6, "stop", 1),
    "ŋ": (6, "nasal", 1), "x": (6, "fricative", 0), "ɣ": (6, "fricative", 1), "ʁ": (7, "liquid", 1),
    "h": (8, "fricative", 0), "ʔ": (8, "stop", 0),
}
# Height from open (0) to close (6), backness from front (0) to back (2), rounding.
VOWELS = {
    "i": (6, 0, 0), "y": (6, 0, 1), "ɪ": (5, 0, 0), "ᵻ": (5, 1, 0), "ɨ": (6, 1, 0), "ʏ": (5, 0, 1), "u": (6, 2, 1),
    "ʊ": (5, 2, 1), "e": (4, 0, 0), "ø": (4, 0, 1), "o": (4, 2, 1), "ə": (3, 1, 0), "ɚ": (3, 1, 0), "ɐ": (1, 1, 0),
    "ɛ": (2, 0, 0), "œ": (2, 0, 1), "ɜ": (2, 1, 0), "ɝ": (2, 1, 0), "ʌ": (2, 2, 0), "ɔ": (2, 2, 1), "æ": (1, 0, 0),
    "a": (0, 0, 0), "ɑ": (0, 2, 0), "ɒ": (0, 2, 1),
}
# fmt: on
ALIKE = {frozenset("wu"): 0.3, frozenset("wʊ"): 0.3, frozenset("ji"): 0.3, frozenset("jɪ"): 0.3}
EASILY_LOST = frozenset("hʔəᵻɐ")
PAIRS_AT_ONCE = 4_000  # whose tables a processor's cache holds


@functools.lru_cache(4096)
def sounds(phonemes: str) -> tuple[str, ...]:
    """Returns the single sounds of an IPA text, without stress, length or ties: "kˈɪtʃən" is k ɪ t ʃ ə n."""
    plain = unicodedata.normalize("NFD", phonemes)
    return tuple(letter for letter in plain if letter in CONSONANTS or letter in VOWELS)


def phonetic_distance(first: str, second: str) -> float:
    """Between 0 (the same sounds) and 1 (nothing in common): `phonetic_cost` a sound of the longer IPA text."""
    longer = max(len(sounds(first)), len(sounds(second)))
    return min(1.0, phonetic_cost(first, second) / longer) if longer else 0.0


def phonetic_cost(first: str, second: str) -> float:
    """Returns the cheapest way to turn one IPA text into the other.

    An edit distance (Levenshtein) in which a sound costs the less the more alike the one in its place is.
    """
    left, right = sounds(first), sounds(second)
    losses, differences = _costs()
    lost = [losses[sound] for sound in right]
    row = [0.0, *itertools.accumulate(lost)]
    for sound in left:
        above, row = row, [row[0] + losses[sound]]
        loss, difference = losses[sound], differences[sound]
        for place, other in enumerate(right):
            row.append(min(above[place + 1] + loss, row[-1] + lost[place], above[place] + difference[other]))
    return row[-1]


def phonetic_costs(texts: Sequence[str], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`phonetic_cost` of many pairs of IPA texts at once: the places in `texts` of the one and of the other.

    The edit distance's table is filled cell by cell as ever, but each cell for all pairs together.
    """
    known = [*CONSONANTS, *VOWELS]
    losses, differences = _costs()
    loss = np.array([losses[sound] for sound in known] + [0.0], np.float32)
    difference = np.array([[differences[one][other] for other in known] for one in known], np.float32)
    places = {sound: number for number, sound in enumerate(known)}
    lengths = np.array([len(sounds(text)) for text in texts])
    coded = np.full((len(texts), max(1, int(lengths.max(initial=0)))), len(known))
    for number, text in enumerate(texts):
        coded[number, : lengths[number]] = [places[sound] for sound in sounds(text)]
    costs = np.zeros(len(first), np.float32)
    # Pairs of like lengths together, so that no long pair makes the tables of all large.
    order = np.lexsort((lengths[second], lengths[first]))
    # A sound in the place of none is no edit that there is.
    padded = np.pad(difference, (0, 1), constant_values=np.inf)
    padded[-1, -1] = 0.0
    for start in range(0, len(order), PAIRS_AT_ONCE):
        chosen = order[start : start + PAIRS_AT_ONCE]
        costs[chosen] = _table(coded, lengths, first[chosen], second[chosen], loss, padded)
    return costs


def _table(
    coded: np.ndarray,
    lengths: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    loss: np.ndarray,
    difference: np.ndarray,
) -> np.ndarray:
    """Returns the edit distances of some pairs; beyond a text's end every edit is free, so the last cell has the
    result.
    """
    height, width = int(lengths[first].max(initial=0)), int(lengths[second].max(initial=0))
    left, right = coded[first, :height].T, coded[second, :width].T
    lost, other_lost = loss[left], loss[right]
    row = [np.zeros(len(first), np.float32), *np.cumsum(other_lost, axis=0)]
    flat = difference.ravel()
    for number in range(height):
        above, row = row, [row[0] + lost[number]]
        base = left[number] * len(loss)
        for place in range(width):
            cell = above[place] + flat.take(base + right[place])
            np.minimum(cell, above[place + 1] + lost[number], out=cell)
            row.append(np.minimum(cell, row[-1] + other_lost[place], out=cell))
    return row[-1]


@functools.cache
def _costs() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Returns what leaving out each sound costs, and what each costs in place of another."""
    known = [*CONSONANTS, *VOWELS]
    differences = {one: {other: _difference(one, other) for other in known} for one in known}
    return {sound: _loss(sound) for sound in known}, differences


def _loss(sound: str) -> float:
    return 0.4 if sound in EASILY_LOST else 0.7


def _difference(one: str, other: str) -> float:
    if one == other:
        return 0.0
    if one in CONSONANTS and other in CONSONANTS:
        (place, manner, voice), (place2, manner2, voice2) = CONSONANTS[one], CONSONANTS[other]
        return min(1.0, 0.1 + 0.08 * abs(place - place2) + 0.4 * (manner != manner2) + 0.1 * (voice != voice2))
    if one in VOWELS and other in VOWELS:
        (height, back, is_round), (height2, back2, is_round2) = VOWELS[one], VOWELS[other]
        return min(1.0, 0.1 + 0.08 * abs(height - height2) + 0.12 * abs(back - back2) + 0.05 * (is_round != is_round2))
    return ALIKE.get(frozenset((one, other)), 1.0)
