"""What may change between the calls that make up one run, and what a folder is in which nothing was learnt."""

import json
import os
import stat
from pathlib import Path

import pytest

from asr.runs.checkpoint import write_text
from asr.runs.folder import RunError
from asr.train import main
from tests.programs.kill_trial import fingerprint
from tests.training.test_train import losses, stop_at_step


def run(config: Path, run_dir: Path, *overrides: str) -> int:
    return main([str(config), f"run_dir={run_dir}", *overrides])


def test_a_run_may_be_made_longer_and_says_its_learning_rate(tone_config: Path, tmp_path: Path, capsys) -> None:
    run(tone_config, tmp_path / "run", "train.max_epochs=2")
    capsys.readouterr()
    longer = "train.max_epochs=4"
    assert run(tone_config, tmp_path / "run", longer) == 0
    assert (
        "train.max_epochs was raised from 2 to 4: the learning rate goes on as that of a training of 4 epochs, here "
        "50.5% of its peak (of 2: 1.0%)"
    ) in capsys.readouterr().out
    assert losses(tmp_path / "run")[-1]["step"] == 24
    assert json.loads((tmp_path / "run" / "run.json").read_text())["max_epochs_raised"] == [[2, 4]]
    unbroken = fingerprint(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "unbroken")
    run(tone_config, tmp_path / "run", "train.max_epochs=2")
    stop_at_step(tone_config, tmp_path / "run", 15, longer)
    assert run(tone_config, tmp_path / "run", longer) == 0
    assert fingerprint(tmp_path / "run") == unbroken
    with pytest.raises(
        RunError, match=r"train\.max_epochs: was 4, is now 3; it can be raised, not lowered: train\.max"
    ):
        run(tone_config, tmp_path / "run", "train.max_epochs=3")


def test_a_run_that_was_not_finished_may_be_made_longer_too(tone_config: Path, tmp_path: Path, capsys) -> None:
    stop_at_step(tone_config, tmp_path / "run", 8)
    assert run(tone_config, tmp_path / "run", "train.max_epochs=5") == 0
    assert "train.max_epochs was raised from 3 to 5" in capsys.readouterr().out
    assert losses(tmp_path / "run")[-1]["step"] == 30


def test_a_run_that_ended_early_says_how_to_go_on(tone_config: Path, tmp_path: Path, capsys) -> None:
    rates = ("optim.learning_rate=1e-9", "train.max_epochs=9")
    run(tone_config, tmp_path / "run", *rates, "train.early_stopping_epochs=1")
    capsys.readouterr()
    assert run(tone_config, tmp_path / "run", *rates, "train.early_stopping_epochs=1") == 0
    assert "raise train.early_stopping_epochs to go on" in capsys.readouterr().out
    before = losses(tmp_path / "run")[-1]["step"]
    assert run(tone_config, tmp_path / "run", *rates, "train.early_stopping_epochs=3") == 0
    assert losses(tmp_path / "run")[-1]["step"] > before


@pytest.mark.parametrize(
    "free",
    [
        "train.log_every_steps=2",
        "train.checkpoint_every_steps=3",
        "train.accumulation=2",
        "train.num_threads=2",
        "data.num_workers=1",
        "tracking.trackers=[console]",
    ],
)
def test_what_changes_nothing_that_is_learnt_may_change(tone_config: Path, tmp_path: Path, free: str) -> None:
    stop_at_step(tone_config, tmp_path / "run", 4)
    assert run(tone_config, tmp_path / "run", free) == 0


def test_a_folder_in_which_no_step_was_made_holds_no_experiment(tone_config: Path, tmp_path: Path, capsys) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.training.loop.run_epochs", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tone_config, tmp_path / "run", "features.normalization=global")
    capsys.readouterr()
    assert run(tone_config, tmp_path / "run", "seed=8", "tokenizer={kind: sentencepiece, vocabulary_size: 16}") == 0
    assert f"{tmp_path / 'run'}: held another experiment, in which no step was made" in capsys.readouterr().out
    assert "seed: 8" in (tmp_path / "run" / "config.yaml").read_text()
    run(tone_config, tmp_path / "other", "train.max_epochs=1")
    again = fingerprint(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "before")
    run(tone_config, tmp_path / "run", "seed=8", "tokenizer={kind: sentencepiece, vocabulary_size: 16}")
    assert fingerprint(tmp_path / "run") == again
    # A folder with a configuration that is no run stays as it is.
    write_text(tmp_path / "mine" / "config.yaml", (tmp_path / "run" / "config.yaml").read_text())
    with pytest.raises(RunError, match=r"run\.json: cannot be read"):
        run(tone_config, tmp_path / "mine")


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_that_the_umask_leaves(tone_config: Path, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        run(tone_config, tmp_path / "run", "train.max_epochs=1", "features.normalization=global")
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            mode = stat.S_IMODE(path.stat().st_mode)
            # filelock gives its file fewer: nobody else has anything to do with it.
            assert mode == 0o666 & ~mask or path.name == ".lock", f"{path.name}: {mode:o}"
