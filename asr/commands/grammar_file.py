"""The YAML file of a grammar: checked key by key, its templates parsed by hassil, each fault with its line."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

if TYPE_CHECKING:
    from hassil.expression import Sentence as Template
    from hassil.intents import SlotList

Key = tuple[str | int, ...]
SlotValue = str | int | float | bool


class GrammarError(ValueError):
    """A grammar that cannot be used; the message starts with its file and line."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _check_weight(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """`weight` is the one key of metadata that matters here: how often this is said, beside the others."""
    weight = (metadata or {}).get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ValueError(f"weight {weight!r}; expected a number above 0, such as 2.0")
    return metadata


_Metadata = Annotated[dict[str, Any] | None, AfterValidator(_check_weight)]


class _Value(_Part):
    text: str = Field(alias="in")
    out: SlotValue | None = None
    context: dict[str, Any] | None = None
    metadata: _Metadata = None


class _Range(_Part):
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
    values: list[_Value] | None = None
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
    data: list[_Block] = Field(min_length=1)


class _File(_Part):
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
    values, lines = _read_yaml(path)
    try:
        file = _File.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise GrammarError("\n".join(_fault(path, lines, fault) for fault in error.errors())) from error
    reader = _Reader(path, lines, values, file.language)
    intents = {
        name: [
            template
            for number, block in enumerate(intent.data)
            for template in reader.templates(("intents", name, "data", number), block)
        ]
        for name, intent in file.intents.items()
    }
    return ParsedFile(
        path=path,
        language=file.language,
        intents=intents,
        lists=reader.lists((), file.lists),
        rules=reader.rules((), file.expansion_rules),
        lines=lines,
    )


@dataclass(frozen=True)
class _Reader:
    """Parses with hassil what the file's models hold, and says where it fails."""

    path: Path
    lines: dict[Key, int]
    values: Any  # of the YAML file, as hassil takes them
    language: str

    def templates(self, key: Key, block: _Block) -> list[ParsedTemplate]:
        lists, rules = self.lists(key, block.lists), self.rules(key, block.expansion_rules)
        return [
            ParsedTemplate(
                (*key, "sentences", number),
                self._template((*key, "sentences", number), text),
                block.slots,
                lists,
                rules,
                (block.metadata or {}).get("weight", 1.0),
            )
            for number, text in enumerate(block.sentences)
        ]

    def rules(self, key: Key, rules: dict[str, str]) -> dict[str, Template]:
        return {name: self._template((*key, "expansion_rules", name), text) for name, text in rules.items()}

    def lists(self, key: Key, lists: dict[str, _List]) -> dict[str, SlotList]:
        return {name: self._list((*key, "lists", name)) for name in lists}

    def _template(self, key: Key, text: str) -> Template:
        from hassil.parse_expression import parse_sentence
        from hassil.parser import ParseError

        try:
            return parse_sentence(text, keep_text=True)
        except (ParseError, ValueError, AssertionError, IndexError) as error:
            raise GrammarError(
                f"{_where(self.path, self.lines, key)}: '{text}' is no template ({error}); expected brackets of "
                f"( ) [ ] {{ }} < > that are closed in their order"
            ) from error

    def _list(self, key: Key) -> SlotList:
        from hassil.intents import Intents
        from hassil.parser import ParseError

        values = self.values
        for part in key:
            values = values[part]
        name = str(key[-1])
        try:
            return Intents.from_dict({"language": self.language, "intents": {}, "lists": {name: values}}).slot_lists[
                name
            ]
        except (ParseError, ValueError, AssertionError, IndexError) as error:
            raise GrammarError(
                f"{_where(self.path, self.lines, key)}: '{name}' is no list ({error}); expected values, a range or "
                f"wildcard: true"
            ) from error


def _read_yaml(path: Path) -> tuple[Any, dict[Key, int]]:
    """The file's values, and the line of each by its keys."""
    if not path.is_file():
        raise GrammarError(
            f"{path}: no such file; expected a grammar of sentence templates, such as conf/commands/*.yaml"
        )
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GrammarError(f"{path}: not a YAML file: {error}") from error
    lines: dict[Key, int] = {}
    if root is not None:
        _collect_lines(root, (), lines)
    return values, lines


def _collect_lines(node: yaml.Node, key: Key, lines: dict[Key, int]) -> None:
    lines[key] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            _collect_lines(child, (*key, name.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            _collect_lines(child, (*key, number), lines)


def _where(path: Path, lines: dict[Key, int], key: Key) -> str:
    """`file:line: key`, with the line of the nearest key that the file has."""
    while key not in lines and key:
        key = key[:-1]
    return f"{path}:{lines.get(key, 1)}: {'.'.join(map(str, key))}".rstrip(": ")


def _fault(path: Path, lines: dict[Key, int], fault: Any) -> str:
    """One fault of the file's form, as a line."""
    key = tuple(fault["loc"])
    where = _where(path, lines, key)
    if fault["type"] == "extra_forbidden":
        known = {field.alias or name for name, field in _model_at(key[:-1]).model_fields.items()}
        return f"{where}: unknown key; {suggestion(str(key[-1]), known)}"
    if fault["type"] == "missing":
        return f"{where}: '{key[-1]}' is missing; this key is required"
    return f"{where}: found {fault['input']!r}; {fault['msg'].lower()}"


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
