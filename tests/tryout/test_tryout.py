"""earshot commands try: what recordings mean in a grammar, by a shipped model or a run, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.audio.reading import write_audio
from asr.commands import main
from asr.files import packaged
from asr.process.runtime import DoneAtOnce
from asr.recognizer import Recognizer, RecognizerError
from asr.text import RunTokenizerConfig, load_tokenizer
from asr.training.experiment import DataError, check_source
from asr.tryout.model import choose_model
from tests.support.small_run import small_config

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "recipes/barista_bilstm_ctc/model"
EXAMPLES = ROOT / "recipes/barista_bilstm_ctc/examples"
GRAMMAR = ROOT / "conf/commands/barista.yaml"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for an installed wheel that brings a model called english; an empty folder to work in."""
    pytest.importorskip("hassil")
    root = tmp_path / "package_data"
    shutil.copytree(MODEL, root / "models/english")
    monkeypatch.setattr(packaged, "ROOTS", (root,))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root / "models/english"


def test_a_command_is_printed_with_what_else_it_could_be(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = tmp_path / "silence.wav"
    write_audio(silence, np.zeros(8000, dtype=np.float32), sample_rate=16_000)
    recordings = [str(EXAMPLES / f"{name}.opus") for name in ("americano", "weather")]
    assert main(["try", str(GRAMMAR), *recordings, str(silence)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{GRAMMAR}: 120,130,920 sentences, by {shipped}")
    assert lines[0].startswith(
        f'{recordings[0]}: orderDrink {{"coffeeDrink": "americano", "size": "twelve ounce"}}  confidence 0.9'
    )
    assert lines[1].strip() == "give me a twelve ounce americano"
    assert lines[2].startswith('    or: orderDrink {"coffeeDrink": "americano", "size": "')
    assert lines[4].startswith(f"{recordings[1]}: not understood  confidence 0.0")
    assert [line.split(":")[0].strip() for line in lines[5:7]] == ["heard", "nearest"]
    assert lines[-1] == f"{silence}: not understood; nothing was heard"


def test_json_has_one_line_for_each_recording_and_a_bad_one_is_named(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    arguments = ["try", str(GRAMMAR), str(broken), str(EXAMPLES / "latte.opus"), "--json", "--model", "english"]
    code = main(arguments)
    assert code == 4
    assert isinstance(code, DoneAtOnce)
    output = capsys.readouterr()
    (line,) = output.out.splitlines()
    found = json.loads(line)
    assert found["audio_filepath"].endswith("latte.opus")
    assert found["command"]["understood"] is True
    assert found["command"]["slots"]["coffeeDrink"] == "latte"
    assert len(found["command"]["guesses"]) == 3
    assert "not read: " in output.err
    assert "broken.wav" in output.err


def test_a_shipped_model_has_a_name_unless_the_folder_has_that_name(shipped: Path) -> None:
    assert Recognizer.load("english", commands=GRAMMAR).command(EXAMPLES / "mocha.opus").slots["size"] == "small"
    Path("english").mkdir()
    with pytest.raises(RecognizerError, match=r"^english: no config.yaml in it; expected a run folder"):
        Recognizer.load("english")


def test_an_unknown_name_is_refused_with_the_names_that_there_are(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecognizerError, match=r"englsh: no config.yaml .*; did you mean 'english'"):
        Recognizer.load("englsh")
    with pytest.raises(RecognizerError, match=r"or the name of a shipped model: english$"):
        Recognizer.load("german")
    with pytest.raises(RecognizerError, match=r"written by asr.train$"):
        Recognizer.load("runs/german")
    monkeypatch.setattr(packaged, "ROOTS", ())
    with pytest.raises(RecognizerError, match=r"written by asr.train$"):
        Recognizer.load("english")


def test_the_model_is_chosen_by_the_grammar_s_language(shipped: Path, tmp_path: Path) -> None:
    grammar = tmp_path / "licht.yaml"
    text = "language: {}\nintents: {{An: {{data: [{{sentences: [licht an]}}]}}}}\n"
    grammar.write_text(text.format("en-GB"))
    assert choose_model(None, grammar) == choose_model("english", grammar) == shipped
    assert choose_model("runs/mine", grammar) == Path("runs/mine")
    grammar.write_text(text.format("de"))
    expected = r"licht.yaml: language 'de', in which no model is shipped; shipped: english \(en-us\); expected --model"
    with pytest.raises(RecognizerError, match=expected):
        choose_model(None, grammar)


def test_the_program_ends_without_a_traceback_and_at_once() -> None:
    pytest.importorskip("hassil")
    command = [sys.executable, "-m", "asr", "commands", "try", str(GRAMMAR), str(EXAMPLES / "espresso.opus")]
    found = subprocess.run([*command, "--model", str(MODEL)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert '"coffeeDrink": "espresso"' in found.stdout
    assert found.stderr == ""


def test_tuning_starts_from_a_shipped_model_by_its_name(shipped: Path) -> None:
    """So that `init_from: english` and `tokenizer: {kind: run, run: english}` work from a wheel."""
    assert RunTokenizerConfig(run="english").train([]).digest == load_tokenizer(shipped / "tokenizer").digest
    config = small_config(init_from="english")
    check_source(config)
    with pytest.raises(DataError, match="init_from: englsh: no trained run"):
        check_source(small_config(init_from="englsh"))
