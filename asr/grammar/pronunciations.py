"""Reads how a grammar says that its words are pronounced, for those that eSpeak NG gets wrong.

pronunciations:
  nguyen: [win, /ŋwiən/]      # as these words sound, or sounds in IPA between slashes
  gyro: [/jɪɹoʊ/, gyro]       # gyro itself: as eSpeak NG says it, too
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from asr.grammar.file import GrammarError, ParsedFile, suggestion
from asr.grammar.grammar import Grammar, OwnPronunciation
from asr.text import PhonemeTokenizer, Tokenizer, TokenizerError
from asr.text.normalization import normalize_transcript


def read_pronunciations(file: ParsedFile, faults: list[str]) -> tuple[OwnPronunciation, ...]:
    """Returns the entries of the file; what is wrong with their form is added to `faults`."""
    found: list[OwnPronunciation] = []
    for written, ways in file.pronunciations.items():
        place = file.where(("pronunciations", written))
        words = normalize_transcript(written).split()
        if len(words) != 1:
            faults.append(f"{place}: '{written}' is {len(words)} words; expected one; give each word an entry")
            continue
        several = [ways] if isinstance(ways, str) else ways
        if not several or not all(way.strip(" /") for way in several):
            faults.append(f"{place}: it is empty; expected IPA between slashes, as in /wɪn/, or words that sound alike")
        found.append(OwnPronunciation(words[0], tuple(way.strip() for way in several), place))
    return tuple(found)


def unused_entries(grammar: Grammar, vocabulary: Collection[str]) -> Iterator[str]:
    """Yields a fault for each entry whose word the grammar does not have."""
    for entry in grammar.pronunciations:
        if entry.word not in vocabulary:
            yield f"{entry.place}: the grammar has no word '{entry.word}'; {suggestion(entry.word, vocabulary)}"


def unpronounceable_entries(grammar: Grammar, tokenizer: PhonemeTokenizer) -> Iterator[str]:
    """Yields a fault for each entry with a sound that the model has no token for."""
    for entry in grammar.pronunciations:
        for way in entry.ways:
            try:
                tokenizer.tokens_of(way)
            except TokenizerError as error:
                yield f"{entry.place}: {error}"


def with_pronunciations(tokenizer: Tokenizer, grammar: Grammar, vocabulary: Collection[str]) -> Tokenizer:
    """Returns the tokenizer, which spells the words as the grammar says if its tokens are phonemes.

    Raises GrammarError if an entry's word is not in the grammar, or has sounds that the model does not know.
    """
    faults = list(unused_entries(grammar, vocabulary))
    if not isinstance(tokenizer, PhonemeTokenizer) or not grammar.pronunciations:
        if faults:
            raise GrammarError("\n".join(faults))
        return tokenizer
    faults += unpronounceable_entries(grammar, tokenizer)
    if faults:
        raise GrammarError("\n".join(faults))
    return tokenizer.with_pronunciations({entry.word: entry.ways for entry in grammar.pronunciations})
