"""Strings of words made from recordings of single words, such as FSDD's digits: what is said one after the other.

    python -m data_prep.fsdd CORPUS_DIR data/fsdd
    python -m data_prep.digit_strings data/fsdd data/fsdd_strings --num-train 3000 --num-dev 150 --num-test 300

Each string is of one speaker: recordings of INPUT_DIR's split, drawn with the seed, with pauses of drawn lengths around
them. A split's strings hold recordings of that split only, so what is tested was never trained on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from asr.process.runtime import Parser, run_program
from data_prep.corpus import say_bad
from data_prep.entries import SPLITS, CorpusError

if TYPE_CHECKING:
    from asr.data.manifest import Utterance

SHORTEST_PAUSE, LONGEST_PAUSE = 0.03, 0.4  # seconds, before, between and after words
FAINT = 3e-4  # deviation of a pause's noise, of full scale


def join_words(
    words: Sequence[Float32[np.ndarray, " sample"]], *, sample_rate: int, generator: np.random.Generator
) -> Float32[np.ndarray, " sample"]:
    """Returns the words with pauses of faint noise around them."""
    parts = []
    for number in range(len(words) + 1):
        pause = generator.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
        parts.append(FAINT * generator.standard_normal(round(pause * sample_rate)))
        parts += [words[number]] if number < len(words) else []
    return np.concatenate(parts).astype(np.float32)


def readable_words(words: Sequence[Utterance], faults: list[str]) -> list[tuple[Utterance, int]]:
    """Returns the recordings that can be decoded, with their rates in hertz; adds the others' errors to `faults`."""
    from asr.audio.reading import AudioError, read_audio, read_info

    found = []
    for word in words:
        try:
            rate = read_info(Path(word.audio_filepath)).sample_rate
            read_audio(Path(word.audio_filepath), sample_rate=rate)
        except AudioError as error:
            faults.append(str(error))
        else:
            found.append((word, rate))
    return found


def make_strings(
    words: Sequence[tuple[Utterance, int]],
    folder: Path,
    number: int,
    *,
    lengths: tuple[int, int],
    generator: np.random.Generator,
) -> Iterator[Utterance]:
    """Write so many strings into the folder, each of `lengths` words from the shortest to the longest.

    Words come with their rates in hertz. Raises CorpusError where an utterance is without speaker, or the rates of a
    speaker's recordings differ.
    """
    from asr.audio.reading import read_audio, write_audio
    from asr.data.manifest import Utterance

    speakers: dict[str, list[Utterance]] = {}
    rates: dict[str, set[int]] = {}
    for word, rate in words:
        if word.speaker is None:
            raise CorpusError(f"{word.id}: no speaker; expected one for every recording, as a string is of one speaker")
        speakers.setdefault(word.speaker, []).append(word)
        rates.setdefault(word.speaker, set()).add(rate)
    names = sorted(speakers)
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(number):
        name = names[generator.integers(len(names))]
        if len(rates[name]) > 1:
            raise CorpusError(f"speaker {name}: recordings of {sorted(rates[name])} Hz; expected one rate")
        (rate,) = rates[name]
        count = generator.integers(lengths[0], lengths[1] + 1)
        chosen = [speakers[name][index] for index in generator.integers(len(speakers[name]), size=count)]
        spoken = [read_audio(Path(word.audio_filepath), sample_rate=rate) for word in chosen]
        samples = join_words(spoken, sample_rate=rate, generator=generator)
        path = folder / f"{place:05d}.flac"
        write_audio(path, samples, sample_rate=rate)
        text = " ".join(word.text for word in chosen)
        made_of = {"made_of": [word.id for word in chosen]}
        yield Utterance(f"{folder.name}-{place:05d}", str(path), len(samples) / rate, text, speaker=name, extra=made_of)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not 1 <= options.shortest <= options.longest:
        raise CorpusError(
            f"--shortest {options.shortest} --longest {options.longest}: expected 1 <= shortest <= longest"
        )

    from asr.data.manifest import Manifest
    from asr.data.manifest_writing import write_manifest

    faults: list[str] = []
    for seed, split in enumerate(SPLITS):
        path = options.input_dir / f"{split}.jsonl"
        words = readable_words(list(Manifest.read(path)), faults)
        if not words:
            raise CorpusError(f"{path}: no recording can be read; the first: {faults[-1]}; expected some of words")
        strings = make_strings(
            words,
            options.output_dir.absolute() / split,
            getattr(options, f"num_{split}"),
            lengths=(options.shortest, options.longest),
            generator=np.random.default_rng([options.seed, seed]),
        )
        path = options.output_dir / f"{split}.jsonl"
        made = list(strings)
        write_manifest(path, made)
        seconds = math.fsum(string.duration for string in made)
        print(f"{path}: {len(made):,} strings of {len(words):,} recordings, {seconds / 3600:.2f} h")
    return say_bad(faults)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input_dir", type=Path, metavar="INPUT_DIR", help="train.jsonl, dev.jsonl, test.jsonl of words")
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="gets the same, of strings, and recordings")
    for split, number in zip(SPLITS, (3000, 150, 300), strict=True):
        parser.add_argument(f"--num-{split}", type=int, default=number, help=f"strings of {split} ({number})")
    parser.add_argument("--shortest", type=int, default=2, metavar="WORDS", help="of a string (2)")
    parser.add_argument("--longest", type=int, default=7, metavar="WORDS", help="of a string (7)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    return parser


if __name__ == "__main__":
    run_program(main)
