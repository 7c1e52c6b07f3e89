"""Counts the sounds of languages, for the table in asr/text/inventories.py.

    python -m tests.programs.sounds_of_languages de fr

Words are those of names of countries, languages, currencies, units, months and days in the Unicode CLDR (Babel), and of
Home Assistant's sentences (home-assistant-intents). Printed are the sounds that at least MIN_WORDS of them have, in the
order of how often they are; then the rarer ones, each with a word.
"""

import json
import re
import sys
from collections import Counter
from importlib.resources import files
from typing import Any

from babel import Locale

from asr.text.normalization import normalize_transcript
from asr.text.pronunciation import phonemes

MIN_WORDS = 5
WORD = re.compile(r"[^\W\d_']+")


def main(languages: list[str]) -> None:
    for language in languages:
        counts: Counter[str] = Counter()
        example: dict[str, str] = {}
        words = words_of(language)
        for word, sounds in phonemes(sorted(words), language=language).items():
            for sound in sounds:
                counts[sound] += 1
                example.setdefault(sound, word)
        often = [sound for sound, number in counts.most_common() if number >= MIN_WORDS]
        print(f"{language}: {len(words):,} words, {len(counts)} sounds\n{' '.join(often)}")
        print("rare:", ", ".join(f"{sound} {example[sound]}" for sound in counts if sound not in often))


def words_of(language: str) -> set[str]:
    """Returns the words of a language, as transcripts have them."""
    locale = Locale(language)
    texts = [
        str(name) for names in (locale.territories, locale.languages, locale.currencies) for name in names.values()
    ]
    texts += [
        str(name) for name in (*locale.months["format"]["wide"].values(), *locale.days["format"]["wide"].values())
    ]
    path = files("home_assistant_intents") / "data" / f"{language}.json"
    texts += list(_texts(json.loads(path.read_text(encoding="utf-8"))))
    return {word for text in texts for word in WORD.findall(normalize_transcript(text))}


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


if __name__ == "__main__":
    main(sys.argv[1:])
