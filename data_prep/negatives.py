"""Recordings that hold no command, to find out how often one is heard in them: manifests without transcripts.

    python -m data_prep.negatives data/negatives CORPORA/noise/esc10 CORPORA/wake_words --silence-minutes 10
    python -m data_prep.negatives data/room my_room --silence-minutes 10 --noise-minutes 10

Every recording below each folder becomes a line of OUTPUT_DIR/all.jsonl, with the folder's name as `source`, and of the
manifest of that name. The best are of the room where the commands will be given: an hour of talk and television.
Silence, noise and a household are made: silence is half nothing at all, half the faint noise of a microphone; noise is
hiss or rumble, hum, beeps and knocks; a household is mostly animals, and the other sounds of the augmentation
`household_noise`. Other speech is made by data_prep.synthesize --other-speech. With --cut-seconds they are
cut into utterances, as a training wants them (`data.train: [{..., without_speech: true}]`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.process.runtime import Parser, program_name, run_program
from data_prep.corpus import say_bad
from data_prep.entries import CorpusError

if TYPE_CHECKING:
    import numpy as np

    from asr.data.manifest import Utterance

SAMPLE_RATE = 16_000  # hertz, of the silence
MADE_SECONDS = 30.0  # of one recording of silence or noise
FAINT_DB = -70.0  # level of a microphone's noise, of full scale
LOWEST_DB, HIGHEST_DB = -50.0, -15.0  # peaks of the noise that is made, of full scale


def read_sources(folders: Sequence[Path], faults: list[str]) -> Iterator[Utterance]:
    """Yields every recording below the folders; what cannot be read is added to `faults`.

    Raises CorpusError where two folders have the same name, or one has no recordings.
    """
    from asr.audio.reading import AudioError, find_recordings, read_info
    from asr.data.manifest import Utterance

    if len({"all", "silence", "noise", "household", *(folder.resolve().name for folder in folders)}) < len(folders) + 4:
        raise CorpusError(
            f"{', '.join(map(str, folders))}: two folders of the same name, or one that is named "
            f"all, silence, noise or household; "
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


def make_recordings(
    source: str, folder: Path, *, minutes: float, make: Callable[[int, np.random.Generator], np.ndarray], seed: int
) -> Iterator[Utterance]:
    """Write so many minutes of what `make` gives for each number; gives the recordings as utterances."""
    import numpy as np

    from asr.audio.reading import write_audio
    from asr.data.manifest import Utterance

    rng = np.random.default_rng(seed)
    for number in range(round(minutes * 60 / MADE_SECONDS)):
        path = folder / source / f"{number:03d}.flac"
        write_audio(path, make(number, rng).astype(np.float32), sample_rate=SAMPLE_RATE)
        yield Utterance(f"{source}/{path.stem}", str(path.absolute()), MADE_SECONDS, extra={"source": source})


def silence(number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns nothing and faint noise in turn, as samples [sample]."""
    return 10 ** (FAINT_DB / 20) * (number % 2) * rng.standard_normal(round(MADE_SECONDS * SAMPLE_RATE))


def noise(number: int, rng: np.random.Generator) -> np.ndarray:
    """Hiss or rumble, hum, beeps and knocks in turn, each over a little of the first, as samples [sample]."""
    import numpy as np

    num_samples = round(MADE_SECONDS * SAMPLE_RATE)
    seconds, frequencies = np.arange(num_samples) / SAMPLE_RATE, np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples)) * np.maximum(frequencies, 20) ** -rng.uniform(0, 1)
    steady = np.fft.irfft(spectrum, num_samples)
    steady /= np.abs(steady).max()
    kind = number % 4
    if kind == 0:
        sound = steady * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 2) * seconds))
    elif kind == 1:
        partials = [np.sin(2 * np.pi * rng.choice((50, 60)) * k * seconds) / k for k in (1, 2, 3, 5, 7)]
        sound = np.sum(partials, axis=0) / 2
    else:
        sound = np.zeros(num_samples)
        for start in rng.uniform(0, MADE_SECONDS - 1, size=20):
            since = seconds[:SAMPLE_RATE]
            tone = np.sin(2 * np.pi * rng.uniform(300, 3000) * since) * (since < rng.uniform(0.05, 0.5))
            knock = rng.standard_normal(SAMPLE_RATE) / 3 * np.exp(-since / rng.uniform(0.005, 0.1))
            place = int(start * SAMPLE_RATE)
            sound[place : place + SAMPLE_RATE] += tone if kind == 2 else knock
    sound = sound + 0.05 * steady
    return 10 ** (rng.uniform(LOWEST_DB, HIGHEST_DB) / 20) * sound / np.abs(sound).max()


def household(number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns animals three times of four, else another sound of a household, over faint noise [sample]."""
    import numpy as np

    from asr.data.augment.sounds import SOUNDS, barks

    num_samples = round(MADE_SECONDS * SAMPLE_RATE)
    sound = np.zeros(num_samples, np.float32)
    kinds = sorted(set(SOUNDS) - {"barks"})
    for start in range(0, num_samples, 2 * SAMPLE_RATE):  # another animal, or thing, every two seconds
        size = min(2 * SAMPLE_RATE, num_samples - start)
        if number % 4 < 3:
            part = through_throat(barks(size, SAMPLE_RATE, rng), rng)
        else:
            part = SOUNDS[kinds[rng.integers(len(kinds))]](size, SAMPLE_RATE, rng)
        sound[start : start + size] = rng.uniform(0.05, 0.7) * part / max(1e-6, float(np.abs(part).max()))
    return sound + 10 ** (FAINT_DB / 20) * rng.uniform(0, 10) * rng.standard_normal(num_samples)


def through_throat(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the samples [sample] with some breath, through up to four resonators that are drawn at random."""
    import numpy as np
    from scipy.signal import lfilter

    breath = rng.standard_normal(len(samples)) * np.abs(samples) * rng.uniform(0, 1)
    source, heard = samples + breath, rng.uniform(0, 1) * samples
    for _ in range(rng.integers(1, 5)):
        hertz, width = rng.uniform(200, 4000), rng.uniform(50, 500)
        radius, angle = np.exp(-np.pi * width / SAMPLE_RATE), 2 * np.pi * hertz / SAMPLE_RATE
        resonance = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source)
        heard = heard + rng.uniform(0.3, 1) * np.asarray(resonance)
    return heard


def cut(utterances: Sequence[Utterance], seconds: float) -> Iterator[Utterance]:
    """Pieces of so many seconds, one after the other; what is left at the end of a recording is left out."""
    for utterance in utterances:
        if utterance.duration < seconds:
            yield utterance
        for number in range(int(utterance.duration / seconds)):
            yield replace(utterance, id=f"{utterance.id}-{number:03d}", offset=number * seconds, duration=seconds)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)

    from asr.data.manifest_writing import write_manifest

    faults: list[str] = []
    utterances = list(read_sources(options.folders, faults))
    for source, make in (("silence", silence), ("noise", noise), ("household", household)):
        minutes = getattr(options, f"{source}_minutes")
        utterances += make_recordings(source, options.output_dir, minutes=minutes, make=make, seed=options.seed)
    if not utterances:
        raise CorpusError("negatives: no folder, and nothing to make; expected CORPUS_DIR, or --noise-minutes 10")
    utterances = list(cut(utterances, options.cut_seconds)) if options.cut_seconds else utterances
    by_source: dict[str, list[Utterance]] = {"all": utterances}
    for utterance in utterances:
        by_source.setdefault(utterance.extra["source"], []).append(utterance)
    for source, members in by_source.items():
        write_manifest(options.output_dir / f"{source}.jsonl", members)
        hours = sum(utterance.duration for utterance in members) / 3600
        what = "utterances" if options.cut_seconds else "recordings"
        print(f"{options.output_dir / source}.jsonl: {len(members):,} {what}, {hours:.2f} h")
    return say_bad(faults)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program_name("data_prep.negatives"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="gets all.jsonl and one manifest a source")
    parser.add_argument("folders", type=Path, nargs="*", metavar="CORPUS_DIR", help="folders of recordings")
    parser.add_argument("--silence-minutes", type=float, default=0.0, help="silence to make and add (0)")
    parser.add_argument("--noise-minutes", type=float, default=0.0, help="noise to make and add (0)")
    parser.add_argument("--household-minutes", type=float, default=0.0, help="a household's sounds to make and add (0)")
    parser.add_argument("--cut-seconds", type=float, help="cut the recordings into utterances of so long")
    parser.add_argument("--seed", type=int, default=0, help="of the silence's faint noise, and of the noise (0)")
    return parser


if __name__ == "__main__":
    run_program(main)
