"""The `raise` statements of asr/ and data_prep/ that no test has reached.

    python -m tests.programs.raises_reached KEPT tests/audio tests/data/test_batches.py   more, then what is left
    python -m tests.programs.raises_reached KEPT                                            what is left
    python -m tests.programs.raises_reached KEPT tests -m "not gpu"                         any options of pytest

KEPT is a folder that remembers what was reached, so that the tests can be run in parts. Each module is compiled with a
call before every `raise`, which notes its name: that costs no time, and works in the processes that tests start too.
The types of shapes are not checked meanwhile.
"""

import argparse
import ast
import builtins
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("asr", "data_prep")
VARIABLE = "EARSHOT_RAISES_REACHED"  # the file to which every process adds its lines
SITE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.programs.raises_reached as it; it.install(); "
    "del sys.path[0]"
)


def named_raises(tree: ast.AST, path: str) -> dict[ast.Raise, str]:
    """A name for each that stays the same when its line moves: the file, and what is raised, counted."""
    raises = sorted((node for node in ast.walk(tree) if isinstance(node, ast.Raise)), key=lambda node: node.lineno)
    seen: Counter[str] = Counter()
    names = {}
    for node in raises:
        content = hashlib.sha256(ast.unparse(node).encode()).hexdigest()[:12]
        seen[content] += 1
        names[node] = f"{path}:{content}:{seen[content]}"
    return names


class _Marking(ast.NodeTransformer):
    def __init__(self, names: dict[ast.Raise, str]) -> None:
        self.names = names

    def visit_Raise(self, node: ast.Raise) -> list[ast.stmt]:
        call = ast.parse(f"__reached__({self.names[node]!r})").body[0]
        for part in ast.walk(call):
            ast.copy_location(part, node)
        return [call, node]


class _Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        tree = ast.parse(data, path)
        tree = _Marking(named_raises(tree, os.path.relpath(path, ROOT))).visit(tree)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def path_stats(self, path: Any) -> Any:
        raise OSError  # neither the compiled files of others, ...

    def set_data(self, *_: Any, **__: Any) -> None:
        """... nor any for others."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """In every process, before anything else is imported: `sitecustomize` calls it."""
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    seen: set[str] = set()

    def reached(name: str) -> None:
        if name not in seen:
            seen.add(name)
            os.write(file, f"{name}\n".encode())

    builtins.__reached__ = reached  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Finder())


def run_tests(kept: Path, arguments: list[str]) -> int:
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    paths = [str(kept.resolve()), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        VARIABLE: str((kept / "reached").resolve()),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    command = [sys.executable, "-m", "pytest", "-o", "addopts=--strict-markers", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def all_raises() -> Iterator[tuple[str, str]]:
    """Name and description of each, in the order of the files."""
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        place = str(path.relative_to(ROOT))
        for node, name in named_raises(ast.parse(path.read_text(encoding="utf-8")), place).items():
            yield name, f"{place}:{node.lineno}: {ast.unparse(node)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kept", type=Path, help="a folder that remembers what was reached")
    options, tests = parser.parse_known_args()
    failed = bool(tests) and run_tests(options.kept, tests) != 0
    file = options.kept / "reached"
    reached = set(file.read_text(encoding="utf-8").split()) if file.exists() else set()
    everything = list(all_raises())
    left = [text for name, text in everything if name not in reached]
    for text in left:
        print(text[:200])
    print(f"{len(left)} of {len(everything)} raises not reached")
    return int(failed or bool(left))


if __name__ == "__main__":
    sys.exit(main())
