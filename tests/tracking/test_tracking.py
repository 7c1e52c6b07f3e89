"""Trackers: what is on disk is what was logged, resuming leaves no trace, and wandb can fail without harm."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from asr.tracking.config import TrackingConfig, TrackingError
from asr.tracking.console_lines import duration
from asr.tracking.lines import JSONLinesTracker
from asr.tracking.media import DevUtterance, mark_errors
from asr.tracking.trackers import Tracker, TrackerGroup, finishing_after_failure, open_tracker
from asr.tracking.wandb import WandbTracker, _run_id
from tests.support.wandb_reader import OfflineRun, read_run

CONFIG = {"seed": 7, "train": {"learning_rate": 1e-3}}


@pytest.fixture(autouse=True)
def own_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings, credentials or folders of the user."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home" / "wandb"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))


def picture() -> bytes:
    drawn = io.BytesIO()
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(drawn, format="PNG")
    return drawn.getvalue()


def utterance(name: str = "anna-1", explanation: bytes | None = None) -> DevUtterance:
    generator = np.random.default_rng(1)
    return DevUtterance(
        id=name,
        samples=generator.uniform(-0.1, 0.1, 1600).astype(np.float32),
        sample_rate=16_000,
        reference="turn <it> on",
        hypothesis="turn on now",
        alignment=(("turn", "turn"), ("<it>", ""), ("on", "on"), ("", "now")),
        log_mel=generator.standard_normal((30, 80)).astype(np.float32),
        explanation=explanation,
    )


def log_steps(tracker: Tracker, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log({"train/loss": 1 / step, "speed/data_wait_share": time.perf_counter()}, step=step)
        if step % 4 == 0:
            tracker.log({"dev/wer": 1 / step**2}, step=step)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_figures_and_wall_clock_go_to_separate_files(tmp_path: Path) -> None:
    tracker = open_tracker(TrackingConfig(trackers=("jsonl",)), tmp_path, CONFIG, 0)
    tracker.log({"train/loss": 0.1 + 0.2, "speed/x": 2.0}, step=1)
    tracker.log({"dev/wer": math.inf}, step=1)
    # Read before the end: a killed run must have left its lines.
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "train/loss": 0.1 + 0.2}, {"step": 1, "dev/wer": None}]
    assert lines(tmp_path / "speed.jsonl") == [{"step": 1, "speed/x": 2.0}]
    tracker.finish(0)


@pytest.mark.parametrize("killed_at", [5, 8, 9, 12])
@pytest.mark.parametrize("torn", [b"", b'{"step": 13, "train/lo'])
def test_a_killed_and_resumed_run_leaves_the_same_bytes(tmp_path: Path, killed_at: int, torn: bytes) -> None:
    whole = JSONLinesTracker(make_folder(tmp_path / "whole"), 0)
    log_steps(whole, 1, 12)
    killed = JSONLinesTracker(make_folder(tmp_path / "killed"), 0)
    log_steps(killed, 1, killed_at)
    with (tmp_path / "killed" / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    checkpoint_step = killed_at - killed_at % 4
    resumed = JSONLinesTracker(tmp_path / "killed", checkpoint_step)
    log_steps(resumed, checkpoint_step + 1, 12)
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert [line["step"] for line in lines(tmp_path / "killed" / "speed.jsonl")] == list(range(1, 13))


def test_a_line_of_the_checkpoint_s_step_is_not_repeated(tmp_path: Path) -> None:
    first = JSONLinesTracker(tmp_path, 0)
    first.log({"train/loss": 0.5}, step=4)
    first.log({"final/dev_wer": 0.25}, step=4)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = JSONLinesTracker(tmp_path, 4)
    again.log({"final/dev_wer": 0.25}, step=4)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    again.log({"final/dev_wer": 0.125}, step=4)
    assert len(lines(tmp_path / "metrics.jsonl")) == 3


def test_a_new_run_in_a_used_folder_starts_an_empty_file(tmp_path: Path) -> None:
    log_steps(JSONLinesTracker(tmp_path, 0), 1, 3)
    JSONLinesTracker(tmp_path, 0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_what_no_tracker_wrote_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "a": 1}\n[1]\n{"step": 2, "a": 1}\n')
    JSONLinesTracker(tmp_path, 9)
    assert path.read_bytes() == b'{"step": 1, "a": 1}\n'


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    tracker = JSONLinesTracker(tmp_path, 0)
    tracker._metrics._file = open("/dev/full", "wb")  # noqa: SIM115, PTH123
    with pytest.raises(TrackingError, match=r"metrics.jsonl: cannot be written .*No space left.*make room"):
        tracker.log({"train/loss": 1.0}, step=1)
    with pytest.raises(OSError, match="No space"):
        tracker._metrics._file.close()


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_console_shows_figures_and_marked_errors(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=40)
    tracker = open_tracker(TrackingConfig(trackers=("console",)), tmp_path, CONFIG, 0, console=console)
    tracker.log({"train/loss": 0.123456, "speed/data_wait_share": 0.01}, step=1200)
    tracker.log_utterances([utterance()] * 9, step=1200)
    tracker.finish(0)
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown[0].split() == ["step", "1,200", "loss", "0.1235", "waiting", "for", "data", "1.0", "%"]
    assert shown[1].split() == ["anna-1:", "turn", "[<it>→]", "on", "[→now]"]
    assert len(shown) == 4
    assert list(tmp_path.iterdir()) == []


def test_the_console_says_how_far_a_training_is(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    config = TrackingConfig(trackers=("console",))
    tracker = open_tracker(config, tmp_path, CONFIG, 1000, console=console, total_steps=9600)
    figures = {"train/epoch": 3, "train/learning_rate": 3e-4, "train/loss": 1.2345, "train/loss_attention": 1.2}
    figures |= {"train/gradient_norm": 2.0, "speed/audio_seconds_per_second": 240.4, "speed/data_wait_share": 0.02}
    tracker.log(figures, step=1200)
    tracker.log({"train/epoch": 4, "dev/wer": 0.2344, "dev/best_wer": 0.2, "dev/loss": 0.9}, step=9600)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 100
    assert re.match(r"step 1,200 of 9,600  12 %  0:00:\d\d left  epoch 3  lr 0\.0003  loss 1\.23", lines[0])
    assert lines[1].startswith("    ")
    assert "240 times real time" in " ".join(lines)
    assert lines[-1].startswith(
        "step 9,600 of 9,600  100 %  0:00:00 left  epoch 4  dev WER 23.4 %  dev best WER 20.0 %"
    )
    assert duration(3725.4) == "1:02:05"


def test_no_tracker_at_all_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = open_tracker(TrackingConfig(trackers=()), tmp_path, CONFIG, 0)
    tracker.log({"train/loss": 1.0}, step=1)
    tracker.log_utterances([utterance()], step=1)
    tracker.finish(0)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_errors_are_marked_and_text_is_escaped() -> None:
    marked = mark_errors([("turn", "turn"), ("<it>", "&"), ("off", ""), ("", "now")])
    assert ">turn <del" in marked
    assert ">&lt;it&gt;</del><ins" in marked
    assert ">&amp;</ins>" in marked
    assert marked.count("<del") == 2
    assert marked.count("<ins") == 2


def offline_runs(run_dir: Path) -> list[OfflineRun]:
    """The finished runs of a folder; wandb's service closes a file a moment after `finish` has returned."""
    paths = sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb"))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        runs = [read_run(path) for path in paths if path.stat().st_size]
        if len(runs) == len(paths) and all(run.exit_code is not None for run in runs):
            return runs
        time.sleep(0.05)
    pytest.fail(f"no exit record in {paths}")


def wandb_tracker(run_dir: Path, warnings: list[str], **overrides: Any) -> WandbTracker:
    run_dir.mkdir(exist_ok=True)
    return WandbTracker(TrackingConfig(**overrides), run_dir, CONFIG, warn=warnings.append)


def test_an_offline_run_reads_back_from_its_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "openai", raising=False)  # wandb advertises to whoever has it, as other tests do
    warnings: list[str] = []
    run_dir = tmp_path / "lstm-small"
    tracker = wandb_tracker(run_dir, warnings)
    log_steps(tracker, 1, 8)
    tracker.log_utterances([utterance("anna-1"), utterance("ben-2", picture())], step=8)
    tracker.log_utterances([], step=8)
    tracker.finish(3)
    assert warnings == []
    assert capfd.readouterr() == ("", "")

    (run,) = offline_runs(run_dir)
    assert (run.project, run.name, run.exit_code) == ("earshot", "lstm-small", 3)
    assert {name: run.config[name] for name in CONFIG} == CONFIG
    losses = {row["step"]: row["train/loss"] for row in run.history if "train/loss" in row}
    assert losses == {step: 1 / step for step in range(1, 9)}
    assert [row["dev/wer"] for row in run.history if "dev/wer" in row] == [1 / 16, 1 / 64]
    assert all(row["speed/data_wait_share"] > 0 for row in run.history if "train/loss" in row)

    (row,) = [row for row in run.history if "dev/log_mel/count" in row or "dev/log_mel" in row]
    assert row["step"] == 8
    (table_file,) = [name for name in run.files if name.endswith(".table.json")]
    (folder,) = run_dir.glob("wandb/offline-run-*/files")
    table = json.loads((folder / table_file).read_text())
    assert table["columns"] == ["id", "audio", "reference", "hypothesis", "errors", "num_errors"]
    first, second = table["data"]
    assert (first[0], first[2], first[3], first[5]) == ("anna-1", "turn <it> on", "turn on now", 2)
    assert second[0] == "ben-2"
    assert len(run.artifacts) == 1
    assert len([name for name in run.files if name.endswith(".png")]) == 3
    assert len([name for name in run.files if "explanation_1" in name]) == 1


def test_the_audio_and_marks_of_a_table_wait_in_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_DATA_DIR")
    run_dir = tmp_path / "run"
    tracker = wandb_tracker(run_dir, [])
    tracker.log_utterances([utterance()], step=1)
    tracker.finish(0)
    monkeypatch.setenv("WANDB_DATA_DIR", "unset by the fixture's end")  # the tracker has set it
    staged = [path.read_bytes() for path in run_dir.glob("wandb/artifacts/staging/**/*") if path.is_file()]
    assert any(data[:4] == b"RIFF" and len(data) == 44 + 2 * 1600 for data in staged)
    assert mark_errors(utterance().alignment).encode() in staged
    assert not (tmp_path / "home" / ".local").exists()


def test_the_segments_of_a_resumed_run_lose_nothing(tmp_path: Path) -> None:
    """One id, both allowed to resume, every step once, and a `_step` that grows from segment to segment."""
    for first, last in ((1, 3), (4, 6)):
        tracker = wandb_tracker(tmp_path, [])
        log_steps(tracker, first, last)
        tracker.log_utterances([utterance()], step=last)
        tracker.finish(0)
        time.sleep(1)  # wandb names folders to the second
    before, after = offline_runs(tmp_path)
    assert before.id == after.id == (tmp_path / "wandb" / "run_id").read_text()
    assert before.may_resume
    assert after.may_resume
    rows = before.history + after.history
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 3, 4, 5, 6]
    numbers = [row["_step"] for row in rows]
    assert numbers == sorted(set(numbers))
    assert len(after.history) > 3
    assert int((tmp_path / "wandb" / "next_step").read_text()) == numbers[-1] + 1


def test_steps_repeated_after_a_kill_are_rows_of_their_own(tmp_path: Path) -> None:
    tracker = wandb_tracker(tmp_path, [])
    log_steps(tracker, 1, 3)
    tracker.finish(0)
    (tmp_path / "wandb" / "next_step").unlink()  # as an older release left it
    time.sleep(1)
    tracker = wandb_tracker(tmp_path, [])
    log_steps(tracker, 2, 5)
    tracker.finish(0)
    before, after = offline_runs(tmp_path)
    assert [row["step"] for row in after.history if "train/loss" in row] == [2, 3, 4, 5]
    assert min(row["_step"] for row in after.history) > max(row["_step"] for row in before.history)


def test_a_count_of_rows_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "next_step").write_text("-3\n")
    warnings: list[str] = []
    tracker = wandb_tracker(tmp_path, warnings)
    tracker.finish(0)
    assert "'-3'; expected the number of the next row" in warnings[0]


@pytest.mark.parametrize("content", [b"../x", b"", b"a b", b"\xff", b"x" * 100])
def test_an_id_that_would_be_more_than_a_name_is_one_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "run_id").write_bytes(content)
    with pytest.raises(TrackingError, match=r"run_id: found .*; expected an id of wandb's, letters and digits; remove"):
        _run_id(tmp_path)


def test_online_without_a_key_records_offline_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked the user"))
    warnings: list[str] = []
    tracker = wandb_tracker(tmp_path, warnings, mode="online")
    log_steps(tracker, 1, 2)
    tracker.finish(0)
    (warning,) = warnings
    assert warning.startswith("wandb: not online (TrackingError: wandb: no API key; expected one from")
    (run,) = offline_runs(tmp_path)
    assert [row["train/loss"] for row in run.history] == [1.0, 0.5]


@pytest.mark.slow
def test_online_without_a_server_records_offline(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from asr.tracking.config import TrackingConfig\n"
        "from asr.tracking.trackers import open_tracker\n"
        "tracker = open_tracker(TrackingConfig(trackers=('wandb',), mode='online'), Path(sys.argv[1]), {}, 0)\n"
        "tracker.log({'train/loss': 0.5}, step=1)\n"
        "tracker.finish(0)\n"
    )
    environment = {**os.environ, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("warning: wandb: not online (")
    (run,) = offline_runs(tmp_path)
    assert [row["train/loss"] for row in run.history] == [0.5]


def test_a_failing_start_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("a file where the folder should be")
    warnings: list[str] = []
    tracker = wandb_tracker(tmp_path, warnings)
    log_steps(tracker, 1, 5)
    tracker.finish(0)
    log_steps(tracker, 6, 7)
    (warning,) = warnings
    assert warning.startswith("wandb: FileExistsError: ")
    assert warning.endswith("; the run goes on without it")


KILLED_SERVICE = """
import os, signal, sys, time
from pathlib import Path
from asr.tracking.config import TrackingConfig
from asr.tracking.trackers import open_tracker

run_dir, number = Path(sys.argv[1]), int(sys.argv[2])
tracker = open_tracker(TrackingConfig(trackers=("jsonl", "wandb")), run_dir, {}, 0)
tracker._trackers[1]._finish_seconds = 3.0
tracker.log({"train/loss": 1.0}, step=1)
while not list(run_dir.glob("wandb/offline-run-*/run-*.wandb")):
    time.sleep(0.05)
for stat in Path("/proc").glob("[0-9]*/stat"):
    fields = stat.read_text().rsplit(")", 1)[1].split()
    if int(fields[1]) == os.getpid():
        os.kill(int(stat.parent.name), number)
        print("service", stat.parent.name)
start = time.perf_counter()
for step in range(2, 3000):
    tracker.log({"train/loss": 1.0}, step=step)
assert time.perf_counter() - start < 2
tracker.finish(0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hanging_service_neither_stops_the_run_nor_makes_it_wait(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", KILLED_SERVICE, str(tmp_path), str(int(number))]
    start = time.perf_counter()
    # Into files: a stopped service keeps a pipe open for ever.
    out, errors = tmp_path / "stdout", tmp_path / "stderr"
    with out.open("w") as stdout, errors.open("w") as stderr:
        done = subprocess.run(command, stdout=stdout, stderr=stderr, timeout=60, check=False)
    duration = time.perf_counter() - start
    shown = out.read_text().splitlines()
    services = [line for line in shown if line.startswith("service ")]  # wandb may start others for a moment
    if number == signal.SIGSTOP:
        for line in services:
            os.kill(int(line.split()[1]), signal.SIGKILL)
    assert (done.returncode, errors.read_text()) == (0, "")
    assert services
    (warning,) = (line for line in shown if line not in services)
    assert warning.startswith("warning: wandb: ")
    assert warning.endswith("; the run goes on without it")
    assert duration < 20
    assert len(lines(tmp_path / "metrics.jsonl")) == 2999


def test_a_wandb_that_does_not_keep_up_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(WandbTracker, "_start", lambda self: release.wait(30))
    warnings: list[str] = []
    tracker = wandb_tracker(tmp_path, warnings)
    start = time.perf_counter()
    for step in range(1500):
        tracker.log({"train/loss": 1.0}, step=step)
    tracker._finish_seconds = 0.2
    tracker.finish(0)
    assert time.perf_counter() - start < 3
    release.set()
    assert warnings == ["wandb: 1000 calls behind; the run goes on without it"]


def test_the_configuration_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="tensorboard"):
        TrackingConfig(trackers=("tensorboard",))  # type: ignore[arg-type]
    assert TrackingConfig().mode == "offline"


def test_wandb_says_nothing_after_a_failure_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong with it then would stand below the error, as if it were the cause."""
    warnings: list[str] = []
    may_fail = threading.Event()

    def start(self: WandbTracker) -> None:
        may_fail.wait(10)
        raise RuntimeError("wandb: no service")

    monkeypatch.setattr(WandbTracker, "_start", start)
    for failure in (ValueError("our own"), SystemExit(2)):
        may_fail.clear()
        tracker = WandbTracker(TrackingConfig(), tmp_path, CONFIG, warn=warnings.append, finish_seconds=0.2)
        with pytest.raises(type(failure)), finishing_after_failure(tracker):
            raise failure
        may_fail.set()
        tracker._thread.join(10)
    assert warnings == []
    tracker = WandbTracker(TrackingConfig(), tmp_path, CONFIG, warn=warnings.append, finish_seconds=5.0)
    tracker.finish(0)
    assert len(warnings) == 1
    with pytest.raises(KeyboardInterrupt), finishing_after_failure(TrackerGroup([])):
        raise KeyboardInterrupt
