"""Finds what a recogniser can never write in references: capitals, digits, punctuation, other characters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from asr.text import Tokenizer
from asr.text.normalization import normalize_transcript

Kind = Literal["capitals", "punctuation", "digits", "other characters"]
NUM_EXAMPLES = 5
REMEDIES: dict[Kind, str] = {
    "capitals": "--normalize compares both sides in lower case",
    "punctuation": "--normalize compares both sides without it",
    "digits": "spell numbers out in the references, as they are said",
    "other characters": "only a model trained on transcripts with them can write them",
}


@dataclass(frozen=True)
class FormFault:
    """One kind of characters that makes words count as wrong however well they are recognised."""

    kind: Kind
    num_words: int  # running words that hold such characters
    characters: tuple[str, ...]  # most frequent first
    examples: tuple[str, ...]  # words, most frequent first

    @property
    def found(self) -> str:
        """Says which words there are."""
        words = "one word" if self.num_words == 1 else f"{self.num_words:,} words"
        named = ", ".join(self.examples) + (", ..." if len(self.examples) == NUM_EXAMPLES else "")
        return f"{words} with {self.kind} ({named}), which this recogniser never writes"

    @property
    def line(self) -> str:
        """Says it with what an evaluation can do about it."""
        return f"{self.found}: {REMEDIES[self.kind]}"


def find_form_faults(tokenizer: Tokenizer, references: Iterable[str]) -> list[FormFault]:
    """Returns the kinds that the references hold, each with its words, in the order of REMEDIES."""
    words = Counter(word for reference in references for word in reference.split())
    written = tokenizer.written_characters
    found: dict[Kind, Counter[str]] = {kind: Counter() for kind in REMEDIES}
    characters: dict[Kind, Counter[str]] = {kind: Counter() for kind in REMEDIES}
    for word, number in words.items():
        for character in sorted(set(word) - written):
            kind = _kind(character, written)
            found[kind][word] += number if word not in found[kind] else 0
            characters[kind][character] += number
    return [
        FormFault(
            kind,
            sum(found[kind].values()),
            tuple(character for character, _ in characters[kind].most_common()),
            tuple(word for word, _ in found[kind].most_common(NUM_EXAMPLES)),
        )
        for kind in REMEDIES
        if found[kind]
    ]


def _kind(character: str, written: frozenset[str]) -> Kind:
    """Returns the kind of a character that is not written: a capital only where its small letter would be."""
    if set(character.lower()) <= written:
        return "capitals"
    if unicodedata.category(character)[0] == "N":
        return "digits"
    # Punctuation is what normalisation takes out; another form of an apostrophe it makes plain.
    if set(normalize_transcript(f"a{character}a")) <= {"a", " ", "'"}:
        return "punctuation"
    return "other characters"
