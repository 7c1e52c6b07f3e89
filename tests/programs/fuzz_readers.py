"""Damaged files by the thousand through every reader: each is read, or refused by an error that names it.

    python -m tests.programs.fuzz_readers --inputs 200000
    python -m tests.programs.fuzz_readers --first 120000 --inputs 80000   # goes on
    python -m tests.programs.fuzz_readers --first 4711 --inputs 1 --keep /tmp/faults

Input n of a seed is always the same files. They are read in child processes, which may take a gibibyte of memory and
ten seconds of processor time an input. A fault is a traceback (anything but a ValueError or an OSError), an error that
does not name its file, an input that takes longer or more, and a process that dies.
"""

import argparse
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.programs.damage import damage, damage_tensors, soup
from tests.support.strangers_files import Files, Reader, all_readers

MEMORY = 1 << 30  # bytes, beside what the libraries take
SECONDS = 10  # of processor time an input
PATIENCE = 300  # seconds of waiting for a child that others may keep from computing
PER_CHILD = 5000  # inputs
SHARES = {"run": 1, "autoencoder": 1, "config": 2, "checkpoint": 1, "shards": 1}  # others have 4 turns: these are slow
CHECKSUM_KEPT = 0.15  # share of inputs whose checksums are left as they were
KEPT_FOR_DISPLAY = 40


class TookTooLong(BaseException):
    """An input took all the processor time that it may."""


@dataclass
class Fuzzed:
    """What became of some inputs."""

    num_inputs: int = 0
    results: Counter[str] = field(default_factory=Counter)  # reader and what came of it
    faults: dict[str, list[int]] = field(default_factory=dict)  # what happened -> inputs

    def add(self, number: int, outcome: str) -> None:
        self.num_inputs += 1
        name, _, result = outcome.partition("\t")
        if result.startswith("FAULT"):
            self.faults.setdefault(f"{name}: {result}", []).append(number)
            result = "FAULT"
        self.results[f"{name}\t{result}"] += 1


def turns() -> list[str]:
    """The names of the readers in the order in which they have their turns."""
    return [name for turn in range(4) for name in NAMES if turn < SHARES.get(name, 4)]


NAMES = [
    *("config", "comparison", "job", "decoding", "grammar", "jsgf", "rhino", "phrases", "lists", "manifest", "nemo"),
    *("kaldi", "table", "arpa", "arpa.gz", "tokenizer", "sentencepiece", "run", "calibrations", "checkpoint", "priors"),
    *("statistics", "autoencoder", "shards", "journal"),
]


def damaged(reader: Reader, number: int, *, seed: int) -> Files:
    """Input `number`: a whole set of files with one of them damaged, now and then two."""
    generator = np.random.default_rng((seed, number))
    files = dict(reader.sources[generator.integers(len(reader.sources))])
    others = [content for source in reader.sources for content in source.values()]
    for _ in range(1 + int(generator.random() < 0.1)):
        name = list(files)[generator.integers(len(files))]
        if name.endswith(".safetensors"):
            files[name] = damage_tensors(files[name], generator)
        elif generator.random() < 0.08:
            files[name] = soup(others, generator)
        else:
            files[name] = damage(files[name], others, generator)
    if reader.repair is not None and generator.random() > CHECKSUM_KEPT:
        reader.repair(files)
    return files


def write_files(files: Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def outcome_of(reader: Reader, folder: Path) -> str:
    """`read`, the class of a refusal, or FAULT with what is wrong."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        reader.read(folder)
    except (ValueError, OSError) as error:
        if any(name in str(error) for name in (str(folder), *(path.name for path in folder.iterdir()))):
            return type(error).__name__
        return f"FAULT no name in {_place(error)}"
    except TookTooLong as error:
        return f"FAULT took {SECONDS} s, {_place(error)}"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        return f"FAULT {_place(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read"


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in frame.filename]
    ours = [frame for frame in frames if "/asr/" in frame.filename or "/data_prep/" in frame.filename] or frames
    at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(error).__name__} at {at}: {str(error)[:100]!a}"


def read_in_this_process(first: int, num_inputs: int, *, seed: int, names: list[str], keep: Path | None) -> None:
    """The child: a line before the first input, and one after each."""
    readers = all_readers()
    _limit_memory()
    signal.signal(signal.SIGPROF, _give_up)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    print("ready", flush=True)
    try:
        for number in range(first, first + num_inputs):
            name = names[number % len(names)]
            folder = place / "input"
            write_files(damaged(readers[name], number, seed=seed), folder)
            outcome = outcome_of(readers[name], folder)
            if keep is not None and outcome.startswith("FAULT"):
                shutil.copytree(folder, keep / str(number), dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            print(number, name, outcome, sep="\t", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _give_up(signum: int, frame: object) -> None:
    raise TookTooLong


def fuzz(first: int, num_inputs: int, *, seed: int, names: list[str], keep: Path | None = None) -> Fuzzed:
    """Reads so many inputs in one child process after the other."""
    result, end, number = Fuzzed(), first + num_inputs, first
    while number < end:
        number = _run_child(result, number, min(PER_CHILD, end - number), seed=seed, names=names, keep=keep)
        if number < end:
            print(f"{number - first:,} of {num_inputs:,}, {len(result.faults)} kinds of faults", flush=True)
    return result


def _run_child(result: Fuzzed, first: int, num_inputs: int, *, seed: int, names: list[str], keep: Path | None) -> int:
    """Returns the number of the next input; one in which the child died is passed over."""
    command = [
        sys.executable,
        "-m",
        "tests.programs.fuzz_readers",
        "--child",
        "--first",
        str(first),
        "--seed",
        str(seed),
    ]
    command += ["--inputs", str(num_inputs), "--only", *names, *(["--keep", str(keep)] if keep else [])]
    number, reason = first, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(child.stdout, selectors.EVENT_READ)
            while number < first + num_inputs:
                if not waiting.select(PATIENCE):
                    reason = f"no answer for {PATIENCE} s"
                    break
                if not (line := child.stdout.readline()):
                    reason = "the process died"
                    break
                answer = line.rstrip("\n").split("\t", 1)
                if answer[0] == str(number):
                    result.add(number, answer[1])
                    number += 1
        if reason:
            child.kill()
            said = child.stderr.read()[-200:].splitlines()[-1:]
            result.add(number, f"{names[number % len(names)]}\tFAULT {reason} ({child.wait()}): {said}")
            number += 1
    return number


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=turns(), help="these readers in turn")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the inputs that made faults")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        read_in_this_process(options.first, options.inputs, seed=options.seed, names=options.only, keep=options.keep)
        return 0
    result = fuzz(options.first, options.inputs, seed=options.seed, names=options.only, keep=options.keep)
    for name, count in sorted(result.results.items()):
        print(f"{count:8,}  {name}")
    for fault, numbers in list(result.faults.items())[:KEPT_FOR_DISPLAY]:
        print(f"{fault}  (input {numbers[0]}; {len(numbers):,} in all)")
    print(f"{result.num_inputs:,} inputs, {sum(map(len, result.faults.values())):,} faults")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
