"""Praat's TextGrid: a tier of words and one of their confidences, silence between them.

Source: "TextGrid file formats" of the Praat manual, its full text format.
"""

from collections.abc import Iterator, Sequence

from asr.transcript import Transcript, Word

SHORTEST = 0.001  # seconds; Praat refuses an interval of no length

Interval = tuple[float, float, str]  # start and end in seconds, label


def render(transcript: Transcript, *, name: str) -> str:
    end = max(transcript.duration, SHORTEST)
    places = list(_places(transcript.words, end))
    tiers = {
        "words": [word.word for word in transcript.words],
        "confidence": [f"{word.confidence:.4f}" for word in transcript.words],
    }
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end:.6f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (tier, labels) in enumerate(tiers.items(), 1):
        spoken = [(*place, label) for place, label in zip(places, labels, strict=True)]
        lines += [f"    item [{number}]:", *_tier(tier, list(_with_silence(spoken, end)), end)]
    return "\n".join(lines) + "\n"


def _places(words: Sequence[Word], end: float) -> Iterator[tuple[float, float]]:
    """Start and end of each word, none of them overlapping or of no length, all before `end`."""
    before = 0.0
    for number, word in enumerate(words):
        num_later = len(words) - number
        room = (end - before) / num_later  # what each of those that are left may have, if it came to that
        shortest = min(SHORTEST, room)
        start = min(max(word.start, before), end - num_later * shortest)
        before = min(max(word.end, start + shortest), end - (num_later - 1) * shortest)
        yield start, before


def _with_silence(spoken: Sequence[Interval], end: float) -> Iterator[Interval]:
    """A tier has no gaps: what is between words is an interval without a label."""
    before = 0.0
    for start, stop, label in spoken:
        if start > before:
            yield before, start, ""
        yield start, stop, label
        before = stop
    if before < end:
        yield before, end, ""


def _tier(name: str, intervals: Sequence[Interval], end: float) -> Iterator[str]:
    yield '        class = "IntervalTier"'
    yield f'        name = "{name}"'
    yield "        xmin = 0"
    yield f"        xmax = {end:.6f}"
    yield f"        intervals: size = {len(intervals)}"
    for number, (start, stop, label) in enumerate(intervals, 1):
        quoted = label.replace('"', '""')
        yield f"        intervals [{number}]:"
        yield f"            xmin = {start:.6f}"
        yield f"            xmax = {stop:.6f}"
        yield f'            text = "{quoted}"'
