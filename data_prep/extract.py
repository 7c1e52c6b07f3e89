"""Log-mels of a manifest's utterances, stored as safetensors shards that training reads by memory map.

    python -m data_prep.extract cache/fsdd/train.jsonl cache/fsdd/train_shards --config conf/fsdd.yaml

Feature settings are those of the configuration's `features` section, or the defaults; key=value changes one of them
(num_mels=40). The features are stored before normalisation. Run again after an interruption, it keeps the shards that
are finished and whole; a recording that cannot be read is named and left out, and the exit code is then 1.

With --engine ray (extra `ray`) the shards are made under Ray, on this machine or with --ray-address on a cluster, whose
machines must see the manifest, the recordings, the output folder and this package under the same paths.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK, Parser, program_name, run_program

if TYPE_CHECKING:
    from asr.data.features import FeatureConfig
    from asr.data.manifest import Manifest, Utterance
    from asr.data.shards import ShardEntry, ShardIndex


class ExtractError(ValueError):
    """Features that cannot be extracted as asked."""


@dataclass(frozen=True)
class ShardJob:
    """One shard to make; small enough to send to another process."""

    number: int
    folder: Path
    utterances: tuple[Utterance, ...]
    config: FeatureConfig
    device: str


@dataclass(frozen=True)
class Workers:
    """Says what makes the shards."""

    number: int
    engine: str = "local"  # or ray
    ray_address: str | None = None  # of a cluster; None: this machine
    device: str = "cpu"


@dataclass(frozen=True)
class Finished:
    """One shard made, and why its broken recordings were left out."""

    number: int
    entry: ShardEntry
    faults: tuple[str, ...]


def make_shard(job: ShardJob) -> Finished:
    """Compute and write one shard; the recordings that cannot be read are left out and named."""
    import torch
    from safetensors.torch import save_file

    from asr.audio.reading import AudioError, read_stretch
    from asr.data.features import LogMel
    from asr.data.shards import ShardEntry, shard_name
    from asr.files.digest import file_digest
    from asr.files.replacing import replacing

    torch.set_num_threads(1)
    log_mel = LogMel(job.config, job.device)
    features, faults = {}, {}
    for utterance in job.utterances:
        try:
            samples = read_stretch(utterance.stretch, sample_rate=job.config.sample_rate)
        except (AudioError, OSError) as error:
            faults[utterance.id] = f"{utterance.id}: {error}"
        else:
            features[utterance.id] = log_mel(torch.from_numpy(samples)).cpu()
    path = job.folder / shard_name(job.number)
    with replacing(path) as beside:
        save_file(features, beside)
    entry = ShardEntry(path.name, file_digest(path), path.stat().st_size, len(features), left_out=tuple(faults))
    return Finished(job.number, entry, tuple(faults.values()))


def extract(manifest: Manifest, folder: Path, *, config: FeatureConfig, workers: Workers, shard_size: int) -> list[str]:
    """Bring FOLDER up to date with the manifest; gives what was found wrong with recordings, one line each.

    Raises ExtractError where FOLDER holds the features of another manifest, or features of other settings.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    index = _start_index(manifest, folder, config=config, shard_size=shard_size)
    todo = [number for number in range(len(index.shards)) if not _is_finished(folder, index, number)]
    num_kept = len(index.shards) - len(todo)
    if num_kept:
        print(f"{folder}: {num_kept} of {len(index.shards)} shards are finished already and kept")
    # What is to be done anew is struck from the index first, so that the index never promises more than is there.
    for number in todo:
        index = index.with_shard(number, None)
    index.write(folder)
    jobs = _Jobs(manifest.path, manifest.digest, folder, index.shard_size, config, workers.device)
    faults: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=False) as progress:
        bar = progress.add_task("utterances", total=len(manifest), completed=_num_done(index, len(manifest)))
        for finished in _run(jobs, todo, manifest, workers):
            index = index.with_shard(finished.number, finished.entry)
            index.write(folder)
            faults += finished.faults
            progress.update(bar, completed=_num_done(index, len(manifest)))
    _write_remaining_manifest(manifest, folder, index)
    return faults


def _num_done(index: ShardIndex, num_utterances: int) -> int:
    """Utterances of the manifest whose shards are finished."""
    numbers = [number for number, entry in enumerate(index.shards) if entry is not None]
    return sum(min(index.shard_size, num_utterances - number * index.shard_size) for number in numbers)


def _start_index(manifest: Manifest, folder: Path, *, config: FeatureConfig, shard_size: int) -> ShardIndex:
    """Returns the index in FOLDER where there is one that fits, else an empty one."""
    from asr.data.shards import INDEX_NAME, ShardIndex, settings_difference, stored_settings

    wanted = ShardIndex(
        features=stored_settings(config),
        manifest=str(manifest.path),
        manifest_digest=manifest.digest,
        num_utterances=len(manifest),
        shard_size=shard_size,
        shards=(None,) * -(-len(manifest) // shard_size),
    )
    if not (folder / INDEX_NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        return wanted
    index = ShardIndex.read(folder)
    if index.manifest_digest != manifest.digest:
        raise ExtractError(f"{folder}: {_manifest_difference(manifest, folder, index)}; {_REMEDY}")
    difference = settings_difference(index.features, wanted.features)
    if difference:
        raise ExtractError(f"{folder}: holds features of other settings: {difference}; {_REMEDY}")
    if index.shard_size != shard_size:
        print(f"{folder}: goes on with {index.shard_size} utterances a shard, as it was begun")
    return index


_REMEDY = "extract into another folder, or remove this one first"


def _manifest_difference(manifest: Manifest, folder: Path, index: ShardIndex) -> str:
    """Returns what the manifest has that FOLDER's was without, and the other way round."""
    from safetensors import safe_open

    stored: set[str] = set()
    for entry in index.shards:
        if entry is not None and (folder / entry.file).is_file():
            with safe_open(folder / entry.file, framework="pt") as shard:
                stored.update(shard.keys(), entry.left_out)
    current = {utterance.id for utterance in manifest}
    parts = [
        f"holds features of {index.manifest} ({index.num_utterances:,} utterances, SHA-256 "
        f"{index.manifest_digest[:12]}); expected those of {manifest.path} ({len(manifest):,} utterances, SHA-256 "
        f"{manifest.digest[:12]})"
    ]
    gone, new = sorted(stored - current), sorted(current - stored)
    if gone:
        parts.append(f"only in the folder: {_some(gone)}")
    if new and None not in index.shards:
        parts.append(f"only in the manifest: {_some(new)}")
    if not gone and not new:
        parts.append("the ids are the same, so paths, durations or texts differ")
    return "; ".join(parts)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3:,} more" if len(ids) > 3 else "")


def _is_finished(folder: Path, index: ShardIndex, number: int) -> bool:
    """Returns whether a shard is there, whole, and without broken recordings (which may have been mended since)."""
    from asr.files.digest import file_digest

    entry = index.shards[number]
    if entry is None or entry.left_out or not (folder / entry.file).is_file():
        return False
    return file_digest(folder / entry.file) == entry.sha256


@dataclass(frozen=True)
class _Jobs:
    """The shards of a manifest; small enough to send to another machine, which reads the manifest itself."""

    manifest: Path
    digest: str  # of the manifest
    folder: Path
    size: int  # utterances a shard
    config: FeatureConfig
    device: str

    def job(self, manifest: Manifest, number: int) -> ShardJob:
        positions = range(number * self.size, min((number + 1) * self.size, len(manifest)))
        utterances = tuple(manifest[position] for position in positions)
        return ShardJob(number, self.folder, utterances, self.config, self.device)

    def __call__(self) -> Callable[[str], str]:
        """Returns a worker under Ray: the number of a shard in, what it gives out, both as JSON."""
        from asr.data.manifest import Manifest

        manifest = Manifest.read(self.manifest)
        if manifest.digest != self.digest:
            raise ExtractError(f"{self.manifest}: changed since the extraction began; expected it to stay; run again")

        def work(text: str) -> str:
            return json.dumps(asdict(make_shard(self.job(manifest, int(text)))))

        return work


def _run(jobs: _Jobs, numbers: Sequence[int], manifest: Manifest, workers: Workers) -> Iterator[Finished]:
    """These shards as they are finished, in any order; with no workers, in this process."""
    num_workers = min(workers.number, len(numbers))
    if workers.engine == "ray" and numbers:
        yield from _run_on_ray(jobs, numbers, workers)
    elif num_workers < 2:
        yield from (make_shard(jobs.job(manifest, number)) for number in numbers)
    else:
        yield from _run_in_processes((jobs.job(manifest, number) for number in numbers), num_workers)


def _run_on_ray(jobs: _Jobs, numbers: Sequence[int], workers: Workers) -> Iterator[Finished]:
    from asr.data.shards import ShardEntry
    from asr.engines.ray_data import RayError, run_on_ray

    answers = run_on_ray(
        replace(jobs, manifest=jobs.manifest.absolute(), folder=jobs.folder.absolute()),
        [str(number) for number in numbers],
        num_workers=max(workers.number, 1),
        address=workers.ray_address,
        num_gpus=1.0 if workers.device == "cuda" else 0.0,
    )
    try:
        for values in map(json.loads, answers):
            entry = values["entry"]
            stored = ShardEntry(**{**entry, "left_out": tuple(entry["left_out"])})
            yield Finished(values["number"], stored, tuple(values["faults"]))
    except RayError as error:
        raise ExtractError(f"{error}\nwhat is finished is kept: run the same command to go on from it") from None


def _run_in_processes(jobs: Iterator[ShardJob], num_workers: int) -> Iterator[Finished]:
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

    # Fresh processes: a forked one cannot use CUDA, nor the thread pools of its parent.
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = set()
        for job in jobs:
            pending.add(pool.submit(make_shard, job))
            if len(pending) >= 2 * num_workers:  # so that a large manifest is never in memory as a whole
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _write_remaining_manifest(manifest: Manifest, folder: Path, index: ShardIndex) -> None:
    """Writes FOLDER/manifest.jsonl, which lists the utterances that have features, where recordings were left out."""
    from asr.data.manifest_writing import write_manifest

    left_out = {id for entry in index.shards if entry is not None for id in entry.left_out}
    path = folder / "manifest.jsonl"
    if not left_out:
        path.unlink(missing_ok=True)
        return
    num_written = write_manifest(path, (utterance for utterance in manifest if utterance.id not in left_out))
    print(f"{path}: the {num_written:,} utterances that have features")


def feature_config(path: Path | None, overrides: Sequence[str]) -> FeatureConfig:
    """Returns the `features` section of a configuration file, or the defaults, with key=value changes.

    Raises ConfigError where the file or a change is wrong.
    """
    from pydantic import ValidationError

    from asr.config.reading import ConfigError, read_yaml
    from asr.config.recognizer import load_config
    from asr.data.features import FeatureConfig

    if path is not None:
        return load_config(path, [f"features.{override}" for override in overrides]).features
    values = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"'{override}': not a feature setting; expected key=value, such as num_mels=40")
        values[key] = read_yaml(text)
    try:
        return FeatureConfig.model_validate_json(json.dumps(values))
    except ValidationError as error:
        faults = [f"features.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError(f"{'; '.join(faults)}; expected keys: {', '.join(FeatureConfig.model_fields)}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program_name("data_prep.extract"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path, help="JSON lines of utterances")
    parser.add_argument("output_dir", type=Path, help="folder of the shards")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="feature settings, such as num_mels=40")
    parser.add_argument("--config", type=Path, help="configuration file whose features section is used")
    parser.add_argument(
        "--num-workers", type=int, default=os.cpu_count() or 1, help="processes; 0 or 1: none beside this"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the features are computed")
    parser.add_argument("--shard-size", type=int, default=500, help="utterances a shard")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="what the workers run under")
    parser.add_argument("--ray-address", help="of a cluster, such as auto or ray://head:10001")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.shard_size < 1 or options.num_workers < 0:
        parser.error("--shard-size is at least 1, --num-workers at least 0")
    from asr.data.manifest import Manifest
    from asr.data.shards import FeatureShards

    config = feature_config(options.config, options.settings)
    if options.ray_address is not None and options.engine != "ray":
        parser.error("--ray-address is for --engine ray")
    if options.device == "cuda" and options.ray_address is None:
        _check_cuda()
    faults = extract(
        Manifest.read(options.manifest),
        options.output_dir,
        config=config,
        workers=Workers(options.num_workers, options.engine, options.ray_address, options.device),
        shard_size=options.shard_size,
    )
    shards = FeatureShards(options.output_dir, config)
    print(f"{options.output_dir}: features of {len(shards.ids):,} utterances in {len(shards.index.shards):,} shards")
    for fault in faults:
        print(f"left out: {fault}", file=sys.stderr)
    return EXIT_BAD_FILES if faults else EXIT_OK


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ExtractError("--device: 'cuda', but there is no CUDA device here; expected one, or --device cpu")


if __name__ == "__main__":
    run_program(main)
