"""A job of transcribing: what is asked for, less what is done already, through the workers, into files.

journal     what became of each recording, appended as it is known; a kill costs what was being done
transcripts written from the journal alone, so that they are the same however often the job was killed
shares      recordings that follow each other; the same ones whatever has been done before
"""

from __future__ import annotations

import contextlib
import enum
import functools
import heapq
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from asr.audio.reading import AudioError
from asr.engines.local import LocalEngine
from asr.engines.work import Item, Outcome, Share
from asr.files.digest import digest_of
from asr.files.replacing import size_of
from asr.process.runtime import count_cores
from asr.runs.recognizer import open_run
from asr.transcription.config import JobConfig
from asr.transcription.earlier_results import (
    EarlierResultsError,
    check_earlier_results,
    is_same_recording,
    keep_beside_damage,
    known_settings,
    remember_settings,
    source_of,
    with_head,
)
from asr.transcription.inputs import InputError, Inputs, Recording, find_inputs, settled, total_bytes
from asr.transcription.journal import Journal
from asr.transcription.output import Output, Settings, readable
from asr.transcription.progress import JobProgress
from asr.transcription.record import fault_of_record
from asr.transcription.report import JobReport
from asr.transcription.worker import make_transcriber

SHARE_SIZE = 64  # recordings; a kill costs no more of them a worker
SHARES_A_WORKER = 4  # at least, where there are so many recordings: the last to finish is not waited for long
BYTES_A_WORKER = 20 << 20  # of recordings that make it worth to start one more
MEMORY_A_WORKER = 1 << 30  # bytes


@runtime_checkable
class Engine(Protocol):
    def run(self, shares: Iterable[Share]) -> Iterator[Outcome]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class JobResult:
    """Says how a job ended."""

    report: JobReport
    output: Output


def run_job(config: JobConfig, *, progress: JobProgress, listed: bytes | None = None) -> JobResult:
    """Transcribe everything, and then, with `watch`, what arrives until KeyboardInterrupt.

    Raises ValueError for what cannot be done at all (no input, no output, a run that cannot be loaded), with everything
    that is done kept. A recording that cannot be transcribed is in the report.
    """
    output = Output(config, Settings.of(config))
    if config.watch:
        _check_watchable(config)
    inputs = find_inputs(config.paths, listed=listed, may_be_none=config.watch, root=config.root)
    journal = Journal(output.state_folder, fault_of=fault_of_record)
    try:
        job = Job(config, inputs=inputs, output=output, journal=journal, progress=progress)
        try:
            job.run()
            if config.watch:
                with contextlib.suppress(KeyboardInterrupt):
                    job.watch()
                job.finish()
        finally:
            job.close()
        if config.output is not None:
            journal.remove()  # nothing is left to go on from
        return JobResult(job.report, output)
    except EarlierResultsError:
        if config.output is not None and journal.is_empty:
            journal.remove()  # it has not begun
        raise
    finally:
        journal.close()


def _check_watchable(config: JobConfig) -> None:
    for path in config.paths:
        if not Path(path).is_dir():
            raise InputError(f"{path}: not a folder; expected folders, which --watch looks into again and again")


class Job:
    """One job on one output folder, which it has locked."""

    def __init__(
        self, config: JobConfig, *, inputs: Inputs, output: Output, journal: Journal, progress: JobProgress
    ) -> None:
        self.config, self.inputs, self.output, self.journal = config, inputs, output, journal
        self.progress = progress
        self.report = JobReport()
        self.settings = output.settings.digest
        self._engine: Engine | None = None
        self._started = time.perf_counter()
        self._num_resumed = 0
        self._is_watching = False
        self._known: dict[str, tuple[int, int]] = {}  # what `watch` has seen: size and time of each recording
        self._audio_seconds = 0.0  # of this run
        journal.load(recording.name for recording in inputs)
        if journal.num_damaged:
            progress.say(keep_beside_damage(output, journal))
        self.num_tried = check_earlier_results(output, inputs, journal)
        self.inputs = replace(inputs, taken=_stems_of_others(journal))
        remember_settings(output)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def run(self) -> None:
        """Transcribes everything that is there now."""
        if self.config.watch:  # what is being written meanwhile is looked at again
            settled(self.inputs, self._known, self.config.watching.settle_seconds)
        if self.num_tried:
            self.progress.say(
                f"going on from an earlier run, which had tried {self.num_tried:,} of {len(self.inputs):,} recordings"
            )
        self._transcribe(range(len(self.inputs)))
        self.finish()

    def watch(self) -> None:
        """Transcribes what arrives or changes, look after look, until KeyboardInterrupt."""
        watching = self.config.watching
        self._is_watching = True
        self.progress.say(f"watching {', '.join(self.config.paths)}; Ctrl-C ends it")
        while True:
            found = find_inputs(self.config.paths, may_be_none=True)
            arrived = settled(found, self._known, watching.settle_seconds)
            if arrived:
                self._transcribe(self._welcome(found, arrived))
                self.finish()
            time.sleep(watching.every_seconds)

    def _welcome(self, found: Inputs, arrived: list[str]) -> list[int]:
        """Returns the numbers of these names; those that are new get the next ones."""
        names = list(self.inputs.names)
        numbers = {name: number for number, name in enumerate(names)}
        for name in arrived:
            if name not in numbers:
                numbers[name] = len(names)
                names.append(name)
        moved = found.ambiguous - self.inputs.ambiguous
        new = names[len(self.inputs.names) :]
        self.journal.grow(new)
        self.inputs = replace(found, names=names, taken=_stems_of_others(self.journal))
        for name, number in numbers.items():  # whose transcripts were beside those of nobody else
            if moved and found.plain_stem(name) in moved and (record := self._record_of(number)) is not None:
                self._put(number, record, previous=record)
        return [numbers[name] for name in arrived]

    def _transcribe(self, numbers: Sequence[int]) -> None:
        size = total_bytes(self.inputs, numbers)
        num_workers = self._num_workers(size)
        with self.progress.shown(num_recordings=len(numbers), num_bytes=size):
            shares = self._shares(numbers, share_bytes=size / (SHARES_A_WORKER * num_workers), of=num_workers)
            first = next(shares, None)
            if first is None:
                return
            self._engine = self._engine or self._make_engine(num_workers)
            for outcome in self._engine.run(itertools.chain([first], shares)):
                self._take(outcome)

    def _num_workers(self, num_bytes: int) -> int:
        """Returns how many workers to start: one a GPU or core, unless so many are not worth their start."""
        if self.config.num_workers:
            return self.config.num_workers
        if self.config.device != "cpu":
            import torch

            if num_gpus := torch.cuda.device_count():
                return num_gpus
        most = min(count_cores(), 1 + num_bytes // BYTES_A_WORKER)
        if "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):  # Linux says what memory is free, others do not
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            most = min(most, free // MEMORY_A_WORKER)
        return max(1, most)

    def _make_engine(self, num_workers: int) -> Engine:
        if self.config.engine == "ray":
            from asr.engines.ray_data import RayEngine

            return RayEngine(
                functools.partial(make_transcriber, self.config.with_absolute_paths(), num_workers=num_workers),
                num_workers=num_workers,
                address=self.config.ray.address,
                cpus_per_worker=self.config.ray.cpus_per_worker,
                gpus_per_worker=self.config.ray.gpus_per_worker,
            )
        return LocalEngine(
            functools.partial(make_transcriber, self.config, num_workers=num_workers), num_workers=num_workers
        )

    def _shares(self, numbers: Sequence[int], *, share_bytes: float, of: int) -> Iterator[Share]:
        """Recordings that follow each other, as far as they are to be done; with one worker only their number counts.

        A share of which something has never been done is done as a whole, so that its batches are the same as if
        nothing had ever been killed. What failed, or has changed since, is done by itself.
        """
        chunk: list[int] = []
        weight = 0
        for position, number in enumerate(numbers, 1):
            chunk.append(number)
            weight += size_of(self.inputs[number].stretch.path) if of > 1 else 0
            if len(chunk) == SHARE_SIZE or (of > 1 and weight >= share_bytes) or position == len(numbers):
                if items := self._pending(chunk):
                    yield Share(tuple(items))
                chunk, weight = [], 0

    def _pending(self, numbers: list[int]) -> list[Item]:
        states = {number: self._state(number) for number in numbers}
        is_begun = State.NEW in states.values()
        items = []
        for number, state in states.items():
            recording, record = self.inputs[number], self.journal[number]
            if state == State.DONE and record is not None and (not is_begun or self._is_long(record)):
                self._put(number, record, previous=record)
                self._num_resumed += not self._is_watching  # what is looked at again is not of an earlier run
                self.progress.add(num_bytes=record["size"], audio_seconds=0.0)
            elif (fault := self._fault_of_name(recording)) is not None:
                self._take(Outcome(number, error=str(fault), error_kind=fault.kind))
            else:
                items.append(Item(number, recording.stretch))
        return items

    def _is_long(self, record: dict[str, Any]) -> bool:
        """Transcribed by itself, not in a batch with others."""
        return max(each["duration"] for each in record["transcripts"]) > self.config.segmentation.longest

    def _fault_of_name(self, recording: Recording) -> AudioError | None:
        try:
            if self.config.output_dir is not None:
                self.inputs.stem(recording.name)
        except AudioError as error:
            return error
        return None

    def _record_of(self, number: int) -> dict[str, Any] | None:
        """Returns its last record, by the settings of this job."""
        record = self.journal[number]
        return record if record is not None and record["settings"] == self.settings else None

    def _state(self, number: int) -> State:
        record = self._record_of(number)
        if record is None:
            return State.NEW
        if "error" in record:
            return State.FAILED
        if not is_same_recording(record, self.inputs[number]):
            return State.CHANGED
        return State.DONE if digest_of(self.inputs[number].stretch.path) == record["sha256"] else State.CHANGED

    def _take(self, outcome: Outcome) -> None:
        """Into the journal, and into its files."""
        recording, previous = self.inputs[outcome.number], self.journal[outcome.number]
        record: dict[str, Any] = {"name": recording.name, "settings": self.settings, "size": outcome.size}
        if outcome.error is not None:
            record |= {"error": outcome.error, "error_kind": outcome.error_kind}
        else:
            record |= {
                "sha256": outcome.sha256,
                "seconds": round(outcome.seconds, 6),
                "sample_rate": outcome.sample_rate,
                "transcripts": [transcript.to_dict() for transcript in outcome.transcripts],
            }
        self._put(outcome.number, record, previous=previous)
        self.progress.show(readable(recording.name), self.journal[outcome.number] or record)
        duration = sum(transcript.duration for transcript in outcome.transcripts)
        self._audio_seconds += duration
        self.progress.add(
            num_bytes=size_of(recording.stretch.path), audio_seconds=duration, is_error=outcome.error is not None
        )

    def _put(self, number: int, record: dict[str, Any], *, previous: dict[str, Any] | None) -> None:
        """Keeps a record and the files that follow from it; files of the one before that no longer do are removed."""
        recording = self.inputs[number]
        record = self._complete(record, recording)
        before = self.output.paths(previous or {})
        files = dict(self.output.files(self.inputs, recording.name, record, previous=previous or {}))
        foreign = [path for path in files if path not in before and not self.output.may_write(path, files[path])]
        if foreign:
            message = f"{foreign[0]}: there already, and written by no job; expected a free name, or --overwrite"
            record = self._complete({key: record[key] for key in ("name", "settings", "size")}, recording)
            record |= {"error": message, "error_kind": "output"}
            files = {}
        for path in before - set(files):
            path.unlink(missing_ok=True)
        record["files"] = [os.path.relpath(path, self.output.folder) for path in files]
        if files:
            record["stem"] = self.inputs.stem(recording.name)
        if record != previous:
            self.journal.append(number, record)
        for path, content in files.items():
            self.output.write(path, content)

    def _complete(self, record: dict[str, Any], recording: Recording) -> dict[str, Any]:
        """Returns a record with all that its lines say, so that they can be written by a job that has not the
        recording.
        """
        return {
            **{key: value for key, value in record.items() if key != "stem"},
            "source": source_of(recording),
            "head": self.output.head(recording),
            "model": self.output.settings.model,
            "each_channel": self.config.channel == "each",
            "merged": self.config.merge,
        }

    def _order(self) -> list[int] | range:
        """Numbers in the order of their names, of a manifest in its own."""
        numbers = range(len(self.inputs))
        return (
            numbers if self.inputs.manifest is not None else sorted(numbers, key=lambda each: self.inputs.names[each])
        )

    def _records(self) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Yields the records of this job and those that earlier jobs have left, by their names; of a manifest, its own
        first.
        """
        found = (self._record_of(number) for number in self._order())
        own = ((True, record) for record in found if record is not None)
        others = ((False, with_head(record)) for record in self.journal.others())
        if self.inputs.manifest is not None:
            return itertools.chain(own, others)
        return heapq.merge(own, others, key=lambda each: each[1]["name"])

    def finish(self) -> None:
        """Writes the file of all transcripts, and the report."""
        self.journal.sync()
        report = JobReport(
            passed_over=dict(self.inputs.passed_over),
            num_resumed=self._num_resumed,
            model_rate=open_run(self.config.run)[1].features.sample_rate,
        )
        digests = set()
        with self.output.replacing(self.output.collection_path) as file:
            for is_own, record in self._records():
                if is_own:
                    report.add(readable(record["name"]), record)
                else:
                    report.num_kept += 1
                    digests.add(record["settings"])
                file.writelines(line.encode("utf-8") + b"\n" for line in self.output.lines(record))
        report.is_complete = report.num_recordings == len(self.inputs)
        report.elapsed_seconds = time.perf_counter() - self._started
        report.elapsed_audio_seconds = self._audio_seconds
        self.report = report
        if self.output.report_path is not None:
            with self.output.replacing(self.output.report_path) as file:
                values = {**report.to_dict(), "settings": self.output.settings.values}
                known = known_settings(self.output)
                if other := {digest: known.get(digest) for digest in sorted(digests - {self.settings})}:
                    values["other_settings"] = other
                file.write((json.dumps(values, indent=1) + "\n").encode("utf-8"))


def _stems_of_others(journal: Journal) -> frozenset[str]:
    """Returns where the transcripts are of recordings that this job has not."""
    return frozenset(record["stem"] for record in journal.others() if record.get("stem"))


class State(enum.Enum):
    """The state of a recording before the job."""

    NEW = "never tried with these settings"
    DONE = "transcribed, and the same bytes"
    CHANGED = "transcribed, and other bytes now"
    FAILED = "tried, with an error"
