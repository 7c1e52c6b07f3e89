"""What a job of transcribing takes on one core: beside the bare model, in fewer bits, and beside pocketsphinx.

    python -m tests.bench.transcribe RUN RECORDINGS [--commands GRAMMAR.yaml --pocketsphinx 40]

RECORDINGS is what asr.transcribe takes: a folder, or a manifest, whose intents and slots (or texts) are then scored.
Everything is processor time, of all processes of a job together, on one core; what is compared is measured in turns.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from rich.console import Console
from rich.table import Table

from asr.audio.reading import read_audio, read_info
from asr.metrics import count_word_errors, total
from asr.recognizer import Recognizer
from asr.transcription.inputs import find_inputs

MODEL = "the model, alone"


@dataclass
class Row:
    """One way to transcribe all recordings, or some of them."""

    name: str
    audio_seconds: float
    cpu_seconds: list[float] = field(default_factory=list)  # of each round
    start_seconds: list[float] = field(default_factory=list)  # of each round, of a job of one recording
    right: str = ""

    @property
    def seconds(self) -> float:
        """The fastest round, without the start of the program."""
        return min(self.cpu_seconds) - min(self.start_seconds, default=0.0)

    @property
    def rtf(self) -> float:
        return self.seconds / self.audio_seconds

    def add(self, console: Console, cpu: float, start: float | None = None) -> None:
        """One round, shown at once: all of them take minutes."""
        self.cpu_seconds.append(cpu)
        self.start_seconds += [] if start is None else [start]
        console.print(f"  {self.name}: {cpu:.2f} s" + ("" if start is None else f", {start:.2f} s of them its start"))


def cpu_of(command: list[str]) -> tuple[float, float, int]:
    """Processor time of a command and of all its processes, wall time, exit code."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall, done.returncode


@dataclass(frozen=True)
class Job:
    """A job on one core, with one worker and one process that decodes."""

    run: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = ()

    def seconds(self) -> tuple[float, float, list[dict]]:
        """Processor time of all recordings and of one, which is taken for the start-up; the lines written."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "all.jsonl")
            whole, _, _ = cpu_of(self.command(self.paths, output))
            lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
            first = next(line for line in lines if line["error"] is None)["audio_filepath"]
            start, _, _ = cpu_of(self.command((first,), Path(folder, "one.jsonl")))
        return whole, start, lines

    def command(self, paths: tuple[str, ...], output: Path) -> list[str]:
        own = ["--output", str(output), "--num-workers", "1", "--set", "num_decoders=1", "--device", "cpu"]
        return [sys.executable, "-m", "asr.transcribe", self.run, *paths, *own, *self.options]


def bare_parts(run: str, paths: list[str], *, batch_size: int, batch_seconds: float) -> Callable[[], dict[str, float]]:
    """Measures what no job can do without, each alone: decoding, log-mels, and log-probabilities in a job's batches."""
    recognizer = Recognizer.load(run)
    rate = recognizer.feature_config.sample_rate

    @torch.inference_mode()
    def measure() -> dict[str, float]:
        start = time.thread_time()
        samples = [read_audio(path, sample_rate=rate) for path in paths]
        decoded = time.thread_time()
        features = [recognizer.features(each, sample_rate=rate) for each in samples]
        seen, forward = time.thread_time(), 0.0
        features.sort(key=len, reverse=True)
        while features:
            seconds = len(features[0]) * recognizer.feature_config.hop_ms / 1000
            size = max(1, min(batch_size, int(batch_seconds / seconds)))
            batch, features = features[:size], features[size:]
            lengths = torch.tensor([len(frames) for frames in batch])
            padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
            begin = time.thread_time()
            encodings, _ = recognizer.model.encode(padded, lengths)
            recognizer.model.heads[0](encodings)
            forward += time.thread_time() - begin
        return {"decoding audio, alone": decoded - start, "log-mels, alone": seen - decoded, MODEL: forward}

    return measure


def pocketsphinx(grammar: Path, paths: list[str], *, bestpath: bool, dictionary: Path | None) -> Callable[[], float]:
    """Measures pocketsphinx with the same grammar, on these recordings."""
    from tests.bench.pocketsphinx_commands import hear, load_decoder

    decoder = load_decoder(grammar, dictionary=dictionary, bestpath=bestpath)
    initial_mean = decoder.get_cmn(False)

    def measure() -> float:
        seconds = 0.0
        for path in paths:
            decoder.set_cmn(initial_mean)
            seconds += hear(decoder, path, offset=0.0, duration=read_info(path).duration)["cpu_seconds"]
        return seconds

    return measure


def what_is_right(lines: list[dict]) -> str:
    """By the labels that the manifest's lines carry, if any."""
    if all("intent" in line for line in lines) and any(line.get("command") for line in lines):
        accepted = sum(
            line["command"]["understood"]
            and line["command"]["intent"] == line["intent"]
            and line["slots"].items() <= line["command"]["slots"].items()
            for line in lines
            if line.get("command")
        )
        return f"{accepted} of {len(lines)} commands"
    if all(line.get("text") for line in lines):
        counts = count_word_errors([line["text"] for line in lines], [line.get("pred_text", "") for line in lines])
        return f"WER {100 * total(counts).rate:.2f} %"
    return ""


def start_up(run: str, path: str, *, times: int) -> tuple[list[float], list[float]]:
    """Processor and wall time from the command to its end, for one recording."""
    with tempfile.TemporaryDirectory() as folder:
        command = Job(run, ()).command((path,), Path(folder, "one.jsonl"))
        found = [cpu_of(command)[:2] for _ in range(times)]
    return [cpu for cpu, _ in found], [wall for _, wall in found]


def show(rows: list[Row], console: Console) -> None:
    table = Table("what", "audio, s", "processor, s", "real-time factor", "times real time", "right", box=None)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.audio_seconds:,.0f}",
            f"{row.seconds:.2f}",
            f"{row.rtf:.5f}",
            f"{1 / row.rtf:,.0f}",
            row.right,
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("recordings", nargs="+", help="folders, files, or a manifest")
    parser.add_argument("--commands", type=Path, help="a grammar")
    parser.add_argument("--decoding", help="in the place of the run's own, as asr.transcribe has it")
    parser.add_argument("--pocketsphinx", type=int, default=0, help="so many of the recordings, by pocketsphinx too")
    parser.add_argument("--dictionary", type=Path, help="words for pocketsphinx, as pocketsphinx_commands has it")
    parser.add_argument("--parts", action="store_true", help="only what a job consists of, each part alone")
    parser.add_argument("--rounds", type=int, default=2, help="of which the fastest counts (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="of the program, for one recording")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    console = Console(width=140)
    recordings = [recording.stretch.path for recording in find_inputs(options.recordings)]
    grammar = ("--commands", str(options.commands)) if options.commands else ()
    paths, decoding = tuple(options.recordings), (("--decoding", options.decoding) if options.decoding else ())
    audio = sum(read_info(path).duration for path in recordings)
    parts = bare_parts(options.run, recordings, batch_size=32, batch_seconds=120.0)
    part_rows = {name: Row(name, audio) for name in ("decoding audio, alone", "log-mels, alone", MODEL)}
    jobs = {"a job": (), "a job, bf16": ("--precision", "bf16"), "a job, int8": ("--precision", "int8")}
    jobs = {name: (*own, *decoding) for name, own in jobs.items()}
    if grammar:
        jobs |= {f"{name}, commands": (*own, *grammar) for name, own in jobs.items()}
    rows = {} if options.parts else {name: Row(name, audio) for name in jobs}
    sphinx_rows: dict[str, tuple[Row, Callable[[], float]]] = {}
    if options.pocketsphinx:
        some = recordings[: options.pocketsphinx]
        seconds = sum(read_info(path).duration for path in some)
        for name, bestpath in (("pocketsphinx", True), ("pocketsphinx, first pass", False)):
            measure = pocketsphinx(options.commands, some, bestpath=bestpath, dictionary=options.dictionary)
            sphinx_rows[name] = Row(name, seconds), measure
    for _ in range(options.rounds):
        for name, cpu in parts().items():
            part_rows[name].add(console, cpu)
        for name, row in rows.items():
            cpu, start, lines = Job(options.run, paths, jobs[name]).seconds()
            row.add(console, cpu, start)
            row.right = what_is_right(lines)
        for row, measure in sphinx_rows.values():
            row.add(console, measure())
    show([*part_rows.values(), *rows.values(), *(row for row, _ in sphinx_rows.values())], console)
    if options.parts:
        return
    console.print(f"a job runs at {part_rows[MODEL].rtf / rows['a job'].rtf:.2f} of the model's own speed")
    ours = rows["a job, commands" if grammar else "a job"]
    for name, (row, _) in sphinx_rows.items():
        console.print(f"{name} takes {row.rtf / ours.rtf:.1f} times as long with the same grammar")
    cpu, wall = start_up(options.run, recordings[0], times=options.starts)
    console.print(
        f"from the command to the transcript of one recording, {options.starts} times: processor {min(cpu):.2f} to "
        f"{max(cpu):.2f} s, on the clock {min(wall):.2f} to {max(wall):.2f} s (median {statistics.median(wall):.2f})"
    )


if __name__ == "__main__":
    main()
