"""asr/tracking/bars.py: a bar only where there is a terminal, and the same items either way."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from asr.tracking.bars import bar, tracked

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import time
from asr.tracking.bars import bar, tracked
assert list(tracked(iter("abc"), "recognising", total=3)) == ["a", "b", "c"]
with bar("checking [x].yaml"):
    time.sleep(0.3)
print("done")
"""


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked(iter("abc"), "recognising", total=3)) == ["a", "b", "c"]
    with bar("checking") as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_what_is_being_done() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    said, _ = process.communicate()
    os.close(ours)
    assert (process.returncode, said) == (0, b"done\n")
    assert b"recognising" in shown
    assert b"checking [x].yaml" in shown
