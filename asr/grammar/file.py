"""The YAML file of a grammar: checked key by key, its templates parsed by hassil, each fault with its line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from asr.files.packaged import locate
from asr.files.yaml import Document, Key, YAMLError, dotted, read_yaml_file
from asr.grammar.form import REMOVED, SCALARS, UNION_PARTS, Block, File, ValueList, part_at

if TYPE_CHECKING:
    from hassil.expression import Expression
    from hassil.expression import Sentence as Template

MAX_VALUES = 50_000  # of all lists together
MAX_LENGTH = 20_000  # characters of a template
MAX_NESTING = 40  # brackets in brackets
BRACKETS = re.compile(r"\\.|[()\[\]{}<>]", re.DOTALL)


class GrammarError(ValueError):
    """A grammar that cannot be used; the message starts with its file and line."""


@dataclass(frozen=True)
class ParsedValue:
    """A list's value: how it is said, what the slot gets (None: as it is said), what it brings, how often it is."""

    said: Expression
    out: Any
    context: dict[str, Any]
    weight: float


@dataclass(frozen=True)
class ParsedRange:
    """The numbers of a list."""

    first: int
    last: int
    step: int = 1
    multiplier: float | None = None
    fractions: str | None = None
    language: str | None = None  # that they are said in; None: the grammar's

    @property
    def size(self) -> int:
        per_integer = {None: 1, "halves": 2, "tenths": 10}[self.fractions]
        return len(range(self.first, self.last + 1, self.step)) * per_integer


ParsedList = list[ParsedValue] | ParsedRange | None  # None: a wildcard


@dataclass(frozen=True)
class ParsedTemplate:
    """One template with what is declared beside it."""

    key: Key
    sentence: Template
    block: Block
    lists: dict[str, ParsedList]
    rules: dict[str, Template]

    @property
    def weight(self) -> float:
        return self.block.metadata.get("weight", 1.0)


@dataclass(frozen=True)
class ParsedFile:
    """A grammar's file, its templates parsed but not yet resolved."""

    path: Path
    language: str
    intents: dict[str, list[ParsedTemplate]]
    lists: dict[str, ParsedList]
    rules: dict[str, Template]
    skip_words: list[str]
    prior: float
    pronunciations: dict[str, str | list[str]]
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        return _where(self.path, self.lines, key)


def read_grammar_file(path: Path) -> ParsedFile:
    """Reads and parses a grammar's file; GrammarError where it has faults of form, with the line of the first."""
    try:
        import hassil  # noqa: F401
    except ImportError as error:
        raise GrammarError(
            f"{path}: templates need the package hassil, which is not installed; pip install 'earshot[commands]'"
        ) from error
    path = locate(path)
    yaml_file = _YAMLFile(path, _read_yaml(path))
    try:
        file = File.model_validate_json(json.dumps(_as_written(yaml_file.document)))
    except ValidationError as error:
        raise GrammarError("\n".join(yaml_file.faults(error))) from error
    reader = _Reader(yaml_file)
    reader.check_size(file)
    intents = {
        name: [
            template
            for number, block in enumerate(intent.data)
            for template in reader.templates(("intents", name, "data", number), block)
        ]
        for name, intent in file.intents.items()
    }
    lists, rules = reader.lists((), file.lists), reader.rules((), file.expansion_rules)
    if reader.faults:
        raise GrammarError("\n".join(reader.faults))
    return ParsedFile(
        path=path,
        language=file.language,
        intents=intents,
        lists=lists,
        rules=rules,
        skip_words=file.skip_words,
        prior=file.prior,
        pronunciations=file.pronunciations,
        lines=yaml_file.document.lines,
    )


def _as_written(document: Document) -> Any:
    """Returns the file's values, in which a slot's number is one only where it is written as it would be written again.

    So 1.10 (a version), 7.30 (a time) and 1e3 (a code) stay these texts, as 0123 does.
    """
    for key, text in document.written.items():
        if not key or (key[-1] != "out" and "slots" not in key[-3:-1]):  # none: the whole file is one word
            continue
        *parents, last = key
        place = document.values
        for part in parents:
            place = place[part]
        value = place[last]
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) != text:
            place[last] = text
    return document.values


@dataclass(frozen=True)
class _Reader:
    """Parses with hassil what the file's models hold, and gathers where it fails."""

    file: _YAMLFile
    faults: list[str] = field(default_factory=list)

    def check_size(self, file: File) -> None:
        """GrammarError where lists have more values than can be searched, before any is parsed."""
        places: dict[Key, dict[str, ValueList]] = {(): file.lists}
        for name, intent in file.intents.items():
            places |= {("intents", name, "data", number): block.lists for number, block in enumerate(intent.data)}
        total = 0
        for key, lists in places.items():
            for name, values in lists.items():
                number = len(values.values or ())
                total += number
                if total > MAX_VALUES:
                    raise GrammarError(
                        f"{self.file.where((*key, 'lists', name))}: {number:,} values, with all lists before it "
                        f"{total:,}; expected at most {MAX_VALUES:,} in a grammar; leave out what nobody says"
                    )

    def templates(self, key: Key, block: Block) -> list[ParsedTemplate]:
        lists, rules = self.lists(key, block.lists), self.rules(key, block.expansion_rules)
        return [
            ParsedTemplate((*key, "sentences", number), template, block, lists, rules)
            for number, text in enumerate(block.sentences)
            for template in self._template((*key, "sentences", number), text)
        ]

    def rules(self, key: Key, rules: dict[str, str]) -> dict[str, Template]:
        return {
            name: template
            for name, text in rules.items()
            for template in self._template((*key, "expansion_rules", name), text)
        }

    def lists(self, key: Key, lists: dict[str, ValueList]) -> dict[str, ParsedList]:
        return {name: parsed for name, values in lists.items() for parsed in self._list((*key, "lists", name), values)}

    def _template(self, key: Key, text: str) -> Iterator[Template]:
        """Yields the parsed template; nothing, and a fault more, where it is none."""
        from hassil.parse_expression import parse_sentence
        from hassil.parser import ParseError

        if not text.strip():
            self._fault(key, "it is empty; expected words; write some, or leave it out")
            return
        depth = deepest = 0
        for bracket in BRACKETS.findall(text):
            depth += (bracket in "([{<") - (bracket in ")]}>")
            deepest = max(deepest, depth)
        if deepest > MAX_NESTING or len(text) > MAX_LENGTH:
            self._fault(
                key,
                f"a template of {len(text):,} characters, brackets {deepest} deep; expected at most {MAX_LENGTH:,}, "
                f"and {MAX_NESTING} deep; make rules of its parts",
            )
            return
        try:
            yield parse_sentence(text, keep_text=True)
        except (ParseError, ValueError, AssertionError, IndexError) as error:
            self._fault(
                key,
                f"'{text}' is no template ({error}); expected brackets of ( ) [ ] {{ }} < > that are closed in their "
                f"order",
            )

    def _list(self, key: Key, values: ValueList) -> Iterator[ParsedList]:
        """Yields the parsed list; nothing, and a fault more, where it is none."""
        if values.values is not None:
            yield [
                ParsedValue(expression, value.out, value.brought, value.metadata.weight)
                for number, value in enumerate(values.values)
                for expression in self._said((*key, "values", number), value.text)
            ]
        elif values.range is not None:
            numbers = values.range
            if numbers.first > numbers.last:
                self._fault(
                    (*key, "range"), f"from {numbers.first} to {numbers.last}; expected the smaller number first"
                )
            yield ParsedRange(
                numbers.first,
                numbers.last,
                numbers.step,
                numbers.multiplier,
                numbers.fractions,
                numbers.words_language,
            )
        elif values.wildcard:
            yield None
        else:
            name = key[-1]
            self._fault(key, f"'{name}' is no list; expected values, a range or wildcard: true")

    def _said(self, key: Key, text: str) -> Iterator[Expression]:
        """Yields how a value is said: a template, or words."""
        from hassil.expression import TextChunk
        from hassil.util import is_template, normalize_text

        if not text.strip():
            self._fault(key, "it is empty; expected words; write some, or leave it out")
        elif is_template(text):
            for template in self._template(key, text):
                yield template.expression
        else:
            yield TextChunk(normalize_text(text))

    def _fault(self, key: Key, problem: str) -> None:
        self.faults.append(f"{self.file.where(key)}: {problem}")


@dataclass(frozen=True)
class _YAMLFile:
    """A file's values, and what errors say of them."""

    path: Path
    document: Document

    def where(self, key: Key) -> str:
        return _where(self.path, self.document.lines, key)

    def faults(self, error: ValidationError) -> list[str]:
        """Returns each fault of the file's form once, as a line.

        Of what may be a value or a section, pydantic names every member of the union: the first of a key is said, and
        none where a key inside is at fault.
        """
        by_key: dict[Key, str] = {}
        for fault in error.errors():
            key, part = self._place(fault["loc"])
            by_key.setdefault(key, self._fault(fault, key, part))
        inner = {key[:-1] for key in by_key if key}
        return list(dict.fromkeys(said for key, said in by_key.items() if key not in inner))

    def _place(self, location: Key) -> tuple[Key, type[BaseModel] | None]:
        """Returns a fault's key without the names of a union's members, and the section among these."""
        key: Key = ()
        part = None
        for name in location:
            is_member = name in UNION_PARTS or name in SCALARS or str(name).startswith("list[")
            if is_member and (*key, name) not in self.document.lines:
                part = UNION_PARTS.get(str(name))
            else:
                key = (*key, name)
        return key, part

    def _fault(self, fault: Any, key: Key, part: type[BaseModel] | None) -> str:
        kind = fault["type"]
        where = self.where(key)
        if kind == "extra_forbidden":
            if key[-1] in REMOVED:
                return f"{where}: this key has no use here; expected it left out: {REMOVED[str(key[-1])]}"
            known = {field.alias or name for name, field in (part or part_at(key[:-1])).model_fields.items()}
            return f"{where}: unknown key; {suggestion(str(key[-1]), known)}"
        if kind == "missing":
            return f"{where}: '{key[-1]}' is missing; this key is required"
        if kind == "too_short":
            return f"{where}: it is empty; expected one at least; write some, or remove it"
        is_words = kind == "string_type" or (bool(key) and isinstance(key[-1], int))
        if key in self.document.written and is_words:
            return f"{where}: {_not_words(self.document.written[key], fault['input'])}"
        found = f"found {_shown(fault['input'])}"
        if kind == "model_type":
            return f"{where}: {found}; expected {part_at(key).form}"
        if kind == "string_type":
            return f"{where}: {found}; expected a template in quotes, such as '(one|other) word'"
        if kind == "list_type":
            return f"{where}: {found}; expected a list: [{fault['input']}], or each in a line after '-'"
        if kind == "value_error":
            return f"{where}: {fault['ctx']['error']}"
        return f"{where}: {found}; {fault['msg'].lower()}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return (repr(text) if isinstance(value, str) else text)[:200]


def _not_words(written: str, taken: Any) -> str:
    """Returns the fault of words that YAML takes for something else."""
    if taken is None and not written:
        return "found nothing; expected words"
    if isinstance(taken, bool) or taken is None:
        meaning = {True: "yes", False: "no", None: "nothing"}[taken]
        return f"YAML reads {written} as {meaning}; expected words; put it in quotes: '{written}'"
    return (
        f"found the number {written}; expected words, as they are spoken; write them in letters (for the value itself "
        f"{{in: words, out: {written}}}), or use a range"
    )


def _read_yaml(path: Path) -> Document:
    """Raises GrammarError where it is no YAML, or has a key twice, of which YAML would drop the first."""
    if not path.is_file():
        raise GrammarError(
            f"{path}: no such file; expected a grammar of sentence templates, such as conf/commands/*.yaml"
        )
    try:
        return read_yaml_file(path)
    except YAMLError as error:
        raise GrammarError(yaml_fault(path, error)) from error


def yaml_fault(path: Path, error: YAMLError) -> str:
    """Returns a file that is no YAML, with the line where that shows."""
    line = f":{error.line}" if error.line else ""
    key = f" {dotted(error.key)}:" if error.key else " not a YAML file:"
    expected = (
        ""
        if "; expected" in error.problem
        else ("; expected YAML, indented with spaces, with texts that hold brackets in quotes")
    )
    return f"{path}{line}:{key} {error.problem}{expected}"


def _where(path: Path, lines: dict[Key, int], key: Key) -> str:
    """`file:line: key`, with the line of the nearest key that the file has."""
    while key not in lines and key:
        key = key[:-1]
    return f"{path}:{lines.get(key, 1)}: {dotted(key)}".rstrip(": ")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns what an unknown name was perhaps meant to be."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    shown = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"did you mean '{near[0]}'?" if near else f"expected one of {shown or '(none)'}"
