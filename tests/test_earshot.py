"""asr/__main__.py: `earshot train ...` is `python -m asr.train ...`, for every program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asr.__main__ import CORPORA, PROGRAMS, main

ROOT = Path(__file__).resolve().parents[1]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/earshot", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def programs_in(folder: str) -> set[str]:
    files = (path for path in (ROOT / folder).glob("*.py") if "    run_program(main)" in path.read_text())
    return {path.stem for path in files}


def test_every_program_has_a_name() -> None:
    assert set(PROGRAMS) == programs_in("asr") | {"commands", "prepare"}
    assert set(CORPORA) == programs_in("data_prep")


@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"], ["train", "--help"], ["--version"]])
def test_where_nobody_reads_on_it_ends_without_a_word(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does once it has its lines
    try:
        command = [sys.executable, "-m", "asr", *arguments]
        ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert ended.stderr == ""
    assert ended.returncode == (0 if arguments[0] == "train" else 141)  # argparse itself passes over it


@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"]])
def test_help_lists_all_with_a_line_each(arguments: list[str], monkeypatch, capsys) -> None:
    assert run(monkeypatch, *arguments) == 0
    names = PROGRAMS if len(arguments) == 1 else CORPORA
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")] == list(names)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: earshot NAME"),
        (["trian"], "earshot: 'trian' is no program; did you mean 'train'?"),
        (["zzz"], "earshot: 'zzz' is no program; expected one of train, evaluate"),
        (["folder"], "earshot: 'folder' is no program; did you mean 'prepare folder'?"),
        (["prepare", "fodler"], "earshot prepare: 'fodler' is no program; did you mean 'folder'?"),
        (["train"], "usage: earshot train"),
        (["prepare", "kaldi"], "usage: earshot prepare kaldi"),
        (["train", "no.yaml"], "error: no.yaml: no such file"),
    ],
)
def test_mistakes_exit_with_2(arguments: list[str], said: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith(said)


def test_version(monkeypatch, capsys) -> None:
    from asr import __version__

    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"earshot {__version__}\n"


def test_exit_codes_pass_through(tmp_path: Path, monkeypatch, capsys) -> None:
    grammar = tmp_path / "x.yaml"
    grammar.write_text("language: en\nintents: {a: {data: [{sentences: ['on {b}']}]}}\n")
    assert run(monkeypatch, "commands", "check", str(grammar)) == 1  # a fault of the grammar
    assert "no list {b}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["-m", "asr"], ["-m", "asr.train"], ["-m", "asr.transcribe"]])
def test_help_needs_none_of_the_large_packages(arguments: list[str]) -> None:
    """Else it would take seconds instead of less than 0.3 (`time earshot --help`)."""
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_module({arguments[1]!r}, run_name='__main__')"
    )
    code += "\nexcept SystemExit: print([n for n in ('torch', 'torchaudio', 'numpy', 'pydantic') if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert re.search(r"\[\]$", said), said
