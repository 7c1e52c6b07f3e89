"""Transcribe a folder of recordings: python -m asr.transcribe RUN AUDIO_DIR --output transcripts.jsonl

A line of jsonl is one of a manifest, with `pred_text`, the score and the words with their starts in seconds;
a line of txt is the recording's path below AUDIO_DIR, a tab, and the transcript. With --commands, only the commands of
a grammar are understood, each with its intent and slots; a transcript is empty where none was.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.runtime import EXIT_BAD_FILES, EXIT_OK, run_program

if TYPE_CHECKING:
    from asr.audio import AudioError, AudioInfo
    from asr.recognizer import Outcome, Recognizer, Transcription


class TranscribeError(ValueError):
    """Nothing to transcribe."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    import torch

    from asr.recognizer import Recognizer

    torch.set_num_threads(options.num_threads)
    recognizer = Recognizer.load(options.run, device=options.device, commands=options.commands)
    recordings, broken = read_headers(options.audio_dir)
    start = time.perf_counter()
    outcomes = transcribe_recordings(recognizer, recordings, batch_size=options.batch_size)
    elapsed = time.perf_counter() - start
    broken += [outcome.error for outcome in outcomes if outcome.error is not None]
    heard = [
        (info, outcome.transcription)
        for info, outcome in zip(recordings, outcomes, strict=True)
        if outcome.transcription is not None
    ]
    if options.format == "jsonl":
        lines = (_json_line(info, transcription, options) for info, transcription in heard)
    else:
        lines = (f"{_name(info, options)}\t{_plain(transcription)}" for info, transcription in heard)
    write_lines(options.output, lines)
    duration = sum(info.duration for info, _ in heard)
    print(
        f"{len(heard)} recordings, {duration:.1f} s of audio in {elapsed:.1f} s "
        f"({duration / max(elapsed, 1e-9):.0f} times real time): {options.output}"
    )
    for error in broken:
        print(f"not transcribed: {error}", file=sys.stderr)
    return EXIT_BAD_FILES if broken else EXIT_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m asr.transcribe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder of asr.train")
    parser.add_argument("audio_dir", type=Path, help="a folder, searched with the folders in it; or one recording")
    parser.add_argument("--output", type=Path, required=True, help="the file to write, whole or not at all")
    parser.add_argument("--format", choices=("jsonl", "txt"), default="jsonl", help="(default: %(default)s)")
    parser.add_argument("--commands", type=Path, help="a grammar, such as conf/commands/home.yaml")
    parser.add_argument("--batch-size", type=int, default=16, help="recordings at a time (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser.parse_args(arguments)


def read_headers(path: Path) -> "tuple[list[AudioInfo], list[AudioError]]":
    """What the recordings below a folder are, in the order of their paths, and those that cannot be read."""
    from asr.audio import AUDIO_EXTENSIONS, AudioError, find_recordings, read_info

    paths = [path] if path.is_file() else find_recordings(path)
    if not paths:
        raise TranscribeError(f"{path}: no recordings in it; expected files {', '.join(sorted(AUDIO_EXTENSIONS))}")
    found, broken = [], []
    for recording in paths:
        try:
            found.append(read_info(recording))
        except AudioError as error:
            broken.append(error)
    return found, broken


def transcribe_recordings(
    recognizer: "Recognizer", recordings: "Sequence[AudioInfo]", *, batch_size: int
) -> "list[Outcome]":
    """The outcome of each recording, in the order given; the work is done in batches of like length."""
    from rich.console import Console
    from rich.progress import track

    from asr.recognizer import Stretch

    outcomes = track(
        recognizer.transcribe_stretches(
            [Stretch(info.path) for info in recordings],
            [info.duration for info in recordings],
            batch_size=batch_size,
        ),
        description="transcribing",
        total=len(recordings),
        console=Console(stderr=True),
        transient=True,
    )
    return sorted(outcomes, key=lambda outcome: outcome.index)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A text file, whole or not at all."""
    from asr.files import replacing

    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _name(info: "AudioInfo", options: argparse.Namespace) -> str:
    """A recording's path below the folder that was given."""
    return info.path.name if info.path == options.audio_dir else str(info.path.relative_to(options.audio_dir))


def _json_line(info: "AudioInfo", transcription: "Transcription", options: argparse.Namespace) -> str:
    audio = Path(os.path.abspath(info.path))  # noqa: PTH100 - a link keeps its name
    folder = Path(os.path.abspath(options.output.parent))  # noqa: PTH100
    line: dict[str, Any] = {
        "id": _name(info, options),
        # As in every manifest: relative to its folder for what lies below it.
        "audio_filepath": str(audio.relative_to(folder) if audio.is_relative_to(folder) else audio),
        "duration": info.duration,
        "pred_text": transcription.text,
        "score": round(transcription.score, 6),
        "words": [{"text": word.text, "start": word.start} for word in transcription.words],
    }
    if transcription.command is not None:
        line["command"] = transcription.command.to_dict()
    return json.dumps(line, ensure_ascii=False)


def _plain(transcription: "Transcription") -> str:
    """The transcript; of a command, with its intent and slots after tabs."""
    if transcription.command is None or not transcription.command.understood:
        return transcription.text
    command = transcription.command
    return f"{command.text}\t{command.intent}\t{json.dumps(command.slots, ensure_ascii=False)}"


if __name__ == "__main__":
    run_program(main)
