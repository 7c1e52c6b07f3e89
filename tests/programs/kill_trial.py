"""Kill a training at random moments until it ends, and compare what is left with a run that was never killed.

python -m tests.programs.kill_trial --trials 20 --kills 3
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asr.files.digest import file_digest
from tests.support.tones import write_config, write_tone_corpus

COMPARED = ("model.safetensors", "metrics.jsonl", "dropped.jsonl", "README.md")


def start(config: Path, run_dir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "asr.train", str(config), f"run_dir={run_dir}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the training ended with exit code {process.returncode}:\n{output}")


def fingerprint(run_dir: Path) -> dict[str, str]:
    """SHA-256 of the final weights, the log, the card, and the last checkpoint with its optimizer state."""
    last = max((run_dir / "checkpoints").glob("step-*"))
    files = [run_dir / name for name in COMPARED] + [last / "state.safetensors", last / "state.json"]
    return {f"{path.relative_to(run_dir)}": file_digest(path) for path in files}


def run_trial(config: Path, run_dir: Path, *, delays: list[float]) -> int:
    """One training, killed after each of these delays in turn, then run to its end; how often it really was killed."""
    killed = 0
    for delay in delays:
        process = start(config, run_dir)
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    finish(start(config, run_dir))
    return killed


def draw_delays(dice: random.Random, kills: int, *, start_up: float, total: float) -> list[float]:
    """Moments from late in the start-up to a share of the training that leaves the others something to kill."""
    return [dice.uniform(0.8 * start_up, start_up + (total - start_up) / (kills + 1)) for _ in range(kills)]


def measure_run(config: Path, run_dir: Path) -> tuple[float, float]:
    """Seconds until a training logs its first step, and until it ends."""
    before = time.monotonic()
    process = start(config, run_dir)
    log = run_dir / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    start_up = time.monotonic() - before
    finish(process)
    return start_up, time.monotonic() - before


def run_trials(folder: Path, *, trials: int, kills: int, epochs: int) -> list[bool]:
    """Whether each trial ended bit-identical to the run that was never killed."""
    config = write_config(folder / "tones.yaml", write_tone_corpus(folder / "corpus"))
    config.write_text(config.read_text().replace("max_epochs: 3", f"max_epochs: {epochs}"))
    reference, same = folder / "same", []
    start_up, total = measure_run(config, reference)
    expected = fingerprint(reference)
    shutil.move(reference, folder / "never_killed")
    for trial in range(trials):
        # The same folder name each time: it stands in the model card.
        delays = draw_delays(random.Random(trial), kills, start_up=start_up, total=total)
        killed = run_trial(config, reference, delays=delays)
        found = fingerprint(reference)
        same.append(found == expected)
        different = [name for name in expected if found[name] != expected[name]]
        outcome = "identical" if same[-1] else f"DIFFERENT: {different}"
        print(f"trial {trial + 1}: {killed} kills, {outcome}", flush=True)
        shutil.rmtree(reference)
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        same = run_trials(Path(folder), trials=options.trials, kills=options.kills, epochs=40)
    print(f"{sum(same)} of {len(same)} trials ended bit-identical to the run that was never killed")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
