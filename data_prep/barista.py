"""Spoken commands labelled with intent and slots, clean and in noise: the public speech-to-intent benchmark's layout.

    python -m data_prep.barista CORPUS_DIR data/barista --noise CORPUS_DIR/noise/kitchen_dev.flac --folds 5

CORPUS_DIR holds dev_labels.json beside the recordings in dev/ (or test_labels.json and test/, ...):

    {"0075d273.flac": {"intent": "orderDrink", "slots": {"coffeeDrink": "coffee"}, "speaker": "s05"}}

Writes clean.jsonl and, for each signal-to-noise ratio, noise_06db.jsonl ... with its recordings below wav/. Labels are
kept as `intent` and `slots` of each line; there are no transcripts. --folds adds fold_1/train/, fold_1/test/, ..., with
the same manifests of some speakers each. The same command gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.files.json_lines import parse_object
from asr.process.runtime import Parser, run_program
from data_prep.corpus import say_bad
from data_prep.entries import CorpusError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from asr.data.manifest import Utterance

LABELS_SUFFIX = "_labels.json"
SAMPLE_RATE = 16_000  # hertz, the benchmark's
FRAME_SAMPLES = 2048  # the benchmark's frames of energy
PEAK = 0.5  # of a mix
SNRS = (6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0)  # dB, the benchmark's


def find_labels(corpus_dir: Path, labels: Path | None, recordings: Path | None) -> tuple[Path, Path]:
    """Returns the labels' file and the folder of its recordings: dev_labels.json and dev/, or what the user says.

    Raises CorpusError where neither is clear.
    """
    if labels is None:
        found = sorted(corpus_dir.glob(f"*{LABELS_SUFFIX}"))
        if len(found) != 1:
            named = ", ".join(path.name for path in found) or "none"
            raise CorpusError(f"{corpus_dir}: {named} of the form *{LABELS_SUFFIX}; expected one; choose with --labels")
        labels = found[0]
    folder = recordings or labels.with_name(labels.name.removesuffix(LABELS_SUFFIX))
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; expected the recordings of {labels}; say --recordings")
    return labels, folder


def read_labels(labels: Path, recordings: Path) -> tuple[list[Utterance], list[str]]:
    """Returns every labelled recording without noise, in the order of the file, and why some cannot be read.

    Raises CorpusError where the file is not one of labels, or none of its recordings can be read.
    """
    from asr.audio.reading import AudioError, read_info
    from asr.data.manifest import Utterance

    utterances, faults = [], []
    for name, label in _parse_labels(labels).items():
        try:
            duration = read_info(recordings / name).duration
        except AudioError as error:
            faults.append(str(error))
            continue
        utterances.append(
            Utterance(
                id=Path(name).with_suffix("").as_posix(),
                audio_filepath=str((recordings / name).absolute()),
                duration=round(duration, 6),
                speaker=label.get("speaker"),
                extra={"intent": label["intent"], "slots": label["slots"]},
            )
        )
    if not utterances:
        raise CorpusError(f"{labels}: none of its {len(faults)} recordings can be read: {faults[0] if faults else ''}")
    return utterances, faults


def _parse_labels(path: Path) -> dict[str, dict[str, Any]]:
    try:
        values = parse_object(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        said = str(error).replace("one JSON object a line", "a JSON object")
        raise CorpusError(f"{path}: cannot be read as the labels of recordings: {said}") from error
    if not values:
        raise CorpusError(f'{path}: no labels; expected {{"FILE": {{"intent": "NAME", "slots": {{...}}}}, ...}}')
    for name, label in values.items():
        if (
            not isinstance(label, dict)
            or not isinstance(label.get("intent"), str)
            or not isinstance(label.get("slots"), dict)
            or not isinstance(label.get("speaker"), str | None)
        ):
            raise CorpusError(
                f'{path}: {name}: {json.dumps(label)[:80]}; expected {{"intent": "NAME", "slots": {{"NAME": "VALUE"}}}}'
                f' and perhaps "speaker": "NAME"'
            )
    return values


def mix(
    speech: Float32[np.ndarray, " sample"], noise: Float32[np.ndarray, " sample"], *, snr_db: float
) -> Float32[np.ndarray, " sample"]:
    """Speech with noise of the same length, as the public benchmark mixes them: by their loudest frames.

    The noise's gain is sqrt(loudest frame of the speech / (loudest frame of the noise x 10^(snr_db / 10))), and the mix
    is scaled to a peak of 0.5. Raises CorpusError where there is nothing to scale.
    """
    loudest = [_loudest_frame(samples) for samples in (speech, noise)]
    if min(loudest) <= 0:
        raise CorpusError(
            f"mix: the {'noise' if loudest[0] > 0 else 'speech'} is silent, or shorter than {FRAME_SAMPLES} samples; "
            f"expected something to hear"
        )
    gain = (loudest[0] / (loudest[1] * 10 ** (snr_db / 10))) ** 0.5
    mixed = speech + gain * noise
    return (mixed * (PEAK / abs(mixed).max())).astype("float32")


def _loudest_frame(samples: Float32[np.ndarray, " sample"]) -> float:
    """Returns the energy of the loudest whole frame."""
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).astype("float64")
    return float((whole**2).sum(axis=1).max(initial=0.0))


def mix_all(
    utterances: Sequence[Utterance],
    *,
    noise_path: Path,
    snrs: Sequence[float],
    seed: int,
    output_dir: Path,
    faults: list[str],
) -> dict[float, list[Utterance]]:
    """Write each recording with noise at each ratio; gives their utterances, and adds to `faults` what went wrong.

    The cut of the noise depends on the seed and the recording's name alone, and is the same at every ratio. Raises
    CorpusError where the noise is shorter than a recording.
    """
    import numpy as np
    from rich.progress import track

    from asr.audio.reading import AudioError, read_audio, write_audio

    noise = read_audio(noise_path, sample_rate=SAMPLE_RATE)
    mixed: dict[float, list[Utterance]] = {snr: [] for snr in snrs}
    for utterance in track(utterances, description="recordings in noise", transient=True):
        try:
            speech = read_audio(utterance.audio_filepath, sample_rate=SAMPLE_RATE)
        except AudioError as error:  # its header was whole
            faults.append(str(error))
            continue
        if not _loudest_frame(speech) > 0:
            faults.append(f"{utterance.audio_filepath}: silent, or shorter than {FRAME_SAMPLES} samples")
            continue
        if len(speech) > len(noise):
            raise CorpusError(
                f"{noise_path}: {len(noise) / SAMPLE_RATE:.1f} s; expected at least as long as each recording: "
                f"{utterance.id} has {len(speech) / SAMPLE_RATE:.1f} s"
            )
        name = int.from_bytes(hashlib.sha256(utterance.id.encode()).digest()[:8], "big")
        start = int(np.random.default_rng([seed, name]).integers(0, len(noise) - len(speech) + 1))
        for snr in snrs:
            path = output_dir / "wav" / condition(snr) / f"{utterance.id}.flac"
            write_audio(path, mix(speech, noise[start : start + len(speech)], snr_db=snr), sample_rate=SAMPLE_RATE)
            labels = {**utterance.extra, "snr_db": snr, "noise_start": start / SAMPLE_RATE}
            mixed[snr].append(replace(utterance, audio_filepath=str(path.absolute()), extra=labels))
    return mixed


def condition(snr_db: float) -> str:
    """Returns the name of a ratio's manifest: noise_06db."""
    return f"noise_{snr_db:02g}db"


def fold_speakers(utterances: Iterable[Utterance], num_folds: int) -> list[set[str]]:
    """Returns the test speakers of each fold: the largest speaker not yet placed goes to the smallest fold.

    Raises CorpusError where speakers are unknown or fewer than the folds.
    """
    counts: dict[str, int] = defaultdict(int)
    for utterance in utterances:
        if utterance.speaker is None:
            raise CorpusError(f"--folds: {utterance.id} has no speaker; expected one for every recording")
        counts[utterance.speaker] += 1
    if not 2 <= num_folds <= len(counts):
        raise CorpusError(f"--folds {num_folds}: expected from 2 to the number of speakers, {len(counts)}")
    folds: list[set[str]] = [set() for _ in range(num_folds)]
    sizes = [0] * num_folds
    for speaker in sorted(counts, key=lambda speaker: (-counts[speaker], speaker)):
        smallest = sizes.index(min(sizes))
        folds[smallest].add(speaker)
        sizes[smallest] += counts[speaker]
    return folds


def parts(utterances: Sequence[Utterance], options: argparse.Namespace) -> Iterator[tuple[str, set[str]]]:
    """Yields the folders that get manifests, each with the ids of its recordings; "" is the output folder itself.

    Training recordings of --sizes are drawn at random, the smaller sets from the larger ones.
    """
    import numpy as np

    everything = [utterance.id for utterance in utterances]
    yield "", set(everything)
    parted = [("all", everything)]
    for number, held_out in enumerate(fold_speakers(utterances, options.folds) if options.folds else (), 1):
        test = [utterance.id for utterance in utterances if utterance.speaker in held_out]
        yield f"fold_{number}/test", set(test)
        parted.append((f"fold_{number}", [id_ for id_ in everything if id_ not in set(test)]))
        yield f"fold_{number}/train", set(parted[-1][1])
    for number, (name, train) in enumerate(parted):
        order = np.random.default_rng([options.seed, number]).permutation(sorted(train)).tolist()
        for size in options.sizes:
            if size > len(train):
                raise CorpusError(f"--sizes {size}: {name} has {len(train)} recordings to train on; expected fewer")
            yield f"{name}/train_{size}", set(order[:size])


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.snr and not options.noise:
        raise CorpusError("--snr: ratios without a recording to mix with; expected --noise FILE too")

    from asr.data.manifest_writing import write_manifest

    utterances, faults = read_labels(*find_labels(options.corpus_dir, options.labels, options.recordings))
    wanted = list(parts(utterances, options))  # faults in the options come before the work
    manifests = {"clean": utterances}
    if options.noise:
        mixed = mix_all(
            utterances,
            noise_path=options.noise,
            snrs=sorted(set(options.snr or SNRS)),
            seed=options.seed,
            output_dir=options.output_dir,
            faults=faults,
        )
        manifests |= {condition(snr): noisy for snr, noisy in mixed.items()}
        usable = {utterance.id for noisy in mixed.values() for utterance in noisy}
        wanted = [(folder, ids & usable) for folder, ids in wanted]
    for folder, ids in wanted:
        for name, members in manifests.items():
            chosen = [utterance for utterance in members if utterance.id in ids]
            write_manifest(options.output_dir / folder / f"{name}.jsonl", chosen)
        print(f"{options.output_dir / folder}: {len(ids)} recordings")
    print(f"manifests in each: {', '.join(manifests)}")
    return say_bad(faults)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus_dir", type=Path, metavar="CORPUS_DIR")
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="gets clean.jsonl, noise_06db.jsonl, ...")
    parser.add_argument("--labels", type=Path, help=f"the only *{LABELS_SUFFIX} in CORPUS_DIR, unless said")
    parser.add_argument("--recordings", type=Path, help="their folder; NAME/ beside NAME_labels.json, unless said")
    parser.add_argument("--noise", type=Path, metavar="FILE", help="a recording to mix with, such as of a kitchen")
    parser.add_argument("--snr", type=float, nargs="+", metavar="DB", help="ratios (6 9 12 15 18 21 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the cuts of the noise and of --sizes (0)")
    parser.add_argument(
        "--folds", type=int, default=0, help="also train and test manifests, by speaker; 5: fold_1 to 5"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[],
        metavar="NUMBER",
        help="also so many recordings drawn from all and from each fold's train: all/train_30, fold_1/train_30",
    )
    return parser


if __name__ == "__main__":
    run_program(main)
