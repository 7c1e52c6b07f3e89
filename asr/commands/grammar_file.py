"""The YAML file of a grammar: checked key by key, its templates parsed by hassil, each fault with its line."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from asr.packaged import locate

if TYPE_CHECKING:
    from hassil.expression import Sentence as Template
    from hassil.intents import SlotList

Key = tuple[str | int, ...]
SlotValue = str | int | float | bool


class GrammarError(ValueError):
    """A grammar that cannot be used; the message starts with its file and line."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    form: ClassVar[str]  # what is expected of it, for an error


def _check_weight(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """`weight` is the one key of metadata that matters here: how often this is said, beside the others."""
    weight = (metadata or {}).get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ValueError(f"weight {weight!r}; expected a number above 0, such as 2.0")
    return metadata


_Metadata = Annotated[dict[str, Any] | None, AfterValidator(_check_weight)]


class _Value(_Part):
    form = "words, or {in: words, out: value}"
    text: str = Field(alias="in")
    out: SlotValue | None = None
    context: dict[str, Any] | None = None
    metadata: _Metadata = None


class _Range(_Part):
    form = "{from: 1, to: 9}, perhaps with a step"
    type: str = "number"
    first: int = Field(alias="from")
    last: int = Field(alias="to")
    step: int = Field(1, ge=1)
    multiplier: float | None = None
    fractions: str | None = None
    digits: bool = True
    words: bool = True
    words_language: str | None = None


class _List(_Part):
    form = "values: [...], or range: {from: 1, to: 9}"
    values: list[_Value] | None = Field(None, min_length=1)
    range: _Range | None = None
    wildcard: bool = False
    metadata: dict[str, Any] | None = None

    @field_validator("values", mode="before")
    @classmethod
    def _words_are_values(cls, values: Any) -> Any:
        """`kitchen` stands for `{in: kitchen}`."""
        return (
            [{"in": each} if isinstance(each, str) else each for each in values] if isinstance(values, list) else values
        )


class _Block(_Part):
    """Templates of an intent; the keys that only matter to an assistant's matching are allowed and not used."""

    form = "sentences: and a list of templates"
    sentences: list[str] = Field(min_length=1)
    slots: dict[str, SlotValue | list[SlotValue]] = {}
    lists: dict[str, _List] = {}
    expansion_rules: dict[str, str] = {}
    response: str | None = None
    requires_context: dict[str, Any] = {}
    excludes_context: dict[str, Any] = {}
    metadata: _Metadata = None
    required_keywords: list[str] | None = None
    inferred_domain: str | None = None
    name_domains: list[str] | None = None
    settings: dict[str, Any] = {}


class _Intent(_Part):
    form = "data: and a list of blocks, each with sentences:"
    data: list[_Block] = Field(min_length=1)


class _File(_Part):
    form = "language: and intents:, and perhaps lists: and expansion_rules:"
    language: str
    intents: dict[str, _Intent] = Field(min_length=1)
    lists: dict[str, _List] = {}
    expansion_rules: dict[str, str] = {}
    skip_words: list[str] = []
    settings: dict[str, Any] = {}
    responses: dict[str, Any] = {}


@dataclass(frozen=True)
class ParsedTemplate:
    """One template with what is declared beside it."""

    key: Key
    sentence: Template
    slots: dict[str, Any]
    lists: dict[str, SlotList]
    rules: dict[str, Template]
    weight: float = 1.0


@dataclass(frozen=True)
class ParsedFile:
    """A grammar's file, its templates parsed but not yet resolved."""

    path: Path
    language: str
    intents: dict[str, list[ParsedTemplate]]
    lists: dict[str, SlotList]
    rules: dict[str, Template]
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        return _where(self.path, self.lines, key)


def read_grammar_file(path: Path) -> ParsedFile:
    """Read and parse a grammar's file; GrammarError where it has faults of form, with the line of the first."""
    try:
        import hassil  # noqa: F401
    except ImportError as error:
        raise GrammarError(
            f"{path}: templates need the package hassil, which is not installed; pip install 'earshot[commands]'"
        ) from error
    path = locate(path)
    yaml_file = _read_yaml(path)
    try:
        file = _File.model_validate_json(json.dumps(yaml_file.values, default=str))
    except ValidationError as error:
        raise GrammarError("\n".join(yaml_file.fault(fault) for fault in error.errors())) from error
    reader = _Reader(yaml_file, file.language)
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
    return ParsedFile(path, file.language, intents, lists, rules, yaml_file.lines)


@dataclass(frozen=True)
class _Reader:
    """Parses with hassil what the file's models hold, and gathers where it fails."""

    file: _YAMLFile
    language: str
    faults: list[str] = field(default_factory=list)

    def templates(self, key: Key, block: _Block) -> list[ParsedTemplate]:
        lists, rules = self.lists(key, block.lists), self.rules(key, block.expansion_rules)
        weight = (block.metadata or {}).get("weight", 1.0)
        return [
            ParsedTemplate((*key, "sentences", number), template, block.slots, lists, rules, weight)
            for number, text in enumerate(block.sentences)
            for template in self._template((*key, "sentences", number), text)
        ]

    def rules(self, key: Key, rules: dict[str, str]) -> dict[str, Template]:
        return {
            name: template
            for name, text in rules.items()
            for template in self._template((*key, "expansion_rules", name), text)
        }

    def lists(self, key: Key, lists: dict[str, _List]) -> dict[str, SlotList]:
        return {name: parsed for name in lists for parsed in self._list((*key, "lists", name))}

    def _template(self, key: Key, text: str) -> Iterator[Template]:
        """The parsed template; nothing, and a fault more, where it is none."""
        from hassil.parse_expression import parse_sentence
        from hassil.parser import ParseError

        where = self.file.where(key)
        if not text.strip():
            self.faults.append(f"{where}: it is empty; expected words; write some, or leave it out")
            return
        try:
            yield parse_sentence(text, keep_text=True)
        except (ParseError, ValueError, AssertionError, IndexError) as error:
            self.faults.append(
                f"{where}: '{text}' is no template ({error}); expected brackets of ( ) [ ] {{ }} < > that are closed "
                f"in their order"
            )

    def _list(self, key: Key) -> Iterator[SlotList]:
        """The parsed list; nothing, and a fault more, where it is none."""
        from hassil.intents import Intents
        from hassil.parser import ParseError

        values = self.file.values
        for part in key:
            values = values[part]
        name = str(key[-1])
        try:
            parsed = Intents.from_dict({"language": self.language, "intents": {}, "lists": {name: values}})
            yield parsed.slot_lists[name]
        except (ParseError, ValueError, AssertionError, IndexError) as error:
            self.faults.append(
                f"{self.file.where(key)}: '{name}' is no list ({error}); expected values, a range or wildcard: true"
            )


@dataclass(frozen=True)
class _YAMLFile:
    """A file's values, and what errors say of them."""

    path: Path
    values: Any
    lines: dict[Key, int]
    raw: dict[Key, str]  # scalars as they are written: on, which YAML takes for true

    def where(self, key: Key) -> str:
        return _where(self.path, self.lines, key)

    def fault(self, fault: Any) -> str:
        """One fault of the file's form, as a line."""
        key = tuple(fault["loc"])
        where = self.where(key)
        if fault["type"] == "extra_forbidden":
            known = {field.alias or name for name, field in _model_at(key[:-1]).model_fields.items()}
            return f"{where}: unknown key; {suggestion(str(key[-1]), known)}"
        if fault["type"] == "missing":
            return f"{where}: '{key[-1]}' is missing; this key is required"
        if fault["type"] == "too_short":
            return f"{where}: it is empty; expected one at least; write some, or remove it"
        is_words = fault["type"] == "string_type" or (bool(key) and isinstance(key[-1], int))
        if key in self.raw and is_words:
            return f"{where}: {_not_words(self.raw[key], fault['input'])}"
        if fault["type"] == "model_type":
            return f"{where}: found {fault['input']!r}; expected {_model_at(key).form}"
        if fault["type"] == "string_type":
            return f"{where}: found {fault['input']!r}; expected a template in quotes, such as '(one|other) word'"
        if fault["type"] == "list_type":
            return (
                f"{where}: found {fault['input']!r}; expected a list: [{fault['input']}], or each in a line after '-'"
            )
        return f"{where}: found {fault['input']!r}; {fault['msg'].lower()}"


def _not_words(written: str, taken: Any) -> str:
    """The fault of words that YAML takes for something else."""
    if taken is None and not written:
        return "found nothing; expected words"
    if isinstance(taken, bool) or taken is None:
        meaning = {True: "yes", False: "no", None: "nothing"}[taken]
        return f"YAML reads {written} as {meaning}; expected words; put it in quotes: '{written}'"
    return (
        f"found the number {written}; expected words, as they are spoken; write them in letters (for the value itself "
        f"{{in: words, out: {written}}}), or use a range"
    )


def _read_yaml(path: Path) -> _YAMLFile:
    """Raises GrammarError where it is no YAML, or has a key twice, of which YAML would drop the first."""
    if not path.is_file():
        raise GrammarError(
            f"{path}: no such file; expected a grammar of sentence templates, such as conf/commands/*.yaml"
        )
    try:
        text = path.read_text(encoding="utf-8")
        root, values = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise GrammarError(
            f"{path}{line}: not a YAML file: {reason}; expected YAML, indented with spaces, with texts that hold "
            f"brackets in quotes"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise GrammarError(f"{path}: not a YAML file: {reason}; expected YAML in UTF-8") from error
    file = _YAMLFile(path, values, {}, {})
    if root is not None and (twice := list(_collect(root, (), file))):
        raise GrammarError("\n".join(twice))
    return file


def _collect(node: yaml.Node, key: Key, file: _YAMLFile) -> Iterator[str]:
    """Take down the line of each value and how it is written; gives the keys that a mapping has twice, as faults."""
    file.lines[key] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        known: dict[str, int] = {}
        for name, child in node.value:
            inner, line = (*key, name.value), name.start_mark.line + 1
            if known.setdefault(name.value, line) != line:
                where = f"{file.path}:{line}: {'.'.join(map(str, inner))}"
                yield f"{where}: the same key as in line {known[name.value]}; expected each once; join the two"
            yield from _collect(child, inner, file)
    elif isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            yield from _collect(child, (*key, number), file)
    else:
        file.raw[key] = node.value


def _where(path: Path, lines: dict[Key, int], key: Key) -> str:
    """`file:line: key`, with the line of the nearest key that the file has."""
    while key not in lines and key:
        key = key[:-1]
    return f"{path}:{lines.get(key, 1)}: {'.'.join(map(str, key))}".rstrip(": ")


def _model_at(key: Key) -> type[_Part]:
    """The part of the file that these keys lead to."""
    if not key:
        return _File
    if key[-1] == "range":
        return _Range
    if len(key) == 2 and key[0] == "intents":
        return _Intent
    if isinstance(key[-1], int):
        return _Block if key[-2] == "data" else _Value
    return _List


def suggestion(name: str, known: Iterable[str]) -> str:
    """What an unknown name was perhaps meant to be."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known) or '(none)'}"
