"""Transcripts in one form, so that training, scoring and the corpora agree on what a word is."""

import re
import unicodedata

# Replaced before NFKC, which would turn an acute accent used as an apostrophe into a space.
APOSTROPHES = dict.fromkeys(map(ord, "’‘‛ʼʻ`´′＇"), "'")
APOSTROPHE_OUTSIDE_A_WORD = re.compile(r"(?<!\w)'|'(?!\w)")


def normalize_transcript(text: str) -> str:
    """Lower-case words with single spaces: "Don’t -- STOP!" becomes "don't stop".

    NFKC; typographic apostrophes become '; letters, their marks and digits of any script stay; an apostrophe stays
    inside a word; what is invisible (a soft hyphen) goes; any other character parts words. Applying it twice changes
    nothing.
    """
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower()
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    kept = "".join(map(_kept, unicodedata.normalize("NFKC", visible)))
    return " ".join(APOSTROPHE_OUTSIDE_A_WORD.sub(" ", kept).split())


def _kept(character: str) -> str:
    return character if character == "'" or unicodedata.category(character)[0] in "LMN" else " "
