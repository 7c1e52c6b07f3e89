"""Words cut into captions as subtitles want them: short enough to read, and not in the middle of a phrase."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr.transcript import Word
from asr.transcription.conversation import Conversation

LINE_CHARACTERS = 42
LONGEST = 7.0  # seconds on the screen
LONGEST_PAUSE = 1.5  # seconds; a caption is never held through a longer one
PAUSE = 0.5  # seconds; a cut here costs nothing, and a caption held through it more than one caption more
CHARACTERS_PER_SECOND = 17.0  # that are comfortably read
SHORTEST = 1.0  # seconds on the screen, where there is time


@dataclass(frozen=True)
class Caption:
    """One or two lines, for some seconds."""

    start: float  # seconds
    end: float
    lines: tuple[str, ...]


def cut_captions(words: Sequence[Word], *, duration: float) -> list[Caption]:
    """Captions of at most two lines of 42 characters and 7 seconds, cut at pauses where there are any.

    Of all ways to cut, the one with the fewest captions and the fewest cuts in fluent speech (dynamic programming). A
    caption stays a little longer than its words where there is time, to be read. A word of more than 42 characters has
    a caption to itself, and one that lasts more than 7 seconds is taken off in time. `duration` is the recording's, in
    seconds.
    """
    costs, firsts = [0.0], [0]  # of the best cut of the words so far, and the first word of its last caption
    for after in range(1, len(words) + 1):
        cost, first = min((costs[first] + cost, first) for first, cost in _last_captions(words, after))
        costs.append(cost)
        firsts.append(first)
    cuts, after = [], len(words)
    while after:
        cuts.append((firsts[after], after))
        after = firsts[after]
    return [_caption(words, first, after, duration=duration) for first, after in reversed(cuts)]


def conversation_captions(conversation: Conversation) -> list[tuple[str, Caption]]:
    """Returns the captions of all turns with their speakers, by their times; none is held into a turn that begins
    later.
    """
    found: list[tuple[str, Caption]] = []
    starts = [turn.start for turn in conversation.turns] + [conversation.duration]
    for turn, following in zip(conversation.turns, starts[1:]):
        captions = cut_captions(turn.words, duration=max(following, turn.end))
        found += [(turn.speaker, caption) for caption in captions]
    return sorted(found, key=lambda each: (each[1].start, each[1].end))


def _last_captions(words: Sequence[Word], after: int) -> Iterator[tuple[int, float]]:
    """Yields the first word of every caption that can end before the word `after`, and what the caption costs."""
    cut = _pause(words, after - 1) / PAUSE if after < len(words) else 1.0
    cost = 1.0 + max(0.0, 1.0 - cut)
    yield after - 1, cost
    for first in range(after - 2, -1, -1):
        pause = _pause(words, first)
        is_short = words[after - 1].end - words[first].start <= LONGEST and pause <= LONGEST_PAUSE
        if not is_short or not _lines([word.word for word in words[first:after]]):
            return
        cost += min(max(0.0, 4.0 * pause / PAUSE - 2.0), 2.0)  # nothing up to half of it
        yield first, cost


def _pause(words: Sequence[Word], number: int) -> float:
    """Returns seconds between a word and the next."""
    return words[number + 1].start - words[number].end


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """Returns one line, or the two that are most alike; none where they do not fit."""
    text = " ".join(words)
    if len(text) <= LINE_CHARACTERS:
        return (text,)
    lengths = list(itertools.accumulate(len(word) + 1 for word in words))  # of a line of so many words, and a space
    best = min(range(1, len(words)), key=lambda place: abs(2 * lengths[place - 1] - lengths[-1]), default=0)
    lines = (" ".join(words[:best]), " ".join(words[best:]))
    return lines if max(map(len, lines)) <= LINE_CHARACTERS else ()


def _caption(words: Sequence[Word], first: int, after: int, *, duration: float) -> Caption:
    texts, start, end = [word.word for word in words[first:after]], words[first].start, words[after - 1].end
    free = words[after].start if after < len(words) else duration
    reading = start + max(SHORTEST, len(" ".join(texts)) / CHARACTERS_PER_SECOND)
    return Caption(start, min(max(end, min(reading, free)), start + LONGEST), _lines(texts) or tuple(texts))
