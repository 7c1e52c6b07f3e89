"""JSGF grammars read into templates: https://www.w3.org/TR/jsgf/

A parser by recursive descent of this grammar, in which '' stands for what is written so, and { } for repetition:

    file         = ["\\ufeff"] ["#JSGF" version [encoding [language]] ";"] "grammar" name ";" { import | rule }
    import       = "import" "<" name ">" ";"                                 refused: put the rules into the file
    rule         = ["public"] "<" name ">" "=" alternatives ";"
    alternatives = weighted { "|" weighted }
    weighted     = [ "/" number "/" ] sequence                               all alternatives have a weight, or none
    sequence     = { item { tag | "*" | "+" } }                              "*" and "+" are refused: they never end
    item         = token | "<" name ">" | "(" alternatives ")" | "[" alternatives "]"
    token        = words without signs | '"' any with \\" and \\\\ '"'
    tag          = "{" any with \\} and \\\\ "}"

Comments are /* */ and //, but not in quotes or tags. Tags are left out, and counted.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from asr.grammar.file import GrammarError, suggestion

MAX_BYTES = 8 * 2**20
MAX_NESTING = 40  # brackets in brackets
HEADER = re.compile(rb"\s*#JSGF[ \t]+V(\d+\.\d+)(?:[ \t]+([^\s;]+))?(?:[ \t]+([^\s;]+))?[ \t]*;")
PIECE = re.compile(
    r'(?P<space>\s+|//[^\n]*|/\*.*?\*/)|"(?P<quoted>(?:\\.|[^"\\])*)"|\{(?P<tag>(?:\\.|[^}\\])*)\}'
    r"|/(?P<weight>[^/\s;]*)/|<(?P<rule>[^<>\s;|=*+()\[\]{}/\"]+)>|(?P<sign>[()\[\]|*+=;])"
    r"|(?P<word>(?:\\.|[^\s()\[\]|*+={}<>/\";\\])+)",
    re.DOTALL,
)
TEMPLATE_SIGNS = re.compile(r"([()\[\]{}<>|;\\])")


@dataclass(frozen=True)
class Way:
    """One alternative: a template, and its weight."""

    template: str
    weight: float


@dataclass(frozen=True)
class JSGF:
    """The rules of a grammar, by names that templates can have."""

    language: str | None  # of the header
    public: dict[str, str]  # names of the public rules, with those that the file gives them
    rules: dict[str, list[Way]]
    groups: dict[str, list[Way]]  # brackets with weights; a template refers to one as {name:@name}
    used: set[str]  # rules that others name
    num_tags: int  # left out


@dataclass(frozen=True)
class _Piece:
    kind: str
    text: str
    line: int


def read_jsgf(path: Path) -> JSGF:
    """Reads a grammar's rules; GrammarError for what has no finite set of sentences, or no meaning."""
    text, language = _decoded(path)
    pieces, num_tags = _pieces(path, text)
    bodies = _statements(path, pieces)
    if not any(is_public for is_public, _ in bodies.values()):
        raise GrammarError(f"{path}: no public rule; expected one at least: public <command> = ...;")
    names = _names(bodies)
    reader = _Reader(path, names)
    rules = {names[name]: reader.read(name, body) for name, (_, body) in bodies.items()}
    public = {names[name]: name for name, (is_public, _) in bodies.items() if is_public}
    return JSGF(language, public, rules, reader.groups, reader.used, num_tags)


def _decoded(path: Path) -> tuple[str, str | None]:
    """Returns the file's text in the header's encoding, and the header's language."""
    if not path.is_file():
        raise GrammarError(f"{path}: no such file; expected a grammar to import")
    if path.stat().st_size > MAX_BYTES:
        raise GrammarError(f"{path}: {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,} of JSGF")
    content = path.read_bytes()
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            content = content.decode(encoding, errors="replace").encode()
    header = HEADER.match(content.removeprefix(codecs.BOM_UTF8))
    encoding = header[2].decode("ascii", errors="replace") if header and header[2] else "utf-8-sig"
    if content.startswith(codecs.BOM_UTF8) or encoding.lower().startswith("utf"):
        encoding = "utf-8-sig"  # UTF-16 is known by its mark
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise GrammarError(
            f"{path}: not in {encoding.removesuffix('-sig')} at byte {error.start}; expected the encoding that its "
            f"first line names, as in #JSGF V1.0 ISO8859-1 de;"
        ) from error
    except (LookupError, ValueError) as error:  # no codec has the name, or none can
        raise GrammarError(f"{path}:1: encoding {encoding!a}; expected one that exists, such as UTF-8") from error
    language = header[3].decode("ascii", errors="replace") if header and header[3] else None
    # The header is not of the same signs as the rules; its lines stay, for the numbers of those after it.
    start = re.match(r"\s*#JSGF[^;\n]*;", text)
    if start is None and re.match(r"\s*#JSGF", text):
        raise GrammarError(f"{path}:1: the first line has no end; expected #JSGF V1.0 UTF-8 en;")
    return (re.sub(r"[^\n]", " ", start[0]) + text[start.end() :] if start else text), language


def _pieces(path: Path, text: str) -> tuple[list[_Piece], int]:
    """Returns what the text is made of, without comments and tags, and how many tags there are."""
    pieces, place, line, num_tags = [], 0, 1, 0
    while place < len(text):
        match = PIECE.match(text, place)
        if match is None:
            rest = text[place : place + 40].split("\n")[0]
            raise GrammarError(
                f"{path}:{line}: cannot be read at '{rest}'; expected words, <rules>, /weights/ and brackets, quotes "
                f"and comments that end"
            )
        kind = match.lastgroup or ""
        if kind == "tag":
            num_tags += 1
        elif kind != "space":
            pieces.append(_Piece(kind, match[kind], line))
        line += match[0].count("\n")
        place = match.end()
    return pieces, num_tags


def _statements(path: Path, pieces: list[_Piece]) -> dict[str, tuple[bool, list[_Piece]]]:
    """Returns each rule by its name: whether it is public, and what stands after its '='."""
    bodies: dict[str, tuple[bool, list[_Piece]]] = {}
    current: list[_Piece] = []
    for piece in pieces:
        if (piece.kind, piece.text) != ("sign", ";"):
            current.append(piece)
            continue
        statement, current = current, []
        if not statement:
            continue
        where = f"{path}:{statement[0].line}"
        first = statement[0]
        if first.kind == "word" and first.text == "grammar" and len(statement) == 2 and not bodies:
            continue
        if first.kind == "word" and first.text == "import":
            raise GrammarError(f"{where}: imports are not read; expected the imported rules in this file; copy them")
        is_public = first.kind == "word" and first.text == "public"
        head = statement[is_public : is_public + 2]
        if len(head) < 2 or head[0].kind != "rule" or (head[1].kind, head[1].text) != ("sign", "="):
            shown = " ".join(each.text for each in statement[:6])
            raise GrammarError(f"{where}: '{shown}' is no rule; expected [public] <name> = ...;")
        name = head[0].text
        if name in bodies or name in ("NULL", "VOID"):
            raise GrammarError(f"{where}: rule <{name}> is there already; expected each name once; rename one")
        bodies[name] = is_public, statement[is_public + 2 :]
    if current:
        raise GrammarError(
            f"{path}:{current[0].line}: '{' '.join(each.text for each in current[:4])}' ... has no end; expected a ; "
            f"after each rule"
        )
    return bodies


def _names(bodies: dict[str, tuple[bool, list[_Piece]]]) -> dict[str, str]:
    """Returns a name for each rule, which templates can have; a number parts <a.b> from <a_b>."""
    names: dict[str, str] = {name: name for name in bodies if not re.search(r"\W", name)}
    taken = set(names)
    for name in bodies:
        if name not in names:
            plain = free_name(re.sub(r"\W", "_", name), taken)
            names[name] = plain
            taken.add(plain)
    return names


def free_name(name: str, taken: set[str]) -> str:
    """Returns the name, or with a number, so that it is not taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


class _Reader:
    """Reads the right sides of rules. Brackets with weights become lists, whose values templates weigh."""

    def __init__(self, path: Path, names: dict[str, str]) -> None:
        self._path, self._names = path, names
        self._pieces: list[_Piece] = []
        self._place = 0
        self._rule, self._line = "", 1
        self.used: set[str] = set()
        self.groups: dict[str, list[Way]] = {}

    def read(self, name: str, pieces: list[_Piece]) -> list[Way]:
        self._pieces, self._place, self._rule = pieces, 0, self._names[name]
        found = self._alternatives(0)
        if self._place < len(self._pieces):
            piece = self._pieces[self._place]
            raise GrammarError(f"{self._where()}: '{piece.text}' without its opening; expected brackets in pairs")
        return found

    def _where(self) -> str:
        place = min(self._place, len(self._pieces) - 1)
        return f"{self._path}:{self._pieces[place].line}" if self._pieces else str(self._path)

    def _next(self) -> tuple[str, str]:
        """Kind and text of the next piece; empty at the end."""
        if self._place >= len(self._pieces):
            return "", ""
        piece = self._pieces[self._place]
        return piece.kind, piece.text

    def _alternatives(self, depth: int) -> list[Way]:
        if depth > MAX_NESTING:
            raise GrammarError(f"{self._where()}: brackets more than {MAX_NESTING} deep; expected rules of their parts")
        ways, weighted = [], set()
        while True:
            kind, text = self._next()
            weight = 1.0
            if kind == "weight":
                weight = self._weight(text)
                self._place += 1
            weighted.add(kind == "weight")
            ways.append(Way(self._sequence(depth), weight))
            if self._next() != ("sign", "|"):
                break
            self._place += 1
        if len(weighted) > 1:
            raise GrammarError(
                f"{self._where()}: some alternatives have a weight; expected one before each, or before none"
            )
        return ways

    def _weight(self, text: str) -> float:
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise GrammarError(f"{self._where()}: weight /{text}/; expected a number above 0")
        return weight

    def _sequence(self, depth: int) -> str:
        parts = []
        while True:
            kind, text = self._next()
            if not kind or (kind == "sign" and text in ")]|"):
                break
            parts.append(self._item(kind, text, depth))
        if not parts:
            raise GrammarError(f"{self._where()}: an alternative of <{self._rule}> is empty; expected words, or <NULL>")
        return " ".join(part for part in parts if part)

    def _item(self, kind: str, text: str, depth: int) -> str:
        if kind == "sign" and text in "([":
            return self._bracket(text, depth)
        if kind == "sign" and text in "*+":
            raise GrammarError(
                f"{self._where()}: '{text}' repeats without end; expected a grammar of finite sentences; write how "
                f"often as alternatives"
            )
        if kind == "rule":
            item = self._reference(text)
        elif kind in ("word", "quoted"):
            item = TEMPLATE_SIGNS.sub(r"\\\1", re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL))
        else:
            raise GrammarError(f"{self._where()}: '{text}' in the midst of <{self._rule}>; expected words and <rules>")
        self._place += 1
        return item

    def _reference(self, name: str) -> str:
        if name == "VOID":
            raise GrammarError(f"{self._where()}: <VOID> can never be said; leave that alternative out")
        if name == "NULL":
            return ""
        if name not in self._names:
            raise GrammarError(f"{self._where()}: no rule <{name}>; {suggestion(name, self._names)}")
        self.used.add(self._names[name])
        return f"<{self._names[name]}>"

    def _bracket(self, opening: str, depth: int) -> str:
        closing = {"(": ")", "[": "]"}[opening]
        where = self._where()
        self._place += 1
        ways = self._alternatives(depth + 1)
        if self._next() != ("sign", closing):
            raise GrammarError(f"{where}: '{opening}' without its '{closing}'; expected brackets in pairs")
        self._place += 1
        if any(way.weight != 1.0 for way in ways):
            name = free_name(f"{self._rule}_part", {*self._names.values(), *self.groups})
            self.groups[name] = ways
            return f"[{{{name}:@{name}}}]" if opening == "[" else f"{{{name}:@{name}}}"
        return opening + "|".join(way.template for way in ways) + closing
