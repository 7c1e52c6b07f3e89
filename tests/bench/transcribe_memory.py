"""Whether a job's memory stays flat over a hundred thousand recordings: links to a few, through the whole program.

    python -m tests.bench.transcribe_memory --recordings 100000

The model is a tiny untrained one: what grows with the number of recordings is the job's, not the model's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.support.small_run import write_recordings, write_small_run

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_of(pid: int) -> float:
    """Resident megabytes of a process and of those that it started."""
    found = 0
    for path in [Path(f"/proc/{pid}")]:
        try:
            children = Path(path, "task", str(pid), "children").read_text().split()
            threads = [each for each in Path(path, "task").iterdir() if each.name != str(pid)]
            for thread in threads:
                children += (thread / "children").read_text().split()
            found += int((path / "statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0.0
        found += sum(int(memory_of(int(child)) * 2**20) for child in children)
    return found / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=100_000, help="(default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = write_small_run(folder / "run").path
        sources = write_recordings(folder / "sources", np.linspace(0.2, 0.6, 40).tolist())
        for number in range(options.recordings):
            place = folder / "audio" / f"{number // 1000:03d}" / f"{number:06d}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(sources[number % len(sources)])
        command = [sys.executable, "-m", "asr.transcribe", str(run), str(folder / "audio")]
        command += ["--output-dir", str(folder / "out"), "--format", "jsonl", "--num-workers", "1"]
        watch(command, folder / "out" / ".transcribe" / "journal.jsonl", step=options.recordings // 10)


def watch(command: list[str], journal: Path, *, step: int) -> None:
    """Run a job, and print its memory each time that it has done so many recordings more."""
    start, done, place, most = time.perf_counter(), 0, 0, 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.5)
        most = max(most, memory_of(process.pid))
        if not journal.exists():
            continue
        with journal.open("rb") as file:
            file.seek(place)
            content = file.read()
        before, done, place = done, done + content.count(b"\n"), place + len(content)
        if done // step > before // step:
            print(f"{done:>9,} recordings: {memory_of(process.pid):6.0f} MB, at most {most:6.0f} MB so far", flush=True)
    print(
        f"{done:>9,} recordings, exit code {process.returncode}, {time.perf_counter() - start:.0f} s, "
        f"at most {most:.0f} MB"
    )


if __name__ == "__main__":
    main()
