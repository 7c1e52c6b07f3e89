"""The layout drawn in docs/architecture.md: imports go up only, and files and functions stay small."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom up, one name a room: a room imports from the floors below it and from itself. The files of the ground
# floor may use each other; what is drawn here stands in docs/architecture.md too.
FLOORS = [
    "section files signals runtime distributed metrics transcript",
    "audio text tracking engines optim",
    "data grammar model pages",
    "decoding language_models",
    "config",
    "runs",
    "recognition",
    "understanding",
    "recognizer exports",
    "evaluation explanation transcription",
    "training",
    "fitting comparison",
    "train evaluate transcribe compare explain export commands __main__",
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor.split()}
FLOORS_OF_MODEL = ["scan", "cells", "layers", "encoders heads", "acoustic"]
FLOOR_IN_MODEL = {room: number for number, floor in enumerate(FLOORS_OF_MODEL) for room in floor.split()}
DATA_PREP_MAY_USE_UP_TO = FLOOR_OF["runs"]
MOST_LINES_OF_THE_READING_PATH = 2_750


def modules(folder: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imported(path: Path) -> set[str]:
    """Every module of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in KNOWN else node.module for name in submodules}
    return {name for name in found if name in KNOWN}


KNOWN = modules("asr") | modules("data_prep")


def rooms_of(module: str) -> list[str]:
    return module.split(".")[1:]


@pytest.mark.parametrize("name", sorted(modules("asr")))
def test_imports_go_up_only(name: str) -> None:
    if name == "asr":
        return
    room = rooms_of(name)[0]
    assert room in FLOOR_OF, f"asr.{room} has no floor; give it one in FLOORS"
    for other in imported(KNOWN[name]):
        assert other.startswith("asr"), f"{name} imports {other}: nothing in asr/ imports data_prep/"
        if other == "asr":
            continue
        below = rooms_of(other)[0]
        if below != room and not FLOOR_OF[below] == FLOOR_OF[room] == 0:
            assert FLOOR_OF[below] < FLOOR_OF[room], f"{name} imports {other}, which is not below it"
        elif below == room == "model":
            inner, own = rooms_of(other)[1], rooms_of(name)[1]
            is_below = inner == own or FLOOR_IN_MODEL[inner] < FLOOR_IN_MODEL[own]
            assert is_below, f"{name} imports {other}, which is not below it in model/"


@pytest.mark.parametrize("name", sorted(modules("data_prep")))
def test_data_preparation_uses_the_lower_floors_only(name: str) -> None:
    for other in imported(KNOWN[name]):
        allowed = other.startswith("data_prep") or FLOOR_OF[rooms_of(other)[0]] <= DATA_PREP_MAY_USE_UP_TO
        assert allowed, f"{name} imports {other}"


def test_few_floors_and_few_files_at_the_top() -> None:
    assert len(FLOORS) <= 13
    assert len(list((ROOT / "asr").glob("*.py"))) <= 20


def test_the_reading_path_has_the_length_that_the_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    said = re.search(r"about ([\d,]+) lines", page)
    assert said, "docs/architecture.md says how long the reading path is"
    starred = re.findall(r"★ `(\S+\.py)`", page)
    assert len(starred) >= 15
    found = sum(len((ROOT / path).read_text().splitlines()) for path in starred)
    assert found == pytest.approx(int(said[1].replace(",", "")), rel=0.05), f"docs/architecture.md: {found} lines"
    assert found <= MOST_LINES_OF_THE_READING_PATH


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in KNOWN.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail[trail.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def tracked_python() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@pytest.mark.parametrize("path", tracked_python(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    source = path.read_text()
    is_test = "tests" in path.relative_to(ROOT).parts
    assert source.count("\n") < (700 if is_test else 400), f"{path} is too long"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not is_test:
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"
            count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            assert count <= 8, f"{path}:{node.lineno} {node.name} has {count} parameters"


FORBIDDEN = {"torch.load(": "unpickles", "pickle.load": "unpickles", "yaml.load(": "runs code", "shell=True": "a shell"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_nothing_unpickles_or_runs_what_it_reads(name: str) -> None:
    source = KNOWN[name].read_text()
    assert not [text for text in FORBIDDEN if text in source]


@pytest.mark.parametrize(
    "name", [name for name in sorted(KNOWN) if not name.startswith(("asr.model.heads", "asr.decoding"))]
)
def test_nobody_asks_which_head_it_is(name: str) -> None:
    """Heads answer for themselves, so that a new one is one file and one name."""
    for node in ast.walk(ast.parse(KNOWN[name].read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            asked |= {part.attr for part in ast.walk(node.args[1]) if isinstance(part, ast.Attribute)}
            heads = {each for each in asked if each.removesuffix("Config").endswith("Head")}
            assert not heads, f"{name}:{node.lineno} asks for a {heads.pop()}; let asr.model.heads.head.Head answer it"
