"""A training is stopped, or fails, amid anything: what was learnt is saved, and the run goes on as if not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import asr.training.loop
from asr.data.workers import DataWorkers, WorkerDied, open_loader
from asr.optim import ExponentialAverage
from asr.process.signals import SIGNAL_STACK_BYTES, signal_stack_size, signals_blocked, use_signal_stack
from asr.train import main
from asr.training.interruption import Interrupted, Interruption
from asr.training.steps import TrainingError
from tests.programs.kill_trial import fingerprint
from tests.programs.signal_storm import storm_jobs, storm_training
from tests.programs.stop_trial import run_trials

AVERAGED = "train.ema_decay=0.9"


def run(config: Path, run_dir: Path, *overrides: str) -> int:
    return main([str(config), f"run_dir={run_dir}", AVERAGED, *overrides])


def progress(run_dir: Path) -> dict:
    newest = max((run_dir / "checkpoints").glob("step-*"))
    return json.loads((newest / "state.json").read_text())["state"]["progress"]


@pytest.fixture
def whole(tone_config: Path, tmp_path: Path) -> dict[str, str]:
    """What a run leaves behind that was never stopped; its card names the folder, so it is in one of the same name."""
    run(tone_config, tmp_path / "run")
    found = fingerprint(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "whole")
    return found


def signalling(function: Callable, *, call: int, number: int = signal.SIGTERM, then_sleep: float = 0.0) -> Callable:
    """The function, in one of whose calls a signal comes, and which then has a lot of work left."""
    calls = []

    def work(*args, **options):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
            end = time.monotonic() + then_sleep
            while time.monotonic() < end:
                time.sleep(0.01)
        return function(*args, **options)

    return work


@pytest.mark.parametrize(
    ("name", "call", "step"),
    [
        ("compute_gradients", 5, 4),  # the fifth step is given up
        ("score_dev", 2, 12),  # of the second epoch
        ("score_dev", 4, 18),  # of the average of the best epochs, at the end
        ("log_interval", 2, 6),  # none is given up
        ("save", 2, 6),
    ],
)
def test_a_signal_is_answered_at_once_wherever_it_comes(
    tone_config: Path, tmp_path: Path, whole: dict[str, str], name: str, call: int, step: int
) -> None:
    may_be_left = name in ("compute_gradients", "score_dev")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            asr.training.loop,
            name,
            signalling(getattr(asr.training.loop, name), call=call, then_sleep=60.0 * may_be_left),
        )
        began = time.monotonic()
        assert run(tone_config, tmp_path / "run") == 143
        assert time.monotonic() - began < 30
    assert progress(tmp_path / "run")["step"] == step
    assert run(tone_config, tmp_path / "run") == 0
    assert fingerprint(tmp_path / "run") == whole


def test_an_update_is_never_left_half_way(tone_config: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExponentialAverage, "update", signalling(ExponentialAverage.update, call=3, number=signal.SIGINT))
        assert run(tone_config, tmp_path / "run") == 130
    assert progress(tmp_path / "run")["step"] == 3
    assert run(tone_config, tmp_path / "run") == 0
    assert fingerprint(tmp_path / "run") == whole


def test_what_is_half_updated_is_not_saved(tone_config: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("half way")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asr.training.loop, "log_interval", lambda *_: patch.setattr(ExponentialAverage, "update", fail))
        with pytest.raises(RuntimeError, match="half way"):
            run(tone_config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/step-00000003"))
    assert run(tone_config, tmp_path / "run") == 0
    assert fingerprint(tmp_path / "run")["model.safetensors"] == whole["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "expected", "message"),
    [
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            TrainingError,
            r"step 6: \d+ utterances x \d+ frames do not fit into the memory of cpu \(train-\d+, .*\)\. What was "
            r"learnt until step 5 is saved; rerun with a higher train\.accumulation \(it is 1\) to go on",
        ),
        (RuntimeError("another fault"), RuntimeError, "another fault"),
    ],
)
def test_a_fault_in_a_later_step_loses_nothing(
    tone_config: Path, tmp_path: Path, fault: Exception, expected: type[Exception], message: str
) -> None:
    compute = asr.training.loop.compute_gradients

    def sometimes_fail(training, step):
        if training.progress.step == 5:
            raise fault
        return compute(training, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asr.training.loop, "compute_gradients", sometimes_fail)
        with pytest.raises(expected, match=message):
            run(tone_config, tmp_path / "run")
    assert progress(tmp_path / "run")["step"] == 5
    assert run(tone_config, tmp_path / "run", "train.accumulation=2") == 0


def test_only_a_second_thought_ends_it_at_once() -> None:
    interruption = Interruption(DataWorkers(), may_leave=True)
    interruption._ask(signal.SIGINT, None)
    interruption._ask(signal.SIGINT, None)  # `timeout` and torchrun send it twice
    interruption._asked_at -= 2.0
    interruption._ask(signal.SIGTERM, None)
    assert interruption.signal == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        interruption._ask(signal.SIGINT, None)
    with pytest.raises(Interrupted), interruption.giving_up():
        pytest.fail("there was a reason not to begin")
    shared = Interruption(DataWorkers(), may_leave=False)
    shared._ask(signal.SIGTERM, None)
    with shared.giving_up():
        assert shared.is_due


class Deadly(torch.utils.data.Dataset):
    """Data that end the process that reads them."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        if index == 1:
            self.end()
        return index


def wait_for_all(batches: Iterator[int], interruption: Interruption) -> None:
    is_there = True
    while is_there:
        with interruption.giving_up():
            is_there = next(batches, None) is not None


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"data worker \d+ was killed by SIGKILL"),
        (lambda: os._exit(3), r"data worker \d+ ended with exit code 3"),
    ],
)
def test_a_dead_worker_is_noticed(end: Callable[[], None], message: str) -> None:
    workers, began = DataWorkers(), time.monotonic()
    with pytest.raises(WorkerDied, match=message), workers.reading(open_loader(Deadly(end), num_workers=1)) as batches:
        list(batches)
    assert time.monotonic() - began < 10
    interruption = Interruption(workers, may_leave=True)
    with interruption.answering(), workers.reading(open_loader(Deadly(end), num_workers=1)) as batches:
        with pytest.raises(Interrupted):
            wait_for_all(batches, interruption)
        assert interruption.dead_worker
    assert workers.find_dead() is None


def test_workers_are_gone_however_busy_they_are() -> None:
    began = time.monotonic()
    loader = open_loader(Deadly(lambda: time.sleep(60)), num_workers=1)
    with DataWorkers().reading(loader) as batches:
        assert next(batches) == 0
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_stops_at_random_moments() -> None:
    """The short form of tests/programs/stop_trial.py."""
    import tempfile

    for number, kills_worker in ((3, False), (1, True)):
        with tempfile.TemporaryDirectory() as folder:
            stops = run_trials(Path(folder), trials=number, kills_worker=kills_worker)
        assert not [stop for stop in stops if stop.faults]


@pytest.mark.slow
def test_a_storm_of_signals_does_not_touch_the_heap(tmp_path: Path) -> None:
    """The short form of tests/programs/signal_storm.py; without the stack, trainings die of it within seconds."""
    assert storm_training(tmp_path, seconds=20.0, with_stack=True) is None
    assert storm_jobs(tmp_path, seconds=0.1, with_stack=True) is None


def test_a_thread_has_a_signal_stack_and_its_children_too() -> None:
    program = (
        "import threading, os; from asr.process.signals import *; print(signal_stack_size())\n"
        "use_signal_stack(); use_signal_stack(); print(signal_stack_size(), flush=True)\n"
        "thread = threading.Thread(target=lambda: print(signal_stack_size())); thread.start(); thread.join()\n"
        "if os.fork() == 0: print(signal_stack_size(), flush=True); os._exit(0)\n"
        "os.wait()"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert list(map(int, said.stdout.split())) == [0, SIGNAL_STACK_BYTES, 0, SIGNAL_STACK_BYTES]


def test_blocked_signals_come_after_the_block() -> None:
    came = []
    before = signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
    try:
        with signals_blocked():
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # to this thread: another has none blocked
            assert not came
        assert came
    finally:
        signal.signal(signal.SIGUSR1, before)
    use_signal_stack()
    assert signal_stack_size() >= SIGNAL_STACK_BYTES
