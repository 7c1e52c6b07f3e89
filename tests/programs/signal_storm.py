"""Thousands of signals a second, over a training and over jobs of transcribing: do they end as they must?

    python -m tests.programs.signal_storm --seconds 600
    python -m tests.programs.signal_storm --seconds 60 --without-stack      what it is good for: this dies

Half of the time goes to each. Both compute in fp32, in which oneDNN's small products have their stack pointer in the
heap.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVERY_SECONDS = 0.0003

# A program of ours with a timer of an application's own, whose handler does nothing. From outside comes SIGCHLD, which
# a training answers, as it must to learn of a data worker's end.
STORMY = f"""
import signal, sys
program, with_stack = sys.argv[1], sys.argv.pop(2) == "with"
del sys.argv[1]
count = [0]
def handler(*_): count[0] += 1
signal.signal(signal.SIGALRM, handler)
import importlib, asr.process.runtime
main = importlib.import_module(program).main
if not with_stack:
    import asr.process.signals, asr.transcription.worker
    for module in (asr.process.signals, asr.process.runtime, asr.transcription.worker):
        module.use_signal_stack = lambda: None
signal.setitimer(signal.ITIMER_REAL, {EVERY_SECONDS}, {EVERY_SECONDS})
try:
    asr.process.runtime.run_program(main)
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)  # Python takes its handlers back at its end, and SIGALRM would kill it
"""


def start(program: str, *arguments: object, with_stack: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STORMY, program, "with" if with_stack else "without", *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def storm(process: subprocess.Popen[str], *, seconds: float) -> bool:
    """SIGCHLD, again and again; whether the process still lives after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        process.send_signal(signal.SIGCHLD)
        time.sleep(EVERY_SECONDS)
    return process.poll() is None


def storm_training(folder: Path, *, seconds: float, with_stack: bool) -> str | None:
    """What went wrong, or None: it goes on for so long, and then stops when asked."""
    from tests.support.tones import write_config, write_tone_corpus

    config = write_config(folder / "tones.yaml", write_tone_corpus(folder / "corpus"))
    overrides = (f"run_dir={folder / 'run'}", "train.max_epochs=1000000", "data.num_workers=1", "augment=[]")
    process = start("asr.train", config, *overrides, with_stack=with_stack)
    if storm(process, seconds=seconds):
        process.terminate()
    output, _ = process.communicate()
    return (
        None if process.returncode == 128 + signal.SIGTERM else f"the training: {process.returncode}\n{output[-500:]}"
    )


def storm_jobs(folder: Path, *, seconds: float, with_stack: bool) -> str | None:
    """What went wrong, or None: one job after the other does all of its work."""
    from tests.support.small_run import write_recordings, write_small_run

    run = write_small_run(folder / "small").path
    write_recordings(folder / "audio", [3.0] * 200)
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        paths = (run, folder / "audio", "--output-dir", folder / f"out{number}", "--precision", "fp32")
        process = start("asr.transcribe", *paths, "--num-workers", 1, "--batch-size", 4, with_stack=with_stack)
        storm(process, seconds=3600.0)
        output, _ = process.communicate()
        if process.returncode:
            return f"job {number}: {process.returncode}\n{output[-500:]}"
    print(f"{number} jobs ended well", flush=True)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument(
        "--without-stack", action="store_true", help="handle signals where they arrive, in the heap too"
    )
    options = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for one in (storm_training, storm_jobs):
            fault = one(Path(folder), seconds=options.seconds / 2, with_stack=not options.without_stack)
            print(f"{one.__name__}: {fault or 'survived'}", flush=True)
            faults.append(fault)
    return 1 if any(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
