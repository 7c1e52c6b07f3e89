"""Recordings that hold no command, to find out how often one is heard in them: manifests without transcripts.

    python -m data_prep.negatives data/negatives CORPORA/noise/esc10 CORPORA/wake_words --silence-minutes 10

Every recording below each folder becomes a line of OUTPUT_DIR/all.jsonl, with the folder's name as `source`, and of the
manifest of that name. Silence is made: half of it nothing at all, half the faint noise of a microphone. With
--cut-seconds they are cut into utterances, as a training wants them (`data.train: [{..., without_speech: true}]`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.runtime import EXIT_BAD_FILES, EXIT_OK, run_program
from data_prep.corpus import say
from data_prep.entries import CorpusError

if TYPE_CHECKING:
    from asr.manifest import Utterance

SAMPLE_RATE = 16_000  # hertz, of the silence
SILENCE_SECONDS = 30.0  # of one recording
FAINT_DB = -70.0  # level of a microphone's noise, of full scale


def read_sources(folders: Sequence[Path], faults: list[str]) -> Iterator[Utterance]:
    """Every recording below the folders; what cannot be read is added to `faults`.

    Raises CorpusError where two folders have the same name, or one has no recordings.
    """
    from asr.audio import AudioError, find_recordings, read_info
    from asr.manifest import Utterance

    if len({"all", "silence", *(folder.resolve().name for folder in folders)}) < len(folders) + 2:
        raise CorpusError(
            f"{', '.join(map(str, folders))}: two folders of the same name, or one that is named all or silence; "
            f"expected different names, as they tell where a recording is from"
        )
    for folder in folders:
        source, paths = folder.resolve().name, find_recordings(folder)
        if not paths:
            raise CorpusError(f"{folder}: no recordings; expected some below it")
        for path in paths:
            try:
                info = read_info(path)
            except AudioError as error:
                faults.append(str(error))
                continue
            name = path.relative_to(folder).as_posix()
            yield Utterance(f"{source}/{name}", str(path.absolute()), round(info.duration, 6), extra={"source": source})


def make_silence(folder: Path, *, minutes: float, seed: int) -> Iterator[Utterance]:
    """Write recordings of silence, nothing and faint noise in turn; gives them as utterances."""
    import numpy as np

    from asr.audio import write_audio
    from asr.manifest import Utterance

    rng = np.random.default_rng(seed)
    for number in range(round(minutes * 60 / SILENCE_SECONDS)):
        level = 10 ** (FAINT_DB / 20) * (number % 2)
        samples = level * rng.standard_normal(round(SILENCE_SECONDS * SAMPLE_RATE))
        path = folder / f"{number:03d}.flac"
        write_audio(path, samples.astype(np.float32), sample_rate=SAMPLE_RATE)
        yield Utterance(f"silence/{path.stem}", str(path.absolute()), SILENCE_SECONDS, extra={"source": "silence"})


def cut(utterances: Sequence[Utterance], seconds: float) -> Iterator[Utterance]:
    """Pieces of so many seconds, one after the other; what is left at the end of a recording is left out."""
    for utterance in utterances:
        if utterance.duration < seconds:
            yield utterance
        for number in range(int(utterance.duration / seconds)):
            yield replace(utterance, id=f"{utterance.id}-{number:03d}", offset=number * seconds, duration=seconds)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)

    from asr.manifest import write_manifest

    faults: list[str] = []
    utterances = list(read_sources(options.folders, faults))
    utterances += make_silence(options.output_dir / "silence", minutes=options.silence_minutes, seed=options.seed)
    utterances = list(cut(utterances, options.cut_seconds)) if options.cut_seconds else utterances
    by_source: dict[str, list[Utterance]] = {"all": utterances}
    for utterance in utterances:
        by_source.setdefault(utterance.extra["source"], []).append(utterance)
    for source, members in by_source.items():
        write_manifest(options.output_dir / f"{source}.jsonl", members)
        hours = sum(utterance.duration for utterance in members) / 3600
        what = "utterances" if options.cut_seconds else "recordings"
        print(f"{options.output_dir / source}.jsonl: {len(members):,} {what}, {hours:.2f} h")
    for fault in faults:
        say(f"not read: {fault}")
    return EXIT_BAD_FILES if faults else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="gets all.jsonl and one manifest a source")
    parser.add_argument("folders", type=Path, nargs="+", metavar="CORPUS_DIR", help="folders of recordings")
    parser.add_argument("--silence-minutes", type=float, default=0.0, help="silence to make and add (0)")
    parser.add_argument("--cut-seconds", type=float, help="cut the recordings into utterances of so long")
    parser.add_argument("--seed", type=int, default=0, help="of the silence's faint noise (0)")
    return parser


if __name__ == "__main__":
    run_program(main)
