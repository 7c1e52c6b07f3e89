"""Sentences spoken to files, chunk by chunk: the same plan gives the same bytes, and a restart does what is missing.

What eSpeak NG makes of a sentence depends on what it said before in the same process. So the plan is cut into chunks of
fixed sentences, and each chunk is spoken in its order in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.reading import resample, write_audio
from asr.files.replacing import replacing
from asr.grammar.sampling import Command
from data_prep.casting import Casting
from data_prep.voices import Delivery, SynthesisError, load_engine

CHUNK_SIZE = 200  # sentences spoken in one process
PROGRESS_FOLDER = ".chunks"


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence to speak, and where to."""

    id: str
    split: str
    command: Command
    engine: str
    delivery: Delivery
    file: str  # relative to the output folder

    @property
    def speaker(self) -> str:
        """Told apart from other engines' speakers of that name."""
        return f"{self.engine}/{self.delivery.speaker}"

    @property
    def folder(self) -> Path:
        """Returns the folder of its manifest, relative to the output folder."""
        return Path(self.file).parents[3]

    @property
    def is_command(self) -> bool:
        """Is it of the grammar of commands, rather than other speech in a folder of its own, or of a list?"""
        return self.folder == Path() and self.command.intent != ""


def plan_split(
    split: str,
    commands: Sequence[Command],
    *,
    casting: Casting,
    suffix: str,
    rng: np.random.Generator,
    folder: str = "",
) -> list[Line]:
    """Give each sentence its delivery: an engine by its share, its speakers in turn, in an order drawn anew each round.

    What else there is, is drawn. Other speech than commands has a folder of its own.
    """
    waiting: dict[str, list[str]] = {engine: [] for engine in casting.speakers[split]}
    engines = [engine for engine in waiting for _ in range(casting.shares[engine])]
    lines = []
    for number, command in enumerate(commands):
        engine = engines[int(rng.integers(len(engines)))] if len(waiting) > 1 else engines[0]
        if not waiting[engine]:
            speakers = casting.speakers[split][engine]
            waiting[engine] = [speakers[place] for place in rng.permutation(len(speakers))]
        speaker = waiting[engine].pop()
        accents = casting.accents[engine][speaker]
        delivery = Delivery(
            speaker=speaker,
            accent=accents[int(rng.integers(len(accents)))],
            words_per_minute=casting.words_per_minute.draw(rng),
            pitch=casting.pitch.draw(rng),
        )
        id = f"{folder}-{split}-{number:06d}".removeprefix("-")
        file = Path(folder, "wav", split, f"{number // 1000:03d}", f"{id}.{suffix}").as_posix()
        lines.append(Line(id, split, command, engine, delivery, file))
    return lines


@dataclass(frozen=True)
class _Chunk:
    number: int
    folder: Path
    lines: tuple[Line, ...]
    sample_rate: int

    @property
    def record(self) -> Path:
        """Written last, it says that the chunk is finished."""
        return self.folder / PROGRESS_FOLDER / f"{self.number:05d}.json"


def speak_all(lines: Sequence[Line], folder: Path, *, sample_rate: int, num_workers: int) -> Iterator[dict[str, float]]:
    """Speak what is not spoken yet; gives, chunk by chunk, the durations in seconds by id.

    Raises SynthesisError where the engine fails, or its process dies.
    """
    chunks = [
        _Chunk(start // CHUNK_SIZE, folder, tuple(lines[start : start + CHUNK_SIZE]), sample_rate)
        for start in range(0, len(lines), CHUNK_SIZE)
    ]
    todo = []
    for chunk in chunks:
        durations = _finished(chunk)
        if durations is None:
            todo.append(chunk)
        else:
            yield durations
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, num_workers), mp_context=context, max_tasks_per_child=1) as pool:
        futures = {pool.submit(_speak_chunk, chunk): chunk for chunk in todo}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool as error:
                chunk = futures[future]
                raise SynthesisError(
                    f"{folder}: the process that spoke {chunk.lines[0].id} to {chunk.lines[-1].id} died; expected it "
                    f"to finish; run the same command again, it goes on where it was"
                ) from error


def _finished(chunk: _Chunk) -> dict[str, float] | None:
    """Returns the durations of a chunk that is spoken, with all its files as they were written."""
    if not chunk.record.is_file():
        return None
    try:
        record = json.loads(chunk.record.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if record.get("plan") != _digest(chunk):
        return None
    for line in chunk.lines:
        path = chunk.folder / line.file
        if not path.is_file() or path.stat().st_size != record["sizes"][line.id]:
            return None
    return record["durations"]


def _digest(chunk: _Chunk) -> str:
    """Digests all that a chunk's bytes depend on."""
    plan: list[Any] = [asdict(line) for line in chunk.lines]
    plan += [load_engine(name).version for name in sorted({line.engine for line in chunk.lines})]
    plan.append(chunk.sample_rate)
    return hashlib.sha256(json.dumps(plan, sort_keys=True, default=str).encode()).hexdigest()


def _speak_chunk(chunk: _Chunk) -> dict[str, float]:
    durations, sizes = {}, {}
    for line in chunk.lines:
        samples, rate = load_engine(line.engine).speak(line.command.spoken, line.delivery)
        samples = resample(samples, from_rate=rate, to_rate=chunk.sample_rate)
        samples /= max(1.0, float(np.abs(samples).max()))  # resampling can overshoot full scale; nothing is clipped
        path = chunk.folder / line.file
        write_audio(path, samples, sample_rate=chunk.sample_rate)
        durations[line.id], sizes[line.id] = len(samples) / chunk.sample_rate, path.stat().st_size
    record = {"plan": _digest(chunk), "durations": durations, "sizes": sizes}
    with replacing(chunk.record) as beside:
        beside.write_text(json.dumps(record), encoding="utf-8")
    return durations
