"""Ask a training to stop at random moments, or kill one of its data workers, again and again, until it has ended.

    python -m tests.programs.stop_trial --trials 100
    python -m tests.programs.stop_trial --trials 20 --kill-worker

Each time it must be gone within 5 seconds (10 after a worker's death) with all of its processes, and have saved every
step it had made; and in the end the run must be what one is that was never stopped, bit by bit. The signal goes to
all processes of the job, as Slurm, systemd, `timeout` and a terminal send it, or to the main process alone, in turns.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.programs.kill_trial import fingerprint
from tests.support.tones import write_config, write_tone_corpus

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_STOP = 5.0
SECONDS_TO_MISS_A_WORKER = 10.0
STOPS_A_RUN = 10
SHARE_AMID_STEPS = 0.8  # of the stops; the others come while a call starts its workers and makes its first step
EPOCHS = 60


@dataclass(frozen=True)
class Stop:
    """How one stop went."""

    where: str  # what was going on, as far as what is left says it
    seconds: float
    faults: tuple[str, ...]


def start(config: Path, run_dir: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "asr.train", str(config), f"run_dir={run_dir}", *overrides]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(session: int) -> list[int]:
    """All processes of a session that are not dead, its leader first."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(state[3]) == session and state[0] not in "ZX":
            found.append(int(path.name))
    return sorted(found, key=lambda number: (number != session, number))


def newest_checkpoint(run_dir: Path) -> dict:
    """The progress that a run would go on from; all zeros where there is none."""
    newest = max((run_dir / "checkpoints").glob("step-*"), default=None)
    if newest is None:
        return {"step": 0, "epoch": 0, "position": 0}
    try:
        return json.loads((newest / "state.json").read_text())["state"]["progress"]
    except FileNotFoundError:  # a newer one has taken its place meanwhile
        return newest_checkpoint(run_dir)


def last_logged(run_dir: Path) -> int:
    """The last step of the log."""
    path = run_dir / "metrics.jsonl"
    lines = [line for line in path.read_text().splitlines() if line] if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def wait_until_ready(process: subprocess.Popen[str]) -> bool:
    """Until it has printed its plan, which it does right before the first worker; False where it ended before."""
    assert process.stdout is not None
    return any(line.startswith(("worst batch", "resuming")) for line in iter(process.stdout.readline, ""))


def stop_once(config: Path, run_dir: Path, dice: random.Random, *, kills_worker: bool, whole_job: bool) -> Stop | None:
    """One call of the training, stopped after a random time; None where it ended before."""
    before = newest_checkpoint(run_dir)
    process = start(config, run_dir, *OVERRIDES)
    wait_until_ready(process)
    output, most = "", 0.5
    if dice.random() < SHARE_AMID_STEPS:
        while newest_checkpoint(run_dir) == before and process.poll() is None:
            time.sleep(0.01)
        most = 2.0
    with contextlib.suppress(subprocess.TimeoutExpired):
        output = process.communicate(timeout=most * dice.random())[0]
    if process.poll() is not None:
        return None
    members = processes_of(process.pid)
    if kills_worker:
        while len(members) < 2 and process.poll() is None:
            members = processes_of(process.pid)
        if process.poll() is not None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(members[1:]), signal.SIGKILL)
    elif whole_job:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    began, last_step = time.monotonic(), newest_checkpoint(run_dir)["step"]
    allowed = SECONDS_TO_MISS_A_WORKER if kills_worker else SECONDS_TO_STOP
    try:
        output += process.communicate(timeout=allowed + 60)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output += process.communicate()[0]
    went_on = newest_checkpoint(run_dir)["step"] - last_step > 3 * STEPS_AN_EPOCH  # more than workers read ahead
    if kills_worker and (process.returncode == 0 or went_on):
        return None  # the one that was killed had done its work: dev's end with each score
    while processes_of(process.pid) and time.monotonic() - began < allowed + 60:
        time.sleep(0.01)
    seconds = time.monotonic() - began
    code = 2 if kills_worker else 128 + signal.SIGTERM
    return Stop(_where(before, newest_checkpoint(run_dir), config), seconds, _faults(
        run_dir, output, code=(process.returncode, code), seconds=(seconds, allowed)
    ))  # fmt: skip


def _faults(run_dir: Path, output: str, *, code: tuple[int, int], seconds: tuple[float, float]) -> tuple[str, ...]:
    """What was not as it must be; pairs are of what was found, and of what is right or allowed."""
    saved, faults = newest_checkpoint(run_dir), []
    if code[0] != code[1]:
        faults.append(f"exit code {code[0]}; expected {code[1]}: {output[-600:]}")
    if seconds[0] > seconds[1]:
        faults.append(f"{seconds[0]:.1f} s; expected at most {seconds[1]:g}")
    said = re.search(r"stopped (?:by signal \d+ )?at step (\d+)", output)
    if said is None or int(said.group(1)) != saved["step"]:
        faults.append(f"step {saved['step']} is saved; it says {said and said.group(0)}: {output[-600:]}")
    if last_logged(run_dir) > saved["step"]:
        faults.append(f"step {saved['step']} is saved, step {last_logged(run_dir)} is in the log")
    return tuple(faults)


def _where(before: dict, saved: dict, config: Path) -> str:
    if saved["step"] == before["step"]:
        return "before the first step of a call"
    if not saved["position"]:
        return "at an epoch's end, scored"
    return "at an epoch's end, amid its score" if saved["position"] == STEPS_AN_EPOCH else "amid an epoch"


STEPS_AN_EPOCH = 6
OVERRIDES = (
    "data.num_workers=2",
    f"train.max_epochs={EPOCHS}",
    "train.checkpoint_every_steps=2",
    "train.ema_decay=0.9",
)


def run_trials(folder: Path, *, trials: int, kills_worker: bool = False, seed: int = 0) -> list[Stop]:
    """So many stops, over as many runs as they take; prints each, and a fault for a run that ends otherwise."""
    config = write_config(folder / "tones.yaml", write_tone_corpus(folder / "corpus", num_dev=60))
    run_dir, dice = folder / "run", random.Random(seed)
    whole = start(config, run_dir, *OVERRIDES)
    output = whole.communicate()[0]
    assert whole.returncode == 0, output
    expected = fingerprint(run_dir)
    shutil.move(run_dir, folder / "never_stopped")
    stops: list[Stop] = []
    while len(stops) < trials:
        stop = stop_once(config, run_dir, dice, kills_worker=kills_worker, whole_job=len(stops) % 2 == 0)
        if stop is not None:
            stops.append(stop)
            print(
                f"{len(stops)}: {stop.where}: {stop.seconds:.1f} s{''.join('; ' + each for each in stop.faults)}",
                flush=True,
            )
        if stop is None or len(stops) % STOPS_A_RUN == 0 or len(stops) == trials:
            last = start(config, run_dir, *OVERRIDES)
            output = last.communicate()[0]
            found = fingerprint(run_dir) if last.returncode == 0 else {}
            different = [name for name in expected if found.get(name) != expected[name]]
            print(f"the run is {'DIFFERENT: ' + ', '.join(different) if different else 'bit-identical'}", flush=True)
            if different:
                stops.append(Stop("the whole run", 0.0, (f"different: {different}: {output[-600:]}",)))
            shutil.rmtree(run_dir)
    return stops


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kill-worker", action="store_true", help="SIGKILL to one data worker in the place of a signal"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stops = run_trials(Path(folder), trials=options.trials, kills_worker=options.kill_worker, seed=options.seed)
    good = [stop for stop in stops if not stop.faults]
    slowest = max(stop.seconds for stop in stops)
    print(f"{len(good)} of {len(stops)} stopped as they must, the slowest in {slowest:.1f} s")
    for where, number in Counter(stop.where for stop in stops).most_common():
        print(f"  {number:3} {where}")
    return 0 if len(good) == len(stops) else 1


if __name__ == "__main__":
    sys.exit(main())
