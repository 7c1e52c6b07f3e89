"""Free Spoken Digit Dataset: six men say ten digits, 8 kHz; https://github.com/Jakobovski/free-spoken-digit-dataset

Official test: index 0 to 4 of every speaker and digit; dev is carved from the rest. All speakers are in all splits,
unless one is left out to be the test set.
"""

import argparse
import re
from pathlib import Path

from asr.process.runtime import run_program
from data_prep.corpus import carve, inner_folder, missed_share, prepare
from data_prep.entries import Corpus, CorpusError, Entry
from data_prep.layout import left_out
from data_prep.options import corpus_parser, preparation_of

ARCHIVES = {"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz": None}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)")
NUM_TEST = 5  # recordings of each digit and speaker


def read_fsdd(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read `recordings/{digit}_{speaker}_{index}.wav` (or .flac).

    Raises:
        CorpusError: no recordings, or no such speaker to leave out.
    """
    root = inner_folder(corpus_dir, holds=lambda folder: (folder / "recordings").is_dir(), what="recordings/")
    train, test, others = [], [], []
    for path in sorted((root / "recordings").iterdir()):
        match = NAME.fullmatch(path.stem)
        if not match:
            others.append(path.name)
            continue
        entry = Entry(path.stem, path, WORDS[int(match["digit"])], speaker=match["speaker"])
        held_out = (
            int(match["index"]) < NUM_TEST if arguments.leave_out is None else entry.speaker == arguments.leave_out
        )
        (test if held_out else train).append(entry)
    if arguments.leave_out and not test:
        speakers = sorted({str(entry.speaker) for entry in train})
        raise CorpusError(f"--leave-out {arguments.leave_out}: no such speaker; expected one of {', '.join(speakers)}")
    rest, dev = carve(train, name="dev", share=arguments.dev_share, by=arguments.split_by)
    notes = (
        *left_out("files", others, "expected names as {digit}_{speaker}_{index}"),
        *missed_share(train, dev, name="dev", share=arguments.dev_share, by=arguments.split_by),
    )
    return Corpus({"train": rest, "dev": dev, "test": test}, shares_speakers=True, notes=notes)


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="id", dev=0.1)
    parser.add_argument("--leave-out", metavar="SPEAKER", help="this speaker is the test set, and in no other split")
    parser.add_argument("--download", action="store_true", help="fetch it into CORPUS_DIR first (15 MB)")
    options = parser.parse_args(arguments)
    if options.download:
        from data_prep.download import fetch

        fetch(ARCHIVES, options.corpus_dir)
    return prepare(read_fsdd(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
