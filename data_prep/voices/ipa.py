"""Sentences in IPA for neural voices that read it: words by eSpeak NG, and the punctuation that it takes away."""

from __future__ import annotations

import re

from asr.text.pronunciation import pronounce

BREAK = re.compile(r"([,;:!?.])[,;:!?.]*(?=\s|$)")
BRACKETS = str.maketrans(dict.fromkeys('()[]{}<>"“”„«»', " "))


def sentence_ipa(text: str, *, language: str) -> str:
    """Returns the IPA of a sentence, with stress, its punctuation, and a space between words.

    A full stop within it is mostly one of "a.m.", so only the last is kept.
    """
    *pieces, rest = BREAK.split(text.translate(BRACKETS))
    parts, marks = [*pieces[::2], rest], [*pieces[1::2], ""]
    spelled = pronounce([part for part in parts if part.strip()], language=language)
    said = ""
    for number, (part, mark) in enumerate(zip(parts, marks, strict=True)):
        is_last = not "".join(parts[number + 1 :]).strip()
        kept = "" if mark == "." and not is_last else mark
        said += f" {spelled.get(part, '')}{kept}"
    return " ".join(said.split())
