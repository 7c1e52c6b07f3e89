"""asr/files/packaged.py: what the package brings is found from any folder, and is not written into."""

import argparse
from pathlib import Path

import pytest

from asr.config.recognizer import load_config
from asr.evaluate import main as evaluate
from asr.files import packaged
from asr.files.packaged import locate, own_run, results_parent
from asr.transcription.config import load_job

ROOT = Path(__file__).resolve().parents[2]
MODEL = "recipes/barista_bilstm_ctc/model_finetuned"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a stand-in for an installed wheel with a configuration and a run; an empty folder to work in."""
    root = tmp_path / "asr" / "package_data"
    for name in ("conf/bilstm_ctc.yaml", f"{MODEL}/config.yaml"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(packaged, "ROOTS", (root,))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root


def test_a_path_is_taken_as_given_where_it_exists(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Path("conf/bilstm_ctc.yaml")
    own.parent.mkdir()
    own.write_text("")
    assert locate(own) == own
    assert capsys.readouterr().err == ""


def test_else_it_is_the_package_s_and_that_is_said(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert locate("conf/bilstm_ctc.yaml") == wheel / "conf/bilstm_ctc.yaml"
    assert capsys.readouterr().err == (
        f"conf/bilstm_ctc.yaml: not in this folder; taken from the installed package: {wheel}/conf/bilstm_ctc.yaml\n"
    )
    assert load_config("conf/bilstm_ctc.yaml").run_dir == "runs/bilstm_ctc"
    job = load_job(None, {"run": MODEL, "paths": ["-", "mine/*.wav"], "output": "x.jsonl"})
    assert (job.run, job.paths) == (str(wheel / MODEL), ("-", "mine/*.wav"))


@pytest.mark.parametrize("path", ["conf/other.yaml", "asr/package_data", "conf/../conf/bilstm_ctc.yaml", "/conf", ""])
def test_other_paths_stay_what_they_are(path: str, wheel: Path) -> None:
    assert locate(path) == Path(path)


def test_nothing_is_written_into_an_installed_package(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="part of the installed package, which is not written to"):
        own_run(MODEL)
    assert own_run("runs/mine") == Path("runs/mine")
    assert results_parent(wheel / MODEL) == Path("runs/model_finetuned")
    assert results_parent(Path("runs/mine")) == Path("runs/mine")
    with pytest.raises(SystemExit, match="2"):
        evaluate([MODEL, "dev.jsonl", "--calibrate-confidence"])
    assert "is not written to" in capsys.readouterr().err


def test_the_repository_itself_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a clone, with what the wheel's table in pyproject.toml names."""
    monkeypatch.chdir(tmp_path)
    assert locate(MODEL) == ROOT / MODEL
    assert own_run(MODEL) == ROOT / MODEL  # one's own clone
