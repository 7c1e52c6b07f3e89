"""Common Voice, one language: https://commonvoice.mozilla.org/datasets (fetched there by hand, after agreeing to terms)

CORPUS_DIR holds train.tsv, dev.tsv, test.tsv and clips/. With --validated, training is all of validated.tsv but the
speakers of dev and test: many times more than train.tsv, which has each sentence once.
"""

import argparse
import csv
from pathlib import Path

from asr.runtime import run_program
from data_prep.corpus import corpus_parser, inner_folder, prepare, read_lines
from data_prep.entries import SPLITS, Corpus, CorpusError, Dropped, Entry

COLUMNS = ("client_id", "path", "sentence")


def read_table(path: Path, clips: Path) -> list[Entry]:
    """The rows of one .tsv.

    Raises:
        CorpusError: a column is missing, or a row has too few.
    """
    rows = csv.DictReader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = set(COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(sorted(missing))}; expected those of Common Voice")
    entries = []
    for row in rows:
        speaker, name, text = (row[column] for column in COLUMNS)
        if not name or text is None:
            raise CorpusError(f"{path}:{rows.line_num}: too few columns; expected {', '.join(COLUMNS)}")
        audio = clips / (name if Path(name).suffix else f"{name}.mp3")  # the first releases left the suffix out
        entries.append(Entry(audio.stem, audio, text, speaker=speaker or None))
    return entries


def read_common_voice(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read the three splits.

    Raises:
        CorpusError: not this corpus; and as `read_table`.
    """
    root = inner_folder(corpus_dir, holds=lambda folder: (folder / "clips").is_dir(), what="clips/ and train.tsv")
    splits = {name: read_table(root / f"{name}.tsv", root / "clips") for name in SPLITS}
    dropped: list[Dropped] = []
    if arguments.validated:
        held_out = {entry.speaker for name in ("dev", "test") for entry in splits[name]}
        splits["train"] = []
        for entry in read_table(root / "validated.tsv", root / "clips"):
            if entry.speaker in held_out:
                dropped.append(Dropped(entry.id, str(entry.audio), "validated, by a speaker of dev or test"))
            else:
                splits["train"].append(entry)
        # What is listed in dev and test themselves was not left out of anything.
        listed = {entry.id for name in ("dev", "test") for entry in splits[name]}
        dropped = [each for each in dropped if each.id not in listed]
    return Corpus(splits, tuple(dropped))


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__)
    parser.add_argument("--validated", action="store_true", help="train on validated.tsv but the speakers of dev, test")
    options = parser.parse_args(arguments)
    return prepare(read_common_voice(options.corpus_dir, options), options)


if __name__ == "__main__":
    run_program(main)
