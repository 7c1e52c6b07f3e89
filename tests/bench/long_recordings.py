"""What is lost where a long recording is cut: utterances joined to one, heard by every way to cut it.

    python -m tests.bench.long_recordings RUN MANIFEST --utterances 100

The utterances are joined with pauses of --pause seconds, filled with each one's own first tenth of a second.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from asr.metrics import count_character_errors, count_word_errors, total
from asr.transcription.config import load_job
from asr.transcription.job import run_job
from asr.transcription.progress import JobProgress

WAYS = {
    "energy": {},
    "silero": {"detector": {"kind": "silero"}},
    "windows of 30 s": {"detector": None},
    "windows of 10 s": {"detector": None, "longest": 10.0},
}


def join(paths: list[str], path: Path, *, pause: float) -> float:
    """Write the recordings one after the other, with noise like their own between them; the seconds of all."""
    parts = []
    for each in paths:
        samples = read_audio(each, sample_rate=16_000)
        parts += [samples, np.resize(samples[:1600], round(pause * 16_000))]
    whole = np.concatenate(parts)
    soundfile.write(path, whole, 16_000)
    return len(whole) / 16_000


def transcribe(
    run: str, paths: list[str], folder: Path, segmentation: dict, *, decoding: dict | None
) -> tuple[str, float]:
    """All words, in the order of the paths, and the seconds of processor time of this process."""
    values = {"run": run, "paths": paths, "output": str(folder / "out.jsonl"), "num_workers": 1, "num_decoders": 1}
    config = load_job(None, {**values, "device": "cpu", "segmentation": segmentation, "decoding": decoding})
    start = time.process_time()
    result = run_job(config, progress=JobProgress(Console(quiet=True)))
    seconds = time.process_time() - start
    lines = map(json.loads, result.output.collection_path.read_text(encoding="utf-8").splitlines())
    found = {line["audio_filepath"]: line["pred_text"] for line in lines}
    by_name = {Path(path).name: text for path, text in found.items()}
    return " ".join(by_name[Path(path).name] for path in paths), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("manifest", type=Path, help="with transcripts")
    parser.add_argument("--utterances", type=int, default=100, help="the first ones (default: %(default)s)")
    parser.add_argument("--decoding", help="a kind, in the place of the run's own")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds (default: %(default)s)")
    parser.add_argument("--ways", default="energy,windows of 30 s,windows of 10 s", help="(default: %(default)s)")
    options = parser.parse_args()
    decoding = {"kind": options.decoding} if options.decoding else None
    items = list(Manifest.read(options.manifest))[: options.utterances]
    paths, said = [item.audio_filepath for item in items], " ".join(item.text for item in items)
    table = Table("cut by", "words", "inserted", "deleted", "substituted", "WER, %", "CER, %", "processor, s", box=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = join(paths, folder / "long.flac", pause=options.pause)
        for way in ("nothing: each by itself", *options.ways.split(",")):
            given = [str(folder / "long.flac")] if way in WAYS else paths
            text, taken = transcribe(options.run, given, folder, WAYS.get(way, {}), decoding=decoding)
            counts, characters = (total(count([said], [text])) for count in (count_word_errors, count_character_errors))
            errors = (counts.insertions, counts.deletions, counts.substitutions)
            rates = (f"{100 * each.rate:.2f}" for each in (counts, characters))
            table.add_row(way, f"{len(text.split())}", *map(str, errors), *rates, f"{taken:.1f}")
    Console(width=120).print(f"{len(paths)} utterances, {seconds / 60:.1f} minutes, {len(said.split())} words", table)


if __name__ == "__main__":
    main()
