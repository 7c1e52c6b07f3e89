"""A folder of recordings with transcripts: in .txt or .lab files beside them, in a table, or in the folders' names.

  --transcripts beside   a.wav with a.txt or a.lab
  --transcripts folder   turn_it_on/a.wav is "turn it on"
  --transcripts TABLE    a .csv or .tsv with a header; the recordings' paths are relative to CORPUS_DIR

When the recordings lie below folders named train, dev and test, those are the splits; else they are carved.
"""

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr.runtime import run_program
from data_prep.corpus import corpus_parser, prepare, read_lines, split_up
from data_prep.entries import SPLITS, Corpus, CorpusError, Dropped, Entry


def read_folder(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read recordings and transcripts; a recording without transcript is dropped.

    Raises:
        CorpusError: no recordings, or a table that is not in the expected form.
    """
    dropped: list[Dropped] = []
    if arguments.transcripts == "folder":
        entries = [_entry(corpus_dir, path, path.parent.name) for path in _recordings(corpus_dir)]
    elif arguments.transcripts == "beside":
        entries = list(_read_beside(corpus_dir, dropped))
    else:
        entries = list(_read_table(corpus_dir, arguments))
    if arguments.speaker_pattern is not None:
        entries = [_with_speaker(entry, corpus_dir, arguments.speaker_pattern) for entry in entries]
    splits = {name: [entry for entry in entries if _top(entry, corpus_dir) == name] for name in SPLITS}
    if sum(map(len, splits.values())) == len(entries):
        return Corpus(splits, tuple(dropped))
    return split_up(entries, arguments, dropped=dropped)


def _recordings(corpus_dir: Path) -> list[Path]:
    from asr.audio import find_recordings

    return find_recordings(corpus_dir)


def _read_beside(corpus_dir: Path, dropped: list[Dropped]) -> Iterator[Entry]:
    for path in _recordings(corpus_dir):
        beside = next((text for suffix in (".txt", ".lab") if (text := path.with_suffix(suffix)).is_file()), None)
        if beside:
            yield _entry(corpus_dir, path, " ".join(read_lines(beside)))
        else:
            dropped.append(Dropped(path.stem, str(path), "no .txt or .lab beside it"))


def _read_table(corpus_dir: Path, arguments: argparse.Namespace) -> Iterator[Entry]:
    """Rows of a .csv (quoted as spreadsheets do) or .tsv (not quoted)."""
    path = corpus_dir / arguments.transcripts
    lines = read_lines(path)
    if path.suffix == ".tsv":
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.DictReader(lines)
    audio, text, speaker = arguments.audio_column, arguments.text_column, arguments.speaker_column
    missing = {audio, text, speaker or audio} - set(rows.fieldnames or ())
    if missing:
        raise CorpusError(
            f"{path}: no column {', '.join(sorted(missing))}; found {', '.join(rows.fieldnames or ())}; "
            f"say --audio-column, --text-column, --speaker-column"
        )
    for row in rows:
        if not row[audio] or row[text] is None:
            raise CorpusError(f"{path}:{rows.line_num}: {audio} or {text} is missing; expected both in every row")
        entry = _entry(corpus_dir, corpus_dir / row[audio], row[text])
        yield replace(entry, speaker=(row[speaker] or None) if speaker else None)


def _entry(corpus_dir: Path, path: Path, text: str) -> Entry:
    inside = path.relative_to(corpus_dir) if path.is_relative_to(corpus_dir) else path
    return Entry(inside.with_suffix("").as_posix(), path, text)


def _with_speaker(entry: Entry, corpus_dir: Path, pattern: re.Pattern[str]) -> Entry:
    match = pattern.search(entry.id)
    if not match:
        raise CorpusError(f"{corpus_dir}: {entry.id}: no match of --speaker-pattern; expected one in every path")
    return replace(entry, speaker=match[1])


def _top(entry: Entry, corpus_dir: Path) -> str | None:
    return entry.audio.relative_to(corpus_dir).parts[0] if entry.audio.is_relative_to(corpus_dir) else None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}; expected a regular expression") from error
    if pattern.groups != 1:
        raise argparse.ArgumentTypeError(f"{text}: {pattern.groups} groups; expected one, (...), around the speaker")
    return pattern


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1)
    parser.add_argument(
        "--transcripts", default="beside", metavar="beside|folder|TABLE", help="where they are (beside)"
    )
    parser.add_argument("--audio-column", default="audio", help="of a table: a path (audio)")
    parser.add_argument("--text-column", default="text", help="of a table: the transcript (text)")
    parser.add_argument("--speaker-column", help="of a table: who speaks")
    parser.add_argument(
        "--speaker-pattern",
        type=_pattern,
        metavar="REGEX",
        help="its group is the speaker, found in the path below CORPUS_DIR: '^([^/]+)/' for the first folder",
    )
    options = parser.parse_args(arguments)
    return prepare(read_folder(options.corpus_dir, options), options)


if __name__ == "__main__":
    run_program(main)
