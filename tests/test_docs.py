"""The site of docs/: what its hooks write comes from the code, and it builds without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from asr.__main__ import CORPORA, PROGRAMS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_a_configuration_is_on_the_page(hooks: ModuleType) -> None:
    from asr.config.recognizer import Config
    from asr.model.cells.lstm import LSTMConfig

    page = hooks.write_configuration()
    for section in (Config, LSTMConfig):
        for name, key in section.model_fields.items():
            assert f"| `{key.alias or name}` |" in page
    assert "### encoder.cell, kind: lstm" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    without_meaning = [row for row in rows if not row.split("|")[4].strip()]
    assert not without_meaning, "give the key a description where its section is"


def test_the_floors_are_drawn_from_imports(hooks: ModuleType) -> None:
    uses = hooks.find_used_rooms()
    assert "decoding" in uses["recognizer"]
    assert "recognizer" not in uses["decoding"]
    drawn = re.findall(r"^\| \d+ \| `(\w+)` \|", hooks.write_floors(), re.MULTILINE)
    assert set(drawn) == set(uses) - {"__init__"}


def test_links_lead_to_pages_of_the_site_and_files_that_are_none_are_named(hooks: ModuleType) -> None:
    def lead(text: str) -> str:
        return hooks.lead_links(text, place="first_hour/phrases.md")

    assert lead("[a](../data.md#b)") == "[a](../data.md#b)"
    assert lead("[a](../../recipes/commands_home/)") == "[a](../recipes/commands_home/README.md)"
    assert lead("[a](../../README.md)") == "[a](../index.md)"
    assert lead("[home.yaml](../../conf/commands/home.yaml)") == "`conf/commands/home.yaml`"
    assert lead("[the file](../../conf/commands/home.yaml)") == "the file (`conf/commands/home.yaml`)"
    assert lead("[a](nowhere.md)") == "[a](nowhere.md)"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(hooks: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("material")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    programs = (tmp_path / "reference" / "programs.html").read_text()
    assert not [name for name in PROGRAMS if name != "prepare" and f"asr.{name}" not in programs]
    assert not [name for name in CORPORA if f"data_prep.{name}" not in programs]
    assert "asr.commands calibrate" in programs
    for page in tmp_path.rglob("*.html"):
        assert not re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?:', page.read_text()), page
