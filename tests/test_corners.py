"""Programs in the surroundings that users have: no locale, no home, no network, odd paths, another system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tones import write_config, write_split, write_tone_corpus
from tests.test_architecture import modules

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"  # nobody listens there


def surroundings(home: str | None) -> dict[str, str]:
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C"}
    return kept | {"http_proxy": NOWHERE, "https_proxy": NOWHERE} | ({"HOME": home} if home else {})


def earshot(program: str, *arguments: object, home: str | None) -> str:
    command = [sys.executable, "-m", program, *map(str, arguments)]
    ended = subprocess.run(command, env=surroundings(home), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/proc"])  # none, and one that nobody can write to
def test_no_locale_no_home_no_network_and_paths_of_any_letters(tmp_path: Path, home: str | None) -> None:
    place = tmp_path / "my café runs"
    place.mkdir()
    config = write_config(place / "tones.yaml", write_tone_corpus(place / "the corpus", num_train=12, num_dev=3))
    trackers = "tracking.trackers=[console,jsonl,wandb]"
    earshot("asr.train", config, f"run_dir={place / 'run'}", "train.max_epochs=1", trackers, home=home)
    write_split(place / "audio", "test", 2, seed=3)
    odd = os.fsdecode(os.fsencode(place / "audio") + b"/\xff odd \n name.wav")
    (place / "audio" / "test" / "test-000.wav").rename(odd)
    said = earshot("asr.transcribe", place / "run", place / "audio", "--output-dir", place / "out", home=home)
    assert "2 of 2 recordings transcribed" in said
    lines = (place / "out" / "transcripts.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["error"] for line in lines] == [None, None]


WITHOUT = """
import importlib, os, signal, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # to import it raises ImportError
for name in ("SIGCHLD", "SIGALRM", "SIGPROF", "SIGHUP", "SIGUSR1", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in ("sched_getaffinity", "sysconf_names"):
    delattr(os, name)
import filelock
for name in sys.argv[1:]:
    importlib.import_module(name)
from asr.audio.worker import limit_memory, limit_time
from asr.files.replacing import HeldLock
from asr.training.interruption import Interruption
from asr.training.memory import MemoryPlan, _peak_resident_bytes
from asr.data.workers import DataWorkers, open_loader
from asr.process.runtime import count_cores
from asr.process.signals import ignore_signals_to_stop
limit_memory(1), limit_time(1.0), ignore_signals_to_stop()
assert count_cores() >= 1 and _peak_resident_bytes() is None
assert str(MemoryPlan("1 utterance x 2 frames", None)).endswith("peak memory unknown")
workers = DataWorkers()
with Interruption(workers, may_leave=True).answering(), workers.reading(open_loader([1, 2], num_workers=0)) as batches:
    assert list(batches) == [1, 2]
print("all of it")
"""


def test_everything_imports_without_what_only_unix_has() -> None:
    """Linux stands in for macOS and Windows, as far as it can."""
    names = sorted(name for folder in ("asr", "data_prep") for name in modules(folder) if "__main__" not in name)
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.endswith("all of it\n"), ended.stderr
