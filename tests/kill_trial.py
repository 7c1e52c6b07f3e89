"""Kill a training at random moments until it ends, and compare what is left with a run that was never killed.

python -m tests.kill_trial --trials 20 --kills 3
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

from asr.checkpoint import file_digest
from tests.tones import write_config, write_tone_corpus

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


def run_trial(config: Path, run_dir: Path, *, kills: int, seconds: float, dice: random.Random) -> int:
    """One training, killed up to `kills` times at random moments of a run of `seconds`; how often it really was."""
    killed = 0
    while killed < kills:
        process = start(config, run_dir)
        try:
            # Half of the trials' kills fall into the start-up otherwise; it is the training that matters.
            process.wait(timeout=dice.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        finish(process)
        break
    finish(start(config, run_dir))
    return killed


def run_trials(folder: Path, *, trials: int, kills: int, overrides: str = "") -> list[bool]:
    """Whether each trial ended bit-identical to the run that was never killed."""
    config = write_config(folder / "tones.yaml", write_tone_corpus(folder / "corpus"))
    config.write_text(config.read_text() + overrides)
    reference, same = folder / "same", []
    before = time.monotonic()
    finish(start(config, reference))
    seconds = time.monotonic() - before
    expected = fingerprint(reference)
    shutil.move(reference, folder / "never_killed")
    for trial in range(trials):
        # The same folder name each time: it stands in the model card.
        killed = run_trial(config, reference, kills=kills, seconds=seconds, dice=random.Random(trial))
        found = fingerprint(reference)
        same.append(found == expected)
        different = [name for name in expected if found[name] != expected[name]]
        print(
            f"trial {trial + 1}: {killed} kills, {'identical' if same[-1] else f'DIFFERENT: {different}'}", flush=True
        )
        shutil.rmtree(reference)
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        same = run_trials(Path(folder), trials=options.trials, kills=options.kills)
    print(f"{sum(same)} of {len(same)} trials ended bit-identical to the run that was never killed")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
