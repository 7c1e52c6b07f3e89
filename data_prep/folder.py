"""A folder of recordings with transcripts: in .txt or .lab files beside them, in a table, or in the folders' names.

  --transcripts beside   a.wav with a.txt or a.lab
  --transcripts folder   turn_it_on/a.wav is "turn it on"
  --transcripts TABLE    a .csv or .tsv with a header; the recordings' paths are relative to CORPUS_DIR

Where there are folders named train, dev (or val, valid, validation) and test, those are the splits, and recordings
beside them are named and left out; else splits are carved. Of folders that are transcripts, those with a leading
underscore are no words, and recordings directly in CORPUS_DIR have none: both are named and left out.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr.files.replacing import absolute_path
from asr.process.runtime import run_program
from data_prep.corpus import prepare, read_lines, split_up
from data_prep.entries import Corpus, CorpusError, Dropped, Entry
from data_prep.layout import by_split, left_out, split_of
from data_prep.options import corpus_parser, preparation_of, splitting_of
from data_prep.tables import read_rows

NO_FOLDER = "no folder of its own names its words"
UNDERSCORE = "a folder with a leading underscore is no words"


def read_folder(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read recordings and transcripts; a recording without transcript is dropped.

    Raises:
        CorpusError: no recordings, or a table that is not in the expected form.
    """
    dropped: list[Dropped] = []
    if arguments.transcripts == "folder":
        entries = list(_read_labels(corpus_dir, dropped))
    elif arguments.transcripts == "beside":
        entries = list(_read_beside(corpus_dir, dropped))
    else:
        entries = list(_read_table(corpus_dir, arguments))
    splits, others = _laid_out(corpus_dir, entries, arguments.layout)
    if splits and arguments.transcripts == "folder":
        splits = {name: list(_below(corpus_dir, inside, dropped)) for name, inside in splits.items()}
    notes = left_out("recordings", sorted(entry.id for entry in others), f"beside the folders {', '.join(splits)}")
    dropped += [Dropped(entry.id, str(entry.audio), "beside the folders of the splits") for entry in others]
    notes += _no_words(dropped)
    if arguments.speaker_pattern is not None:
        splits = {name: _with_speakers(inside, corpus_dir, arguments) for name, inside in splits.items()}
        entries = entries if splits else _with_speakers(entries, corpus_dir, arguments)
    if splits:
        return Corpus(splits, tuple(dropped), notes=notes)
    return split_up(entries, splitting_of(arguments), dropped=dropped, notes=notes)


def _laid_out(corpus_dir: Path, entries: list[Entry], layout: str) -> tuple[dict[str, list[Entry]], list[Entry]]:
    """Returns the entries below each split's folder and those beside them, or no split at all.

    Raises:
        CorpusError: two folders are the same split, or one alone has a split's name among others that have not.
    """
    tops: dict[str, list[Entry]] = {}
    for entry in entries:
        tops.setdefault(_top(entry, corpus_dir), []).append(entry)
    found = by_split(corpus_dir, ((top, top) for top in tops)) if layout != "carve" else {}
    folders = sorted(top for top in tops if top and split_of(top) is None)
    if len(found) == 1 and folders and layout == "auto":
        (name,) = found.values()
        raise CorpusError(
            f"{corpus_dir}: the folder {name} beside {', '.join(folders[:3])}; expected train, dev and test, or none "
            f"of these names; --layout splits leaves the others out, --layout carve takes {name} for one like them"
        )
    others = [entry for top, inside in tops.items() if top not in found.values() for entry in inside] if found else []
    return {split: tops[top] for split, top in found.items()}, others


def _read_labels(corpus_dir: Path, dropped: list[Dropped]) -> Iterator[Entry]:
    for path in _recordings(corpus_dir):
        entry = _entry(corpus_dir, path, path.parent.name)
        if path.parent == corpus_dir:
            dropped.append(Dropped(entry.id, str(path), NO_FOLDER))
        elif any(part.startswith("_") for part in path.relative_to(corpus_dir).parts[:-1]):
            dropped.append(Dropped(entry.id, str(path), UNDERSCORE))
        else:
            yield entry


def _below(corpus_dir: Path, entries: list[Entry], dropped: list[Dropped]) -> Iterator[Entry]:
    """Yields the recordings in a folder of their own below the split's, which names their words."""
    for entry in entries:
        if entry.audio.parent.parent == corpus_dir:
            dropped.append(Dropped(entry.id, str(entry.audio), NO_FOLDER))
        else:
            yield entry


def _no_words(dropped: list[Dropped]) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    for reason in (NO_FOLDER, UNDERSCORE):
        notes += left_out("recordings", [each.id for each in dropped if each.reason == reason], reason)
    return notes


def _recordings(corpus_dir: Path) -> list[Path]:
    from asr.audio.reading import find_recordings

    return find_recordings(corpus_dir)


def _read_beside(corpus_dir: Path, dropped: list[Dropped]) -> Iterator[Entry]:
    for path in _recordings(corpus_dir):
        beside = next((text for suffix in (".txt", ".lab") if (text := path.with_suffix(suffix)).is_file()), None)
        if beside:
            yield replace(_entry(corpus_dir, path, " ".join(read_lines(beside))), place=beside.name)
        else:
            dropped.append(Dropped(path.stem, str(path), "no .txt or .lab beside it"))


def _read_table(corpus_dir: Path, arguments: argparse.Namespace) -> Iterator[Entry]:
    path = corpus_dir / arguments.transcripts
    audio, text, speaker = arguments.audio_column, arguments.text_column, arguments.speaker_column
    columns = [audio, text, speaker] if speaker else [audio, text]
    remedy, too_few = (
        "say --audio-column, --text-column, --speaker-column",
        f"{' or '.join(columns)} is missing; expected {'both' if len(columns) == 2 else 'all'} in every row",
    )
    for row in read_rows(path, columns, remedy=remedy, too_few=too_few):
        if not row.cells[audio]:
            raise CorpusError(f"{path}:{row.line}: {too_few}")
        entry = _entry(corpus_dir, corpus_dir / row.cells[audio], row.cells[text])
        said_by = (row.cells[speaker] or None) if speaker else None
        yield replace(entry, speaker=said_by, place=f"{path.name}:{row.line}")


def _entry(corpus_dir: Path, path: Path, text: str) -> Entry:
    inside = path.relative_to(corpus_dir) if path.is_relative_to(corpus_dir) else path
    return Entry(inside.with_suffix("").as_posix(), path, text)


def _with_speakers(entries: list[Entry], corpus_dir: Path, arguments: argparse.Namespace) -> list[Entry]:
    return [_with_speaker(entry, corpus_dir, arguments.speaker_pattern) for entry in entries]


def _with_speaker(entry: Entry, corpus_dir: Path, pattern: re.Pattern[str]) -> Entry:
    match = pattern.search(entry.id)
    if not match:
        raise CorpusError(f"{corpus_dir}: {entry.id}: no match of --speaker-pattern; expected one in every path")
    return replace(entry, speaker=match[1])


def _top(entry: Entry, corpus_dir: Path) -> str:
    """Returns the folder of the corpus that the recording is below, or "" for none."""
    audio, corpus_dir = Path(absolute_path(entry.audio)), Path(absolute_path(corpus_dir))
    parts = audio.relative_to(corpus_dir).parts if audio.is_relative_to(corpus_dir) else ()
    return parts[0] if len(parts) > 1 else ""


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
    parser.add_argument(
        "--layout",
        choices=("auto", "splits", "carve"),
        default="auto",
        help="splits: as the folders say; carve: their names say nothing; auto (default): asks where it is not clear",
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
    return prepare(read_folder(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
