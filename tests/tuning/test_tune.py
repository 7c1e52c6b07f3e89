"""python -m asr.tune: a study goes on after anything, ends what is hopeless, says what failed, and names a winner."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")
pytest.importorskip("sqlalchemy")

import optuna

from asr.config.reading import ConfigError, read_values
from asr.config.recognizer import load_config
from asr.tune import main
from asr.tuning.default_spaces import default_space
from asr.tuning.space import check_space, load_space
from asr.tuning.storage import TuneError, hide_password

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
startup_trials: 4
space:
  optim.learning_rate: {low: 0.0001, high: 0.05, log: true}
  encoder.cell.hidden_size: {low: 8, high: 24, step: 8, integer: true}
"""


def write_space(folder: Path, text: str = SPACE) -> str:
    (folder / "space.yaml").write_text(text)
    return str(folder / "space.yaml")


def tune(config: Path, *arguments: str, space: str | None = None) -> tuple[int, dict[str, Any], Path]:
    """The exit code, results.json and the folder of a call."""
    folder = config.parent / "study"
    chosen = space or write_space(config.parent)
    code = main([str(config), "--space", chosen, "--output-dir", str(folder), *arguments])
    return code, json.loads((folder / "results.json").read_text()), folder


def test_a_study_from_the_command_to_the_winner(tone_config: Path) -> None:
    """The trainings are real ones, of a tiny model on a corpus of tones."""
    space = write_space(tone_config.parent, "space: {optim.learning_rate: {choices: [0.00001, 0.02]}}")
    code, results, folder = tune(tone_config, "--trials", "2", "--sampler", "grid", "train.max_epochs=2", space=space)
    assert code == 0
    assert [trial["state"] for trial in results["trials"]] == ["complete", "complete"]
    assert results["trials"][1]["values"][0] < results["trials"][0]["values"][0]  # one learnt nothing
    assert results["best"] == 1
    best = load_config(folder / "best.yaml")
    assert (best.optim.learning_rate, best.seed, best.run_dir) == (0.02, 7, "runs/study_best")
    assert (folder / "trials" / "0001" / "model.safetensors").exists()
    page = (folder / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert '<tr class="best"><th scope="row">1</th>' in page


def test_a_study_goes_on_and_a_larger_budget_adds_trials(tone_config: Path, pretended: None, capsys) -> None:
    _, first, folder = tune(tone_config, "--trials", "6")
    _, second, _ = tune(tone_config, "--trials", "9")
    assert second["trials"][:6] == first["trials"]
    assert [trial["number"] for trial in second["trials"]] == list(range(9))
    assert len({json.dumps(trial["params"]) for trial in second["trials"]}) == 9  # no point twice
    starts = [(folder / "trials" / f"{number:04d}" / "starts.txt").read_text() for number in range(9)]
    assert starts == ["."] * 9
    assert "6 trials are finished; the study goes on" in capsys.readouterr().out
    tune(tone_config, "--trials", "9")
    assert "trial" not in capsys.readouterr().out.partition("the study goes on")[2].partition("9 trials")[0]


def test_the_same_study_in_two_calls_or_in_one(tone_config: Path, pretended: None) -> None:
    def points(results: dict[str, Any]) -> list[Any]:
        return [(trial["params"], trial["values"], trial["curve"]) for trial in results["trials"]]

    # No trial is ended early: whether one still trains when it is judged depends on how busy the machine is.
    tune(tone_config, "--trials", "5", "--pruner", "none")
    _, parts, folder = tune(tone_config, "--trials", "8", "--pruner", "none")
    folder.rename(folder.with_name("parts"))
    _, whole, _ = tune(tone_config, "--trials", "8", "--pruner", "none")
    assert points(whole) == points(parts)


def test_hopeless_trials_end_early(tone_config: Path, pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETENDED_SECONDS", "0.1")
    for pruner in ("median", "hyperband"):
        code, results, folder = tune(
            tone_config,
            "--trials",
            "9",
            "--sampler",
            "random",
            "--pruner",
            pruner,
            "train.max_epochs=6",
            "--workers",
            "3",
        )
        pruned = [trial for trial in results["trials"] if trial["state"] == "pruned"]
        assert code == 0
        assert pruned
        for trial in pruned:
            assert 1 <= trial["pruned_after_epoch"] < 6
            assert trial["curve"][-1][0] >= trial["pruned_after_epoch"]
        best = next(trial for trial in results["trials"] if trial["number"] == results["best"])
        assert best["values"][0] <= min(trial["curve"][-1][1] for trial in pruned)
        assert "ended early" in (folder / "report.html").read_text()
        folder.rename(folder.with_name(pruner))


def test_failures_are_kept_with_their_reasons(tone_config: Path, pretended: None, capsys) -> None:
    text = "space: {optim.learning_rate: {choices: [0.1, 0.01]}, encoder.dropout: {choices: [0.9, 0.1]}}"
    code, results, folder = tune(tone_config, "--sampler", "grid", space=write_space(tone_config.parent, text))
    assert code == 0
    reasons = [trial["reason"] for trial in results["trials"]]
    assert sum("not finite" in (reason or "") for reason in reasons) == 2
    (killed,) = [reason for reason in reasons if reason and "signal 9" in reason]
    assert "most often for want of memory" in killed
    number = reasons.index(killed)
    assert (folder / "trials" / f"{number:04d}" / "starts.txt").read_text() == "..."  # it had two more chances
    assert results["trials"][results["best"]]["reason"] is None
    assert "failed: trial 0" in capsys.readouterr().out
    assert "not finite" in (folder / "report.html").read_text()


def test_a_figure_that_is_not_finite_is_a_failure(tone_config: Path, pretended: None) -> None:
    text = "objectives: [loss]\nspace: {encoder.dropout: {choices: [0.0, 0.1]}}"
    _, results, _ = tune(tone_config, "--sampler", "grid", space=write_space(tone_config.parent, text))
    assert "dev loss is nan; expected a finite number" in results["trials"][0]["reason"]
    assert results["best"] == 1


def test_nothing_but_failures_stops_the_study(tone_config: Path, pretended: None) -> None:
    space = write_space(tone_config.parent, "space: {optim.learning_rate: {low: 0.1, high: 0.2}}")
    with pytest.raises(TuneError, match=r"the first 5 trials all failed, the last one: step 4: .*; mend the cause"):
        tune(tone_config, space=space)


PROGRAM = """
import sys, asr.tuning.child
asr.tuning.child.train_command = lambda config: [sys.executable, {script!r}, str(config)]
from asr.process.runtime import run_program
from asr.tune import main
run_program(main)
"""


def start_program(config: Path, *arguments: str, before: str = "", seconds: float = 0.5) -> "subprocess.Popen[str]":
    """The program in a process of its own, with slow pretended trainings; `before` is run in it first."""
    script = before + PROGRAM.format(script=str(ROOT / "tests/support/pretended_training.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PRETENDED_SECONDS": str(seconds)}
    command = [sys.executable, "-c", script, str(config), "--space", write_space(config.parent)]
    return subprocess.Popen(
        [*command, "--output-dir", str(config.parent / "study"), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_calls_share_a_study(tone_config: Path, pretended: None) -> None:
    calls = [start_program(tone_config, "--trials", "6", seconds=0.2) for _ in range(2)]
    for process in calls:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    _, results, folder = tune(tone_config, "--trials", "6")
    assert len(results["trials"]) == 6
    assert [path.read_text() for path in folder.glob("trials/*/starts.txt")] == ["."] * len(results["trials"])


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tone_config: Path, pretended: None) -> None:
    """The database may grow by a few pages only, then the system refuses."""
    pytest.importorskip("resource")
    _, first, folder = tune(tone_config, "--trials", "2", "--pruner", "none")
    limit = (folder / "study.db").stat().st_size + 4096
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    process = start_program(tone_config, "--trials", "60", "--pruner", "none", before=before, seconds=0.0)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert re.search(
        r"error: .*study.db: .*; make room on its disk.* All finished trials are kept; rerun to go on", said
    )
    begun = len(list(folder.glob("trials/*/starts.txt")))
    _, results, _ = tune(tone_config, "--trials", str(begun + 1), "--pruner", "none")
    assert results["trials"][:2] == first["trials"]
    assert [trial["state"] for trial in results["trials"]] == ["complete"] * (begun + 1)
    assert [path.read_text() for path in folder.glob("trials/*/starts.txt")] == ["."] * (begun + 1)


@pytest.mark.slow
def test_real_trainings_are_the_same_after_a_machine_died(tone_config: Path, tmp_path: Path) -> None:
    """All is killed at once amid the second trial, as by a power cut; the figures are those of a study that was not."""
    space = write_space(tmp_path, SPACE.replace("0.0001", "0.01"))
    budget = ("--trials", "3", "--pruner", "none", "train.max_epochs=6")
    command = [sys.executable, "-m", "asr.tune", str(tone_config), "--space", space, *budget]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = tone_config.parent / "study"
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*command, "--output-dir", str(folder)], env=environment, stdout=said, stderr=said, start_new_session=True
        )
        metrics, deadline = folder / "trials/0001/metrics.jsonl", time.monotonic() + 120
        while "dev/wer" not in (metrics.read_text() if metrics.exists() else ""):
            assert process.poll() is None, (tmp_path / "said.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "results.json").exists()
    _, after, _ = tune(tone_config, *budget, space=space)
    folder.rename(tmp_path / "killed")
    _, whole, _ = tune(tone_config, *budget, space=space)
    for killed, other in zip(after["trials"], whole["trials"], strict=True):
        for key in ("params", "values", "curve"):
            assert killed[key] == other[key]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_study_that_is_killed_loses_no_trial(tone_config: Path, pretended: None, number: int, capsys) -> None:
    process = start_program(tone_config, "--trials", "5", "--workers", "2")
    begun = tone_config.parent / "study" / "trials" / "0001" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGTERM else -9), said
    time.sleep(2.0 if number == signal.SIGKILL else 0.0)  # what it left alone comes to its end
    code, results, folder = tune(tone_config, "--trials", "5", "--workers", "2")
    assert code == 0
    assert [trial["number"] for trial in results["trials"]] == list(range(5))
    assert {trial["state"] for trial in results["trials"]} <= {"complete", "pruned"}
    assert "trial 0: goes on" in capsys.readouterr().out
    lines = [json.loads(line)["step"] for line in (folder / "trials/0000/metrics.jsonl").read_text().splitlines()]
    assert lines == sorted(set(lines))  # no epoch twice


def test_a_trial_whose_holder_died_before_it_began(tone_config: Path, pretended: None) -> None:
    _, _, folder = tune(tone_config, "--trials", "1")
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{folder / 'study.db'}")
    study.ask()  # and nothing else, as if killed here
    _, results, _ = tune(tone_config, "--trials", "2")
    assert [trial["state"] for trial in results["trials"]] == ["complete", "complete"]


def test_a_trial_of_another_machine_is_left_alone(tone_config: Path, pretended: None) -> None:
    url = f"sqlite:///{tone_config.parent}/shared.db"
    shared = ("--storage", url, "--study", "digits")
    tune(tone_config, "--trials", "2", *shared)
    study = optuna.load_study(study_name="digits", storage=url)
    study.ask().set_user_attr("place", "another")
    _, results, _ = tune(tone_config, "--trials", "4", *shared)
    assert [trial["state"] for trial in results["trials"]] == ["complete", "complete", "running", "complete"]


def test_hours_end_a_call_and_the_next_goes_on(tone_config: Path, pretended: None, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PRETENDED_SECONDS", "0.4")
    _, results, _ = tune(tone_config, "--hours", "0.0002")
    assert results["trials"][-1]["state"] == "running"
    assert "saved; rerun to go on" in capsys.readouterr().out
    _, results, _ = tune(tone_config, "--trials", str(len(results["trials"])))
    assert results["trials"][-1]["state"] == "complete"


def test_every_sampler(tone_config: Path, pretended: None) -> None:
    pytest.importorskip("cmaes")
    for sampler in ("random", "tpe", "cmaes"):
        code, results, folder = tune(tone_config, "--trials", "8", "--sampler", sampler, "--pruner", "none")
        assert code == 0
        assert len({trial["params"]["optim.learning_rate"] for trial in results["trials"]}) == 8
        folder.rename(folder.with_name(sampler))


def test_conditions_choose_which_keys_a_trial_has(tone_config: Path, pretended: None) -> None:
    text = """
space:
  encoder.cell: {choices: [{kind: lstm, hidden_size: 8}, {kind: gru, hidden_size: 8}]}
  encoder.bidirectional: {choices: [true, false]}
  encoder.num_layers: {low: 1, high: 2, integer: true, when: {encoder.bidirectional: true}}
"""
    _, results, folder = tune(tone_config, "--sampler", "grid", space=write_space(tone_config.parent, text))
    assert len(results["trials"]) == 6  # 2 cells x (2 layers and both directions, or one direction)
    for trial in results["trials"]:
        assert ("encoder.num_layers" in trial["params"]) == trial["params"]["encoder.bidirectional"]
        config = load_config(folder / "trials" / f"{trial['number']:04d}.yaml")
        assert config.encoder.cell.kind == json.loads(trial["params"]["encoder.cell"])["kind"]  # type: ignore[union-attr]


def test_two_objectives_have_a_front(tone_config: Path, pretended: None) -> None:
    text = "objectives: [wer, parameters]\n" + SPACE
    code, results, folder = tune(tone_config, "--trials", "8", space=write_space(tone_config.parent, text))
    assert code == 0
    values = [tuple(trial["values"]) for trial in results["trials"]]
    assert {value[1] for value in values} <= {8.0, 16.0, 24.0}
    expected = {n for n, v in enumerate(values) if not any(w != v and w[0] <= v[0] and w[1] <= v[1] for w in values)}
    assert set(results["front"]) == expected
    assert "no trial beats one of the front in both" in (folder / "report.html").read_text()


FAULTS = [
    (
        "space: {encoder.num_layer: {low: 1, high: 2}}",
        r"space: encoder.num_layer: unknown key; did you mean 'num_layers'",
    ),
    ("space: {optim.learning_rate: {low: 0.1, high: 0.01}}", r"found low 0.1, high 0.01; expected low below high"),
    (
        "space: {optim.learning_rate: {low: 0, high: 1, log: true}}",
        r"low: found 0; expected more than 0, as log is true",
    ),
    ("space: {encoder.dropout: {low: 0, high: 0.5, step: 2}}", r"step: found 2; expected more than 0 and at most 0.5"),
    ("space: {encoder.dropout: {low: 0.1, high: 0.5, step: 0.1, log: true}}", r"found log and step; expected one"),
    ("space: {encoder.num_layers: {low: 1, high: 2.5, integer: true}}", r"found 1, 2.5; expected whole numbers"),
    ("space: {encoder.dropout: {low: 0.5}}", r"found neither choices nor both low and high; expected one of the two"),
    ("space: {encoder.dropout: {choices: [0.1], low: 0.5}}", r"found choices and keys of a range; expected one"),
    ("space: {encoder.dropout: {choices: [0.1, 0.1]}}", r"choices: found 0.1, 0.1; expected one or more, each once"),
    ("space: {encoder.dropout: {low: 0.5, high: 1.5}}", r"space: encoder.dropout: found 1.5; "),
    ("space: {encoder.num_layers: {low: 1, high: 2}}", r"space: encoder.num_layers: found 1.0; .*integer"),
    ("space: {encoder.dropout: {lo: 0.5, high: 0.6}}", r"space.encoder.dropout.lo: unknown key; did you mean 'low'"),
    ("space: {run_dir: {choices: [a, b]}}", r"space.run_dir: found a key that each trial has of its own"),
    (
        "objectives: [parameters]\nspace: {encoder.dropout: {low: 0, high: 0.5}}",
        r"found parameters; expected wer, cer or",
    ),
    ("objectives: [wer, parameters]\npruner: median\n" + SPACE, r"pruner: found 'median' and two objectives"),
    (
        "objectives: [wer, parameters]\nsampler: cmaes\n" + SPACE,
        r"sampler: found 'cmaes' and the objectives wer, param",
    ),
    ("sampler: grid\nspace: {encoder.dropout: {low: 0, high: 0.5}}", r"space.encoder.dropout: found a range without"),
    ("sampler: grid\nspace: {seed_: {low: 0, high: 1}}", r"space: seed_: unknown key"),
    ("sampler: grid\nspace: {optim.schedule.warmup_steps: {low: 0, high: 20000, integer: true}}", r"more than 10,000"),
    (
        "space: {encoder.num_layers: {low: 1, high: 2, integer: true, when: {encoder.dropout: 0}}, "
        "encoder.dropout: {low: 0, high: 0.5}}",
        r"space.encoder.num_layers.when: found 'encoder.dropout', which comes after it",
    ),
    (
        "space: {encoder.dropout: {low: 0, high: 0.5}, "
        "encoder.num_layers: {low: 1, high: 2, integer: true, when: {encoder.dropout: 0}}}",
        r"when: found encoder.dropout = 0; expected a value of a range",
    ),
    (
        "space: {encoder.num_layers: {low: 1, high: 2, integer: true, when: {encoder.cell.kind: gru}}}",
        r"when: found encoder.cell.kind = 'gru'; it is 'lstm' in every trial",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS, ids=range(len(FAULTS)))
def test_faults_of_a_space(tone_config: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        tune(tone_config, space=write_space(tone_config.parent, text))
    assert str(error.value).startswith(str(tone_config.parent / "space.yaml"))


def test_a_study_of_something_else(tone_config: Path, pretended: None) -> None:
    tune(tone_config, "--trials", "1")
    with pytest.raises(
        TuneError, match=r"(?s)found a study of something else:\n.*optim.weight_decay: was 0.01, is now 0.5"
    ):
        tune(tone_config, "--trials", "2", "optim.weight_decay=0.5")
    other = write_space(tone_config.parent, SPACE.replace("0.05", "0.06"))
    with pytest.raises(
        TuneError, match=r"space.optim.learning_rate: was .*\nexpected the same configuration, space and"
    ):
        tune(tone_config, "--trials", "2", space=other)


def test_a_database_that_is_locked_or_none(tone_config: Path, pretended: None, monkeypatch) -> None:
    _, _, folder = tune(tone_config, "--trials", "1")
    monkeypatch.setattr("asr.tuning.storage.SECONDS_TO_WAIT", 0.1)
    holder = sqlite3.connect(folder / "study.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(
        TuneError, match=r"study.db: database is locked; wait for, or end, the program that holds it\. All"
    ):
        tune(tone_config, "--trials", "2")
    holder.close()
    _, results, _ = tune(tone_config, "--trials", "2")
    assert len(results["trials"]) == 2
    (folder / "study.db").write_text("no database " * 100)
    with pytest.raises(TuneError, match="not a database; expected a database that can be read and written"):
        tune(tone_config, "--trials", "3")
    with pytest.raises(TuneError, match=r"nosuch://u:\*\*\*@host/x: .*; expected a database"):
        tune(tone_config, "--storage", "nosuch://u:secret@host/x")
    assert hide_password("no url") == "--storage"


def test_no_dev_data(tone_config: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.dev.manifest: .*gone.jsonl: no such file; prepare it first"):
        tune(tone_config, f"data.dev.manifest={tmp_path / 'gone.jsonl'}")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"empty.jsonl: no utterances; expected one JSON object a line"):
        tune(tone_config, f"data.dev.manifest={tmp_path / 'empty.jsonl'}")


def test_options(tone_config: Path, capsys) -> None:
    for given, message in (
        (["--trials", "0"], "found '0'; expected a whole number, 1 or more"),
        (["--hours", "-1"], "found '-1'; expected hours, more than 0"),
        (["--hours", "soon"], "found 'soon'; expected hours, more than 0"),
    ):
        with pytest.raises(SystemExit):
            main([str(tone_config), *given])
        assert message in capsys.readouterr().err
    with pytest.raises(TuneError, match="--study: found without --storage; expected both, or neither"):
        main([str(tone_config), "--study", "x"])


def test_without_a_space_one_is_chosen_by_the_hours_of_data(tone_config: Path, pretended: None, capsys) -> None:
    folder = tone_config.parent / "study"
    assert main([str(tone_config), "--trials", "1", "--output-dir", str(folder), "encoder.cell.hidden_size=64"]) in (
        0,
        4,
    )
    assert "space: small, built in: optim.learning_rate" in capsys.readouterr().out
    (tone_config.parent / "tones.tune.yaml").write_text(SPACE)
    assert main([str(tone_config), "--trials", "1", "--output-dir", f"{folder}2"]) == 0
    assert "hidden_size" in (Path(f"{folder}2") / "report.html").read_text()


def test_without_the_extra(tone_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("asr.tuning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"tune: optuna is not installed; expected the extra tune: pip install"):
        main([str(tone_config)])


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/tuning").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_spaces_of_recipes_fit_their_configuration(path: Path) -> None:
    config = ROOT / re.findall(r"earshot tune (\S+)", path.read_text())[0]
    space = load_space(path)
    check_space(space, {**read_values(config), "run_dir": "run"}, load_config(config), where=str(path))


@pytest.mark.parametrize("name", ["small", "middle", "large"])
def test_the_built_in_spaces_fit_every_configuration(name: str) -> None:
    for path in sorted((ROOT / "conf").glob("*_ctc.yaml")):
        config = load_config(path)
        space = default_space(name, {**read_values(path), "run_dir": "run"}, config)
        assert {"optim.learning_rate", "encoder.dropout"} <= {*space.space}
        assert ("encoder.cell.hidden_size" in space.space) or "projected" in path.name or "conv" in path.name
