"""JSGF grammars read into templates: https://www.w3.org/TR/jsgf/"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from asr.commands.grammar_file import GrammarError, suggestion

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
STATEMENT = re.compile(r'(?:"(?:\\.|[^"\\])*"|\{(?:\\.|[^}\\])*\}|[^;"{])*;')
RULE = re.compile(r"(?P<public>public\s+)?<(?P<name>[^<>\s]+)>\s*=\s*(?P<body>.*)", re.DOTALL)
PIECE = re.compile(
    r'\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<tag>\{(?:\\.|[^}\\])*\})|/(?P<weight>[0-9.eE+-]+)/'
    r"|<(?P<rule>[^<>\s]+)>|(?P<sign>[()\[\]|*+])|(?P<word>[^\s()\[\]|*+{}<>/\"]+))"
)


@dataclass(frozen=True)
class JSGF:
    """The rules of a grammar; each is alternatives, a template with its weight."""

    public: list[str]
    alternatives: dict[str, list[tuple[str, float]]]
    used: set[str]  # rules that others name


def read_jsgf(path: Path, text: str) -> JSGF:
    """Read a grammar's rules; GrammarError for what has no finite set of sentences, or no meaning."""
    text = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text.removeprefix("\ufeff"))
    public, alternatives, used = [], {}, set()
    place = 0
    for statement in STATEMENT.finditer(text):
        line = 1 + text.count("\n", 0, statement.start() + len(statement[0]) - len(statement[0].lstrip()))
        where, source = f"{path}:{line}", statement[0][:-1].strip()
        place = statement.end()
        if source.startswith(("#JSGF", "grammar ")) or not source:
            continue
        match = RULE.fullmatch(source)
        if match is None:
            raise GrammarError(
                f"{where}: '{source.splitlines()[0]}' is no rule; expected [public] <name> = ...; "
                f"(imports: put the rules into this file)"
            )
        name = _name(match["name"])
        reader = _Expansion(where, match["body"])
        alternatives[name] = reader.alternatives()
        used |= reader.used
        if match["public"]:
            public.append(name)
    if text[place:].strip():
        raise GrammarError(f"{path}: '{text[place:].strip().splitlines()[0]}' has no end; expected a ; after each rule")
    if not public:
        raise GrammarError(f"{path}: no public rule; expected one at least: public <command> = ...;")
    for name in sorted(used):
        if name not in alternatives:
            raise GrammarError(f"{path}: no rule <{name}>; {suggestion(name, alternatives)}")
    return JSGF(public, alternatives, used)


def _name(name: str) -> str:
    return re.sub(r"\W", "_", name)


class _Expansion:
    """The right side of a rule."""

    def __init__(self, where: str, text: str) -> None:
        self._where, self._text, self._place = where, text.rstrip(), 0
        self.used: set[str] = set()

    def alternatives(self) -> list[tuple[str, float]]:
        found = self._alternatives()
        if self._place < len(self._text):
            raise GrammarError(f"{self._where}: ')' or ']' without its opening; expected brackets in pairs")
        return found

    def _alternatives(self) -> list[tuple[str, float]]:
        """Up to the end or to a closing bracket, which is left there."""
        found: list[tuple[str, float]] = []
        pieces: list[str] = []
        weight = 1.0
        while self._place < len(self._text):
            match = PIECE.match(self._text, self._place)
            if match is None:
                rest = self._text[self._place :].strip()
                raise GrammarError(f"{self._where}: cannot be read at '{rest}'; expected words, <rules> and brackets")
            if match["sign"] in (")", "]"):
                break
            self._place = match.end()
            if match["sign"] == "|":
                found.append((" ".join(pieces), weight))
                pieces, weight = [], 1.0
            elif match["weight"]:
                weight = self._weight(match["weight"])
            elif not match["tag"]:
                pieces.append(self._piece(match))
        return [*found, (" ".join(pieces), weight)]

    def _weight(self, text: str) -> float:
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if weight <= 0:
            raise GrammarError(f"{self._where}: weight /{text}/; expected a number above 0")
        return weight

    def _piece(self, match: re.Match[str]) -> str:
        if match["rule"]:
            if match["rule"] == "VOID":
                raise GrammarError(f"{self._where}: <VOID> can never be said; leave that alternative out")
            if match["rule"] == "NULL":
                return ""
            self.used.add(_name(match["rule"]))
            return f"<{_name(match['rule'])}>"
        if match["sign"] in ("*", "+"):
            raise GrammarError(
                f"{self._where}: '{match['sign']}' repeats without end; expected a grammar of finite sentences; write "
                f"how often as alternatives"
            )
        if match["sign"]:
            return self._bracket(match["sign"])
        return re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] is not None else match["word"]

    def _bracket(self, opening: str) -> str:
        closing = {"(": ")", "[": "]"}[opening]
        inner = self._alternatives()
        rest = self._text[self._place :].lstrip()
        if not rest.startswith(closing):
            raise GrammarError(f"{self._where}: '{opening}' without its '{closing}'; expected brackets in pairs")
        self._place = self._text.index(closing, self._place) + 1
        return opening + "|".join(template for template, _ in inner) + closing
