"""Finds what the installed package brings along: configurations, grammars, models and examples, by the name that they
have in the repository, whatever folder a command is run in. A shipped model has a name of its own too: `english` is
models/english.
"""

import argparse
import sys
from pathlib import Path

# Only these folders of the repository are looked into, so that `runs/x` is never one of another place.
FOLDERS = ("conf", "recipes", "models")
PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has them beside the code (pyproject.toml), a clone where they are written.
ROOTS = (PACKAGE / "package_data", PACKAGE.parent)


def locate(path: str | Path) -> Path:
    """Returns `path` as given where it exists, else what the package brings under that name; `path` again if nothing.

    A line on stderr says where a path of the package was taken from. The name of a shipped model is its folder, unless
    the working folder has a file or folder of that name.
    """
    given = Path(path)
    if len(given.parts) == 1 and not given.exists() and str(path) in (shipped := shipped_models()):
        return shipped[str(path)]
    if given.parts[:1] not in {(name,) for name in FOLDERS} or ".." in given.parts or given.exists():
        return given
    for root in ROOTS:
        found = root / given
        if found.exists():
            print(f"{given}: not in this folder; taken from the installed package: {found}", file=sys.stderr)
            return found
    return given


def shipped_models() -> dict[str, Path]:
    """Returns the models that the package brings, by name, in the order of their names."""
    found: dict[str, Path] = {}
    for root in ROOTS:
        for config in sorted(root.glob("models/*/config.yaml")):
            found.setdefault(config.parent.name, config.parent)
    return dict(sorted(found.items()))


def is_packaged(path: Path) -> bool:
    """Returns whether a path is of an installed wheel, which no program writes into."""
    return path.is_relative_to(ROOTS[0])


def own_run(path: str) -> Path:
    """Returns a run folder that is to be written into (for argparse); the installed package's are refused."""
    found = locate(path)
    if is_packaged(found):
        raise argparse.ArgumentTypeError(
            f"{path}: part of the installed package, which is not written to; expected a run folder of your own, "
            f"such as a copy: earshot export {path} runs/{found.name}"
        )
    return found


def results_parent(run: Path) -> Path:
    """Returns the folder for results about a run: the run itself, or runs/NAME for a run of the installed package."""
    return Path("runs") / run.name if is_packaged(run) else run
