"""Writes what the code knows best into the site: options of programs, keys of configurations, the floors.

mkdocs calls the functions here that begin with `on_` by their names (`hooks:` in mkdocs.yml). A page holds a marker,
such as `<!-- programs -->`, which is replaced when the site is built, so no page says what the code does not.
The README, the recipes and the other pages that lie outside docs/ are taken into the site as they are.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SECTIONS = {
    "A recogniser": ("`conf/*.yaml`", "asr.config.recognizer:Config"),
    "A recurrent language model": ("`kind: language_model`", "asr.config.language_model:LanguageModelConfig"),
    "N-grams": ("`kind: ngram`", "asr.config.language_model:NGramConfig"),
    "A job of transcription": ("`python -m asr.transcribe --config`", "asr.transcription.config:JobConfig"),
}
# A link in Markdown: its label, what it leads to, and the heading there.
LINK = re.compile(r"(?P<label>!?\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\])\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def find_pages_elsewhere() -> dict[str, Path]:
    """Returns the files outside docs/ that belong to the site, by their place in it."""
    pages = {"index.md": ROOT / "README.md"}
    pages |= {name: ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "DECISIONS.md", "CHANGELOG.md")}
    for ending in ("md", "png", "svg"):
        for path in sorted((ROOT / "recipes").rglob(f"*.{ending}")):
            pages[path.relative_to(ROOT).as_posix()] = path
    return pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside docs/."""
    for place, path in find_pages_elsewhere().items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Returns the page with its markers replaced, and its links as they lead within the site."""
    for marker, write in {
        "programs": write_programs,
        "configuration": write_configuration,
        "floors": write_floors,
    }.items():
        if f"<!-- {marker} -->" in markdown:
            markdown = markdown.replace(f"<!-- {marker} -->", write())
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]  # The tabs above the page are enough.
    return lead_links(markdown, place=page.file.src_uri)


def lead_links(markdown: str, *, place: str) -> str:
    """Returns a page whose links between files of the tree lead to the pages of the site.

    A file that is no page of the site is named by its path, without a link.
    """
    elsewhere = find_pages_elsewhere()
    places = {path: name for name, path in elsewhere.items()}
    folder = elsewhere.get(place, DOCS / place).parent

    def lead(link: re.Match[str]) -> str:
        path = (folder / link["target"]).resolve()
        path = path / "README.md" if (path / "README.md").exists() else path
        if path.is_relative_to(DOCS) and path.is_file():
            there = path.relative_to(DOCS).as_posix()
        elif path in places:
            there = places[path]
        elif path.exists():
            name = path.relative_to(ROOT).as_posix()
            label = link["label"].strip("[]")
            return f"`{name}`" if label.strip("`") in name else f"{label} (`{name}`)"
        else:
            return link[0]
        return f"{link['label']}({os.path.relpath(there, Path(place).parent)}{link['anchor'] or ''})"

    return LINK.sub(lead, markdown)


def write_programs() -> str:
    """Returns the help of every program, as the program prints it."""
    from asr.__main__ import CORPORA, PROGRAMS

    modules = [f"asr.{name}" for name in PROGRAMS if name != "prepare"] + [f"data_prep.{name}" for name in CORPORA]
    return "\n".join(f"## {module}\n\n{write_help(module)}" for module in modules)


def write_help(module: str) -> str:
    """Returns what a program prints for --help, then what each of its commands prints."""
    text = ask_for_help(module)
    commands = re.findall(r"^    ([a-z]+)$|^    ([a-z]+)  ", text.partition("\n  COMMAND\n")[2], re.MULTILINE)
    parts = [f"```text\n{text}```\n"]
    for name in ("".join(pair) for pair in commands):
        parts.append(f"### {module} {name}\n\n```text\n{ask_for_help(module, name)}```\n")
    return "\n".join(parts)


def ask_for_help(module: str, *arguments: str) -> str:
    """Returns what `python -m MODULE ARGUMENTS --help` prints, 80 columns wide."""
    environment = {**os.environ, "COLUMNS": "82", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments, "--help"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def write_configuration() -> str:
    """Returns a table for every section that a configuration can hold, each section once."""
    parts: list[str] = []
    for title, (place, where) in SECTIONS.items():
        module, name = where.split(":")
        root = getattr(importlib.import_module(module), name)
        parts.append(f"## {title}\n\n{place}\n")
        parts += write_section(root, "", set())
    return "\n".join(parts)


def write_section(section: type[BaseModel], path: str, seen: set[type[BaseModel]]) -> list[str]:
    """Returns the table of one section, then the tables of the sections in it."""
    if section in seen:
        return []
    seen.add(section)
    kind = section.model_fields.get("kind")
    is_member = kind is not None and kind.default is not PydanticUndefined and path
    lines = [f"### {path or 'top level'}{f', kind: {kind.default}' if is_member and kind else ''}\n"]
    lines += [
        (section.__doc__ or "").strip().split("\n\n")[0],
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    inner: list[str] = []
    for name, field in section.model_fields.items():
        key = field.alias or name
        meaning = "chooses this table" if name == "kind" and not field.description else field.description or ""
        cells = (f"`{key}`", describe_type(field.annotation), describe_default(field), meaning)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        for model in find_sections(field.annotation):
            inner += write_section(model, f"{path}.{key}".strip("."), seen)
    return [*lines, "", *inner]


def find_sections(annotation: Any) -> list[type[BaseModel]]:
    """Returns the section classes that a value of this type can be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in find_sections(argument)]


def describe_type(annotation: Any) -> str:
    """Returns a type in words that a reader of YAML knows."""
    arguments = [each for each in typing.get_args(annotation) if each is not Ellipsis]
    origin = typing.get_origin(annotation)
    if find_sections(annotation) and origin not in (typing.Union, types.UnionType):
        return "list of sections" if origin in (tuple, list) else "section"
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is typing.Annotated:
        return describe_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(argument) for argument in arguments))
    if origin in (tuple, list):
        return f"list of {' and '.join(dict.fromkeys(describe_type(argument) for argument in arguments))}"
    if origin is dict:
        return "mapping"
    words = {
        type(None): "`null`",
        int: "whole number",
        float: "number",
        str: "text",
        bool: "`true`, `false`",
        Any: "anything",
    }
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def describe_default(field: FieldInfo) -> str:
    """Returns the default as YAML shows it, or says that the key is required."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`kind: {kind}`" if (kind := getattr(value, "kind", None)) else "see below"
    if isinstance(value, tuple | list):
        if any(isinstance(part, BaseModel) for part in value):
            return "see below"
        return f"`[{', '.join(map(str, value))}]`"
    if value is None or isinstance(value, bool):
        return "`null`" if value is None else f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def read_floors() -> list[str]:
    """Returns the floors that tests/test_architecture.py demands, from the bottom up."""
    tests = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    for node in tests.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS":
            return ast.literal_eval(node.value)
    raise ValueError(
        "tests/test_architecture.py: no FLOORS; expected the list of floors that docs/architecture.md draws"
    )


def find_used_rooms() -> dict[str, set[str]]:
    """Returns, for each room of asr/, the rooms that its files really import."""
    uses: dict[str, set[str]] = {}
    for path in sorted((ROOT / "asr").rglob("*.py")):
        room = path.relative_to(ROOT / "asr").parts[0].removesuffix(".py")
        uses.setdefault(room, set()).update(set(find_imported_rooms(path)) - {room})
    return uses


def find_imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asr."):
            yield (node.module or "").split(".")[1]


def write_floors() -> str:
    """Returns a table of the floors: each room with the rooms that its files import."""
    uses = find_used_rooms()
    lines = ["| floor | room | imports |", "|---|---|---|"]
    for number, floor in enumerate(read_floors(), 1):
        for room in sorted(set(floor.split()) & set(uses)):
            lines.append(f"| {number} | `{room}` | {', '.join(f'`{other}`' for other in sorted(uses[room]))} |")
    return "\n".join(lines)
