"""Common Voice, one language: https://commonvoice.mozilla.org/datasets (fetched there by hand, after agreeing to terms)

CORPUS_DIR holds train.tsv, dev.tsv, test.tsv and clips/. With --validated, training is all of validated.tsv but the
speakers of dev and test: many times more than train.tsv, which has each sentence once.
"""

import argparse
from pathlib import Path

from asr.process.runtime import run_program
from data_prep.corpus import inner_folder, prepare, read_lines
from data_prep.entries import SPLITS, Corpus, CorpusError, Dropped, Entry
from data_prep.options import corpus_parser, preparation_of
from data_prep.tables import read_rows

COLUMNS = ("client_id", "path", "sentence")


def read_table(path: Path, clips: Path) -> list[Entry]:
    """Returns the rows of one .tsv.

    Raises:
        CorpusError: a column is missing, or a row has too few or too many.
    """
    entries = []
    remedy, too_few = "expected those of Common Voice", f"too few columns; expected {', '.join(COLUMNS)}"
    for row in read_rows(path, COLUMNS, remedy=remedy, too_few=too_few, quoted=False):
        speaker, name, text = (row.cells[column] for column in COLUMNS)
        if not name:
            raise CorpusError(f"{path}:{row.line}: {too_few}")
        audio = clips / (name if Path(name).suffix else f"{name}.mp3")  # the first releases left the suffix out
        entries.append(Entry(audio.stem, audio, text, speaker=speaker or None, place=f"{path.name}:{row.line}"))
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


def language_of(corpus_dir: Path) -> str | None:
    """Returns the language of the corpus, as its first row says, where words for its numbers are known."""
    from data_prep.numbers import knows_numbers

    root = inner_folder(corpus_dir, holds=lambda folder: (folder / "clips").is_dir(), what="clips/ and train.tsv")
    header, first = (line.split("\t") for line in [*read_lines(root / "train.tsv")[:2], "", ""][:2])
    locale = dict(zip(header, first)).get("locale", "")
    return locale if locale and knows_numbers(locale) else None


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, language=None)
    parser.add_argument("--validated", action="store_true", help="train on validated.tsv but the speakers of dev, test")
    options = parser.parse_args(arguments)
    corpus = read_common_voice(options.corpus_dir, options)
    options.language = options.language or language_of(options.corpus_dir)
    return prepare(corpus, preparation_of(options))


if __name__ == "__main__":
    run_program(main)
