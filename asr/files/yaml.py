"""YAML that people write, read without surprises: data only, every scalar what it looks like, limits before memory.

The scalars are those of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), without its octal and
hexadecimal numbers: true and false, null and ~, whole and decimal numbers. Everything else is the text that is
written: on, off, yes, no, 12:00, 0123, 1_000, 2026-11-28. Tags other than !!str, merge keys, numbers that are not
finite, and keys that are not texts are refused with their line, for they would be silently something else.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 32 * 2**20
MAX_DEPTH = 40  # sections within sections
MAX_NODES = 2_000_000  # scalars, lists and mappings, those that aliases stand for counted each time
MAX_DIGITS = 300  # of a number; more is beyond what a float can hold

Key = tuple[str | int, ...]

NULL = frozenset({"", "~", "null", "Null", "NULL"})
BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
CORE = "tag:yaml.org,2002:"
MERGE = "<<"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, where PyYAML has it: ten times as fast


class YAMLError(ValueError):
    """A text that is not YAML as read here; `problem` says why, beside `line` and `key` where these are known."""

    def __init__(self, problem: str, *, line: int | None = None, key: Key = ()) -> None:
        self.problem, self.line, self.key = problem, line, key
        place = [f"line {line}"] if line else []
        super().__init__(": ".join([*place, *([dotted(key)] if key else []), problem]))


@dataclass(frozen=True)
class Document:
    """Holds what a file says, with the line of each value and, of scalars without quotes, how they are written."""

    values: Any
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)


def dotted(key: Key) -> str:
    return ".".join(map(str, key))


def read_yaml_file(path: Path) -> Document:
    """Reads a file's one document; YAMLError where it is too large, not UTF-8 or not YAML."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise YAMLError(f"{size:,} bytes; expected at most {MAX_BYTES:,} of YAML")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YAMLError(f"not UTF-8 ({error.reason} at byte {error.start}); expected YAML in UTF-8") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> Document:
    """Reads a text's one document; YAMLError where it is not YAML, or too large once its aliases are counted."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise YAMLError(reason, line=mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise YAMLError(" ".join(str(error).split())) from error
    return Document(builder.root, builder.lines, builder.written)


def write_yaml(values: Any, **options: Any) -> str:
    """Writes values as YAML that `parse_yaml` reads back as the same, and a reader of YAML 1.1 too."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)


class _Dumper(yaml.SafeDumper):
    """Puts texts in quotes that either schema would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# What YAML 1.1 takes for text and `parse_yaml` for a number: 1e-3.
_Dumper.add_implicit_resolver(CORE + "float", re.compile(f"^(?:{FLOAT.pattern})$"), list("-+.0123456789"))


@dataclass
class _Open:
    """A list or mapping that is being read."""

    values: list[Any] | dict[str, Any]
    key: Key
    anchor: str | None
    line: int
    size: int = 1  # nodes in it
    name: str | None = None  # the key whose value comes next, in a mapping
    keys: dict[str, int] = field(default_factory=dict)  # with their lines


class _Builder:
    """Makes values of the parser's events, one by one, so that nothing is expanded before it is counted."""

    def __init__(self) -> None:
        self.root: Any = None
        self.lines: dict[Key, int] = {}
        self.written: dict[Key, str] = {}
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # values with their sizes
        self._num_nodes = 0
        self._num_documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._num_documents += 1
            if self._num_documents > 1:
                raise YAMLError("a second document begins; expected one in a file", line=line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)

    def _node(self, event: Any, line: int) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.values, dict) and parent.name is None:
            parent.name = self._key_name(event, parent, line)
            return
        key = self._next_key(parent)
        self.lines[key] = line
        if isinstance(event, yaml.AliasEvent):
            value, size = self._of_alias(event.anchor, key, line)
            self._count(size, key, line)
            self._put(value, size)
            return
        self._count(1, key, line)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, key, line)
            if event.anchor:
                self._anchors[event.anchor] = value, 1
            self._put(value, 1)
            return
        self._check_tag(event, key, line, allowed=(CORE + "map", CORE + "seq"))
        if len(self._stack) >= MAX_DEPTH:
            raise YAMLError(f"more than {MAX_DEPTH} levels deep; expected fewer", line=line, key=key)
        self._stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], key, event.anchor, line))

    def _next_key(self, parent: _Open | None) -> Key:
        if parent is None:
            return ()
        if isinstance(parent.values, dict):
            assert parent.name is not None
            return (*parent.key, parent.name)
        return (*parent.key, len(parent.values))

    def _key_name(self, event: Any, parent: _Open, line: int) -> str:
        """Keys are the texts that are written, whatever these would be as values."""
        if not isinstance(event, yaml.ScalarEvent):
            raise YAMLError("a key that is no text; expected `key: value`", line=line, key=parent.key)
        name = event.value
        key = (*parent.key, name)
        if name == MERGE and event.implicit[0]:
            raise YAMLError("merge keys are not read; expected each key written out", line=line, key=key)
        self._check_tag(event, key, line, allowed=(CORE + "str",))
        self._count(1, key, line)
        if name in parent.keys:
            raise YAMLError(
                f"the key '{name}' is there twice, the same key as in line {parent.keys[name]}; expected each once; "
                f"keep one of them, or join the two",
                line=line,
                key=key,
            )
        parent.keys[name] = line
        return name

    def _of_alias(self, anchor: str, key: Key, line: int) -> tuple[Any, int]:
        if any(each.anchor == anchor for each in self._stack):
            raise YAMLError(f"*{anchor} stands for what it is in itself; expected no circle", line=line, key=key)
        if anchor not in self._anchors:
            raise YAMLError(f"*{anchor} stands for nothing; expected &{anchor} before it", line=line, key=key)
        return self._anchors[anchor]

    def _count(self, number: int, key: Key, line: int) -> None:
        self._num_nodes += number
        if self._num_nodes > MAX_NODES:
            raise YAMLError(
                f"more than {MAX_NODES:,} values, with those that aliases (*name) stand for; expected fewer",
                line=line,
                key=key,
            )

    def _put(self, value: Any, size: int) -> None:
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        parent.size += size
        if isinstance(parent.values, dict):
            assert parent.name is not None
            parent.values[parent.name], parent.name = value, None
        else:
            parent.values.append(value)

    def _close(self) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = done.values, done.size
        self._put(done.values, done.size)

    def _check_tag(self, event: Any, key: Key, line: int, *, allowed: tuple[str, ...]) -> None:
        if event.tag not in (None, "!", *allowed):
            tag = event.tag.replace(CORE, "!!")
            raise YAMLError(f"the tag {tag} is not read; expected plain values; leave it out", line=line, key=key)

    def _scalar(self, event: Any, key: Key, line: int) -> Any:
        self._check_tag(event, key, line, allowed=(CORE + "str",))
        if not event.implicit[0]:  # in quotes, a block of text, or !!str
            return event.value
        self.written[key] = event.value
        try:
            return read_scalar(event.value)
        except ValueError as error:
            raise YAMLError(str(error), line=line, key=key) from None


def read_scalar(text: str) -> str | int | float | bool | None:
    """Returns the value that a text without quotes stands for;
    ValueError for numbers that are not finite, or too long.
    """
    if text in NULL:
        return None
    if text in BOOL:
        return BOOL[text]
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"found {text}; expected a finite number (for the text: '{text}')")
    is_int = INT.fullmatch(text)
    if not is_int and not FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text):,} characters; expected at most {MAX_DIGITS} (for the text: quotes)")
    number = int(text) if is_int else float(text)
    if not math.isfinite(number):
        raise ValueError(f"found {text}, which is beyond every float; expected a finite number")
    return number
