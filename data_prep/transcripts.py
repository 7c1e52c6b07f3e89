"""Transcripts on their way into a manifest: numbers written out, one form for all, and a count of what went."""

import unicodedata
from collections import Counter

from asr.text.normalization import APOSTROPHES, normalize_transcript
from data_prep.numbers import NumberSpeller

NUM_NAMED = 12  # characters, in one note


class TranscriptCleaner:
    """Makes the transcripts of a corpus those of its manifests, and keeps count of what it changed."""

    def __init__(self, *, keep_text: bool = False, language: str | None = None) -> None:
        """`language` is that of the numbers to write out; None leaves digits as they are.

        Raises CorpusError for a language whose numbers are not known.
        """
        self.keep_text, self.language = keep_text, language
        self._speller = NumberSpeller(language) if language and not keep_text else None
        self._num_spelled = 0
        self._example = ("", "")
        self._num_with_digits = 0
        self._dropped: Counter[str] = Counter()

    def clean(self, text: str) -> str:
        """Returns the transcript as the manifest has it."""
        return text if self.keep_text else normalize_transcript(self._spelled(text))

    def _spelled(self, text: str) -> str:
        return self._speller.spell(text) if self._speller else text

    def count(self, text: str) -> None:
        """Take note of a transcript that is kept."""
        if self.keep_text:
            return
        spelled = self._spelled(text)
        if spelled != text:
            self._num_spelled += 1
            self._example = self._example if self._example[0] else (text, normalize_transcript(spelled))
        self._num_with_digits += any(character.isdigit() for character in spelled)
        self._dropped.update(character for character in spelled if is_dropped(character))

    def notes(self) -> list[str]:
        """Returns what the summary says of it."""
        notes = []
        if self._num_spelled:
            notes.append(
                f"numbers written out in {self._num_spelled:,} transcripts as the language '{self.language}' says "
                "them (if that is not what is spoken, say --language CODE; none leaves digits): "
                f"'{self._example[0]}' is '{self._example[1]}'"
            )
        if self._num_with_digits:
            notes.append(
                f"{self._num_with_digits:,} transcripts hold digits, which nobody says; --language CODE, such as en, "
                "writes them out"
            )
        if self._dropped:
            # Signs that are said come before commas and full stops.
            ordered = sorted(self._dropped.items(), key=lambda item: (not _is_said(item[0]), -item[1], item[0]))
            named = ", ".join(f"{_name(character)} {number:,}" for character, number in ordered[:NUM_NAMED])
            rest = sum(number for _, number in ordered[NUM_NAMED:])
            notes.append(f"dropped from transcripts: {named}" + (f", others {rest:,}" if rest else ""))
        return notes


def is_dropped(character: str) -> bool:
    """Returns whether normalising takes it away; white space and apostrophes, whose place decides, do not count."""
    if character.isalnum() or character.isspace() or character == "'" or ord(character) in APOSTROPHES:
        return False
    return not normalize_transcript(character)


def _is_said(character: str) -> bool:
    """Signs of money and of arithmetic are words; punctuation is none, but for these."""
    return unicodedata.category(character)[0] == "S" or character in "%&#@*/-−°"


def _name(character: str) -> str:
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
