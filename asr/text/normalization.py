"""Transcripts in one form, so that training, scoring and the corpora agree on what a word is."""

import re
import unicodedata

# Replaced before NFKC, which would turn an acute accent used as an apostrophe into a space, and after (ŉ holds one).
APOSTROPHES = dict.fromkeys(map(ord, "’‘‛ʼʻ`´′＇"), "'")
APOSTROPHE_OUTSIDE_A_WORD = re.compile(r"(?<!\w)'|'(?!\w)")


def normalize_transcript(text: str) -> str:
    """Lower-case words with single spaces: "Don’t -- STOP!" becomes "don't stop".

    NFKC; typographic apostrophes become '; letters, their marks and digits of any script stay; an apostrophe stays
    inside a word; what is invisible (a soft hyphen) goes; any other character parts words. Applying it twice changes
    nothing.
    """
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).translate(APOSTROPHES).lower()
    text = unicodedata.normalize("NFKC", text.translate(_KEPT))
    return " ".join(APOSTROPHE_OUTSIDE_A_WORD.sub(" ", text).split())


class _Kept(dict[int, str | None]):
    """Says what `str.translate` makes of a code point, found out when it is first met."""

    def __missing__(self, code: int) -> str | None:
        category = unicodedata.category(chr(code))
        if category[0] in "LMN" or code == ord("'"):
            self[code] = chr(code)
        else:
            self[code] = None if category == "Cf" else " "
        return self[code]


_KEPT = _Kept()
