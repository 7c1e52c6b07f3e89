"""The layout drawn in docs/architecture.md: imports go up only, and files and functions stay small."""

import ast
import functools
import itertools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom up, one name a room: a room imports from the floors below it and from itself. The files of the ground
# floor may use each other; what is drawn here stands in docs/architecture.md too.
FLOORS = [
    "operators section files process metrics transcript",
    "audio text tracking optim",
    "data engines grammar model pages",
    "decoding language_models homes",
    "config",
    "runs",
    "recognition",
    "understanding",
    "recognizer exports dashboards",
    "evaluation explanation transcription live tryout",
    "training",
    "fitting comparison serving improvement tuning",
    "train evaluate transcribe compare explain export improve commands listen serve tune dashboard __main__",
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor.split()}
FLOORS_OF_MODEL = ["scan", "cells", "layers", "encoders heads", "acoustic"]
FLOOR_IN_MODEL = {room: number for number, floor in enumerate(FLOORS_OF_MODEL) for room in floor.split()}
DATA_PREP_MAY_USE_UP_TO = FLOOR_OF["runs"]
MOST_LINES_OF_THE_READING_PATH = 2_400


@functools.cache
def tree(path: Path) -> ast.Module:
    """Returns a file's syntax tree, which many of these tests read."""
    return ast.parse(path.read_text())


def modules(folder: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(tree(path)):
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
    is_kernel = path == ROOT / "asr/model/scan/gpu/kernel.py"  # Triton's take all their pointers and run all steps
    assert source.count("\n") < (700 if is_test else 400), f"{path} is too long"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef) and not is_test:
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60 or is_kernel, f"{path}:{node.lineno} {node.name} has {size} lines"
            count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            assert count <= 8 or is_kernel, f"{path}:{node.lineno} {node.name} has {count} parameters"


def defined(path: Path) -> set[str]:
    """Every name that a module has: what it defines, assigns and imports."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def test_what_is_imported_is_there() -> None:
    """A name that moved is followed everywhere, in tests and late imports too, which no start of a program finds."""
    known = KNOWN | modules("tests")
    names = {name: defined(path) for name, path in known.items()}
    for path in tracked_python():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (module := node.module) in names:
                missing = {alias.name for alias in node.names if f"{module}.{alias.name}" not in known}
                missing -= names[module]
                assert not missing, f"{path}:{node.lineno} imports {missing.pop()} from {module}, which has none"


FORBIDDEN = {"torch.load(": "unpickles", "pickle.load": "unpickles", "yaml.load(": "runs code", "shell=True": "a shell"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_nothing_unpickles_or_runs_what_it_reads(name: str) -> None:
    source = KNOWN[name].read_text()
    assert not [text for text in FORBIDDEN if text in source]


# Torch's compiler is set up by an attribute of its own module.
PRIVATE = re.compile(r"\btorch\.(ops\.|_VF|_C\b|_(?!dynamo\b)\w+)")


@pytest.mark.parametrize("name", sorted(KNOWN.keys() - {"asr.operators.private"}))
def test_private_operators_of_pytorch_are_asked_for_in_one_file(name: str) -> None:
    found = PRIVATE.search(KNOWN[name].read_text())
    assert not found, f"{KNOWN[name]}: {found and found[0]}; let asr/operators/private.py find it by its name"


@pytest.mark.parametrize(
    "name", [name for name in sorted(KNOWN) if not name.startswith(("asr.model.heads", "asr.decoding"))]
)
def test_nobody_asks_which_head_it_is(name: str) -> None:
    """Heads answer for themselves, so that a new one is one file and one name."""
    for node in ast.walk(tree(KNOWN[name])):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            asked |= {part.attr for part in ast.walk(node.args[1]) if isinstance(part, ast.Attribute)}
            heads = {each for each in asked if each.removesuffix("Config").endswith("Head")}
            assert not heads, f"{name}:{node.lineno} asks for a {heads.pop()}; let asr.model.heads.head.Head answer it"


PROGRAMS = {name for name in KNOWN if KNOWN[name].parent == ROOT / "asr" and "run_program(" in KNOWN[name].read_text()}
PREPARATIONS = {name for name in modules("data_prep") if "run_program(" in KNOWN[name].read_text()}

# A file that only one file imports stands in that one's folder. A program's room has its door, which only the program
# imports; the others have a reason.
SINGLE_IMPORTERS = {
    "asr.language_models.kenlm": "a member of the family of language models",
    "asr.language_models.kneser_ney": "a member of the family of language models",
    "asr.model.layers.look_ahead": "a layer beside the other layers",
    "asr.model.layers.streaming": "what layers carry from chunk to chunk",
    "asr.understanding.labelled": "the grammar of one label, without any fitting",
}


@functools.cache
def importers() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in KNOWN}
    for name, path in KNOWN.items():
        for other in imported(path):
            found[other].add(name)
    return found


def folder_of(module: str) -> str:
    return module if KNOWN[module].name == "__init__.py" else module.rpartition(".")[0]


def test_what_one_file_imports_stands_beside_it() -> None:
    alone = set()
    for name, users in importers().items():
        if name.startswith("asr.") and KNOWN[name].name != "__init__.py" and len(users) == 1:
            (user,) = users
            if folder_of(user) != folder_of(name) and user not in PROGRAMS:
                alone.add(name)
    assert alone <= set(SINGLE_IMPORTERS)


def annotated_parameters(path: Path) -> list[tuple[int, str]]:
    """Every parameter's line and annotation."""
    return [
        (argument.lineno, ast.unparse(argument.annotation))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if argument.annotation is not None
    ]


# The parser that the programs of all corpora share; what it hands on has types.
TAKES_OPTIONS = {"data_prep.options"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_only_programs_take_what_was_parsed(name: str) -> None:
    lines = [line for line, kind in annotated_parameters(KNOWN[name]) if "Namespace" in kind]
    if name not in PROGRAMS | PREPARATIONS | TAKES_OPTIONS:
        assert not lines, f"{KNOWN[name]}:{lines[0]} takes what a program parsed; expected typed arguments"


# Packages that not every program needs, that are extras, or that take long to import.
OPTIONAL = frozenset(
    {"PIL", "av", "espeakng_loader", "hassil", "hibari", "home_assistant_intents", "jinja2", "jiwer", "kenlm", "lhotse"}
    | {"markupsafe", "matplotlib", "onnxruntime", "python_stretch", "ray", "rich", "scipy", "sentencepiece"}
    | {"sounddevice", "torch", "torchaudio", "triton", "unicode_rbnf", "wandb"}
)
# Modules whose functions import: programs and workers that need a part of these start without the rest.
IMPORTS_LATE = {
    "asr.process.runtime",  # looks at what is installed before anything of it is imported
    "asr.transcription.job",
    "asr.transcription.output",
    "asr.transcription.worker",  # a worker's process limits its threads before torch is imported
    "data_prep.corpus",  # has the options of all corpora, whose --help waits for nothing
}


def late_imports(path: Path) -> set[str]:
    """What functions import, optional packages left out."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
    names: set[str] = set()
    for node in itertools.chain.from_iterable(map(ast.walk, functions)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.partition(".")[0] not in OPTIONAL}


def test_rooms_import_at_their_top() -> None:
    late = {name for name, path in KNOWN.items() if late_imports(path)} - PROGRAMS - PREPARATIONS
    assert late <= IMPORTS_LATE


# What became of a recording or of a stretch, and who runs a job or speaks; no file uses both of a name.
SAME_NAMES = {"Engine", "Outcome"}


def classes() -> dict[str, list[str]]:
    """The modules of each public class, by its name."""
    found: dict[str, list[str]] = {}
    for name, path in KNOWN.items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    return found


def test_no_public_class_has_the_name_of_another() -> None:
    assert {name for name, places in classes().items() if len(places) > 1} <= SAME_NAMES


FRAGMENTS = re.compile(
    r"(Of|That|As|So many|Until|With|What|Where|How|Which|Those|Who|Whose|Whether|From|In|By|For|To|At most)\b"
)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_docstrings_have_a_subject(name: str) -> None:
    for node in ast.walk(tree(KNOWN[name])):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            assert not FRAGMENTS.match(text), f"{KNOWN[name]}: {text.splitlines()[0]!r} has no subject"


# Triton's kernels are found by their names, and the mean by steps that have one; PyTorch calls extra_repr. The
# streaming half of the recurrent encoder waits for the program that listens.
NOT_REACHED = {"forward_kernel", "backward_kernel", "mean_of_all", "extra_repr", "stream"}


def test_programs_reach_what_the_model_offers() -> None:
    offered, reached = set(), set()
    for name, path in KNOWN.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                reached.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                reached.add(node.id)
        if name.startswith("asr.model."):
            classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
            inside = itertools.chain.from_iterable(each.body for each in classes)
            functions = [node for node in [*tree.body, *inside] if isinstance(node, ast.FunctionDef)]
            offered |= {each.name for each in [*classes, *functions] if not each.name.startswith("_")}
    offered -= {"forward", "backward"}  # which PyTorch calls
    assert offered - reached <= NOT_REACHED
