"""A Kaldi data folder (wav.scp, text; utt2spk and segments where there are): https://kaldi-asr.org/doc/data_prep.html

CORPUS_DIR is one such folder, which is then split, or holds several named train, dev (or val, valid,
validation) and test. Relative paths of
wav.scp are relative to CORPUS_DIR, or to --audio-root. A wav.scp that runs commands (`sox ... |`) is refused: run them
once, write files, and name those.
"""

import argparse
import re
from pathlib import Path

from asr.process.runtime import run_program
from data_prep.corpus import prepare, read_lines, split_up
from data_prep.entries import SPLITS, Corpus, CorpusError, Entry
from data_prep.layout import by_split, left_out, split_of
from data_prep.options import corpus_parser, preparation_of, splitting_of


def read_kaldi_folder(folder: Path, *, audio_root: Path) -> list[Entry]:
    """Returns the utterances of one data folder, in its own order; one without a line in `text` has an empty
    transcript.

    Raises:
        CorpusError: naming file and line: a list is missing or malformed, an id is listed twice, a command is to be
            run, or a segment's recording or times are impossible.
    """
    recordings = {}
    for id_, place in _read_table(folder / "wav.scp").items():
        if place.startswith("|") or place.endswith("|"):
            raise CorpusError(
                f"{folder / 'wav.scp'}: {id_}: the command '{place}'; expected a file; commands are not run: "
                f"write their output to files and name those"
            )
        recordings[id_] = audio_root / place
    texts = _read_table(folder / "text")
    speakers = _read_table(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    if (folder / "segments").is_file():
        stretches = _read_segments(folder / "segments", recordings)
    else:
        stretches = {id_: (path, 0.0, None) for id_, path in recordings.items()}
    return [
        Entry(id_, path, texts.get(id_, ""), speakers.get(id_), offset, duration, place=f"text: {id_}")
        for id_, (path, offset, duration) in stretches.items()
    ]


def _read_table(path: Path) -> dict[str, str]:
    """Lines of `id value`; a value may hold spaces, or be empty."""
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            raise CorpusError(f"{path}:{number}: an empty line; expected an id and its value")
        id_, *value = re.split("[ \t]+", line.strip(" \t"), maxsplit=1)
        if id_ in table:
            raise CorpusError(f"{path}:{number}: {id_} a second time; expected each id once")
        table[id_] = value[0] if value else ""
    return table


def _read_segments(path: Path, recordings: dict[str, Path]) -> dict[str, tuple[Path, float, float | None]]:
    """Lines of `id recording start end`, in seconds; an end of -1 is the recording's."""
    segments: dict[str, tuple[Path, float, float | None]] = {}
    for id_, value in _read_table(path).items():
        try:
            recording, start, end = value.split()
            offset, stop = float(start), float(end)
        except ValueError as error:
            raise CorpusError(f"{path}: {id_} {value}: expected a recording, its start and end in seconds") from error
        if recording not in recordings:
            raise CorpusError(f"{path}: {id_}: no recording {recording} in wav.scp; expected one of those")
        if not (0 <= offset < stop or stop == -1):
            raise CorpusError(f"{path}: {id_}: from {start} to {end} s; expected a start before the end")
        segments[id_] = (recordings[recording], offset, None if stop == -1 else stop - offset)
    return segments


def read_kaldi(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read a folder to be split, or one for each split.

    Raises:
        CorpusError: as `read_kaldi_folder`.
    """
    audio_root = arguments.audio_root or corpus_dir
    if (corpus_dir / "wav.scp").is_file():
        return split_up(read_kaldi_folder(corpus_dir, audio_root=audio_root), splitting_of(arguments))
    listed = sorted(path.parent for path in corpus_dir.glob("*/wav.scp"))
    folders = by_split(corpus_dir, ((folder.name, folder) for folder in listed))
    if not folders:
        raise CorpusError(f"{corpus_dir}: no wav.scp there or in {', '.join(SPLITS)}; expected a Kaldi data folder")
    others = [folder.name for folder in listed if split_of(folder.name) is None]
    return Corpus(
        {name: read_kaldi_folder(folder, audio_root=audio_root) for name, folder in folders.items()},
        notes=left_out("data folders", others, "expected train, dev and test"),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1)
    parser.add_argument("--audio-root", type=Path, help="what relative paths are relative to (CORPUS_DIR)")
    options = parser.parse_args(arguments)
    return prepare(read_kaldi(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
