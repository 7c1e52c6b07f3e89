"""Sentence templates in Home Assistant's format, read through hassil into one network of all sentences.

    language: en
    intents:
      TurnOn:
        data:
          - sentences: ["(turn|switch) on [the] {area} light[s]"]
    lists:
      area:
        values: [kitchen, {in: "living room", out: lounge}]
    skip_words: [please]

`(a|b)` alternatives, `[a]` optional, `{area}` a list's value and a slot of the command, `<rule>` an expansion rule,
`(a;b)` either order. Numbers are in words, as they are spoken. `metadata: {weight: 3}` beside `sentences`, or in a
value, makes the search prefer these three times (the default is 1). One of `skip_words` may stand before any word of a
sentence and at its end, and means nothing. `pronunciations.py` says how words are pronounced; `form.py` has all keys.
"""

from __future__ import annotations

import math
from pathlib import Path

from asr.files.digest import file_digest
from asr.grammar.building import Builder, without_dead_ends
from asr.grammar.file import GrammarError, ParsedFile, read_grammar_file
from asr.grammar.grammar import Grammar, Mark, TemplateFacts
from asr.grammar.pronunciations import read_pronunciations
from asr.grammar.references import MAX_NODES, References, Sizes, scope_of
from asr.text.normalization import normalize_transcript


def load_grammar(path: Path | str) -> Grammar:
    """Reads a grammar; GrammarError, with file and line, where it is not one that sentences can be made of."""
    parsed = read_grammar_file(Path(path))
    references = References.of(parsed)
    _check_sizes(parsed, references)
    builder = Builder(references)
    templates: dict[tuple[str, int], TemplateFacts] = {}
    ends, faults = [], []
    for intent, of_intent in parsed.intents.items():
        start = builder.node_after(0, Mark("intent", intent))
        for number, template in enumerate(of_intent):
            begin = builder.node_after(start, Mark("template", intent, number), weight=math.log(template.weight))
            scope, is_partial = scope_of(parsed, template), False
            try:
                found, is_partial = builder.add_sentence(template.sentence.expression, begin, scope)
                ends += found
            except GrammarError as error:
                faults.append(str(error))
            templates[intent, number] = TemplateFacts(
                place=scope.place,
                slots=template.block.slots,
                response=template.block.response,
                metadata={key: value for key, value in template.block.metadata.items() if key != "weight"},
                is_partial=is_partial,
            )
    skip_words = _skip_words(parsed, faults)
    pronunciations = read_pronunciations(parsed, faults)
    if faults:
        raise GrammarError("\n".join(dict.fromkeys(faults)))
    builder.join(ends)
    return Grammar(
        path=parsed.path,
        language=parsed.language,
        digest=file_digest(parsed.path),
        arcs=tuple(tuple(arcs) for arcs in without_dead_ends(builder.arcs)),
        templates=templates,
        skip_words=skip_words,
        prior=parsed.prior,
        pronunciations=pronunciations,
    )


def _check_sizes(parsed: ParsedFile, references: References) -> None:
    """GrammarError where the network would be too large, before it is made."""
    sizes, total, faults = Sizes(references), 0, []
    for templates in parsed.intents.values():
        for template in templates:
            scope = scope_of(parsed, template)
            try:
                total += sizes.check(template.sentence.expression, scope)
            except GrammarError as error:
                faults.append(str(error))
            if total > MAX_NODES and not faults:
                faults.append(
                    f"{scope.place}: with it the grammar makes a network of {total:,} nodes; expected at most "
                    f"{MAX_NODES:,}; write fewer alternatives"
                )
    if faults:
        raise GrammarError("\n".join(dict.fromkeys(faults)))


def _skip_words(parsed: ParsedFile, faults: list[str]) -> tuple[tuple[str, ...], ...]:
    """Returns the words of each entry, as transcripts have them."""
    found: list[tuple[str, ...]] = []
    for number, text in enumerate(parsed.skip_words):
        words = tuple(normalize_transcript(text).split())
        if not words:
            where = parsed.where(("skip_words", number))
            faults.append(f"{where}: '{text}' has no words; expected some; write them, or leave it out")
        elif words not in found:
            found.append(words)
    return tuple(found)
