"""asr/process/runtime.py: exit codes, one line for a user's mistake, and few compiled primitives kept."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asr.process.runtime import (
    KEPT_PRIMITIVES,
    NUM_KEPT_PRIMITIVES,
    InstallationError,
    Parser,
    check_installation,
    run_program,
)

ROOT = Path(__file__).resolve().parents[2]


def _raise(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (None, 0, ""),
        (ValueError("a.yaml: no such key"), 2, "error: a.yaml: no such key\n"),
        (FileNotFoundError("b.wav"), 2, "error: b.wav\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(
    outcome: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    for name in KEPT_PRIMITIVES:
        monkeypatch.setenv(name, "7")
    with pytest.raises(SystemExit) as caught:
        run_program(lambda _: _raise(outcome) if outcome else 0)
    assert (caught.value.code, capsys.readouterr().err) == (code, said)
    assert [os.environ[name] for name in KEPT_PRIMITIVES] == ["7", "7"]  # who sets them, means it


def test_programs_keep_few_primitives_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the memory of a training whose batches vary in shape grows without end."""
    for name in KEPT_PRIMITIVES:
        monkeypatch.setenv(name, "")  # so that the end of the test puts back what there was
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit):
        run_program(lambda _: 0)
    assert {os.environ[name] for name in KEPT_PRIMITIVES} == {str(NUM_KEPT_PRIMITIVES)}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages in the place of the installed ones."""
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


@pytest.mark.parametrize(
    ("torch", "torchaudio", "found"),
    [
        ("2.11.0", "2.11.1", "torch 2.11.0, torchaudio 2.11.1"),
        ("2.11.0", None, "torch 2.11.0, torchaudio none"),
        (None, None, "torch none, torchaudio none"),
    ],
)
def test_torch_and_torchaudio_of_two_releases_are_said_at_the_start(
    torch: str | None, torchaudio: str | None, found: str, installed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside torch 2.11.0, torchaudio 2.11.1 ends in an undefined symbol, halfway through a job."""
    installed |= {name: each for name, each in (("torch", torch), ("torchaudio", torchaudio)) if each}
    with pytest.raises(InstallationError, match=f"^installed: {re.escape(found)}; expected both, of the same release"):
        check_installation()
    with pytest.raises(SystemExit, match="2"):
        run_program(lambda _: 0)
    assert "pip install torch" in capsys.readouterr().err


def test_the_remedy_is_the_pinned_pair_where_the_package_is_installed(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = ["torch==2.11.0", "torchaudio==2.11.0", "rich>=13", "torch-x; extra == 'y'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: pins)
    installed |= {"torch": "2.11.0", "torchaudio": "2.12.0"}
    with pytest.raises(InstallationError, match=r"pip install torch==2\.11\.0 torchaudio==2\.11\.0$"):
        check_installation()


@pytest.mark.parametrize("local", ["", "+cpu", "+cu130"])
def test_a_local_version_is_the_same_release(local: str, installed: dict[str, str]) -> None:
    installed |= {"torch": f"2.11.0{local}", "torchaudio": "2.11.0"}
    check_installation()


def requirements() -> list[str]:
    """What the package and its extra dev ask for, other extras resolved."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, found, waiting = project["optional-dependencies"], list(project["dependencies"]), ["dev"]
    while waiting:
        for each in extras[waiting.pop()]:
            if inner := re.match(r"earshot\[([\w,]+)\]", each):
                waiting += inner[1].split(",")
            else:
                found.append(each)
    return found


@pytest.mark.parametrize("requirement", requirements())
def test_the_lock_has_what_pyproject_asks_for(requirement: str) -> None:
    """`make lock` renews it; `make install` takes nothing that is not in it."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    wanted = Requirement(requirement)
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(rf"^{re.escape(canonicalize_name(wanted.name))}==(\S+)", lock, re.MULTILINE)
    assert pins, f"{requirement}: not in requirements.lock; make lock"
    assert all(wanted.specifier.contains(pin) for pin in pins), f"{requirement}: locked as {pins}; make lock"


def test_the_lock_names_no_place_to_fetch_from_and_every_pin_has_a_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.findall(r"https?://|file:|--index|--find-links", lock)
    entries = re.findall(r"^[a-z].*?(?=^[a-z]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(entries) > 100
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize(
    "given",
    [
        ["RUN", "--size", "3", "a.wav", "b.wav"],
        ["--size", "3", "RUN", "a.wav", "b.wav"],
        ["RUN", "a.wav", "--size", "3", "b.wav"],
        ["RUN", "a.wav", "b.wav", "--size", "3"],
    ],
    ids=" ".join,
)
def test_options_may_stand_between_positional_arguments(given: list[str]) -> None:
    """In a program, and in a program of a family."""
    parser, family = Parser(), Parser()
    member = family.add_subparsers(required=True).add_parser("count")
    for each in (parser, member):
        each.add_argument("run")
        each.add_argument("paths", nargs="+")
        each.add_argument("--size", type=int, default=1)
    for found in (parser.parse_args(given), family.parse_args(["count", *given])):
        assert (found.run, found.paths, found.size) == ("RUN", ["a.wav", "b.wav"], 3)


def test_every_program_takes_options_anywhere() -> None:
    programs = [path for folder in ("asr", "data_prep") for path in (ROOT / folder).rglob("*.py")]
    plain = [path for path in programs if "argparse.ArgumentParser(" in path.read_text() and path.name != "runtime.py"]
    assert plain == [], "expected asr.process.runtime.Parser"


def test_who_asked_to_stop_does_not_wait_for_libraries_to_be_taken_down() -> None:
    program = (
        "import atexit, sys; from asr.process.runtime import run_program\n"
        "class Slow:\n    def __del__(self): print('taken down')\n"
        "slow, reached = Slow(), atexit.register(print, 'registered')\n"
        "def main(_): print('saved'); return int(sys.argv[1])\n"
        "run_program(main)"
    )
    for code, said in ((143, "saved\nregistered\n"), (4, "saved\nregistered\ntaken down\n")):
        ended = subprocess.run([sys.executable, "-c", program, str(code)], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (code, said)
