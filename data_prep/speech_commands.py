"""Speech Commands: 35 words by 2,618 speakers, one second each, 16 kHz; https://arxiv.org/abs/1804.03209

A folder a word, with files SPEAKER_nohash_K. Splits are the official validation_list.txt and testing_list.txt where
they are, else carved by speaker. In `_unknown_`, as in the official test archive, a file's name starts with its word;
`_silence_` and `_background_noise_` are not speech and left out.
"""

import argparse
import re
from pathlib import Path

from asr.process.runtime import run_program
from data_prep.corpus import prepare, read_lines, split_up
from data_prep.entries import Corpus, CorpusError, Dropped, Entry
from data_prep.layout import left_out
from data_prep.options import corpus_parser, preparation_of, splitting_of

ARCHIVES = {
    "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz": (
        "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
    )
}
NAME = re.compile(r"(?:(?P<word>[a-z]+)_)?(?P<speaker>[0-9a-f]{8})_nohash_\d+")
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}


def read_speech_commands(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read the folders of words.

    Raises:
        CorpusError: no folders of words.
    """
    from asr.audio.reading import find_recordings

    entries: list[Entry] = []
    dropped: list[Dropped] = []
    no_words: list[str] = []
    for path in find_recordings(corpus_dir):
        folder, match = path.parent.name, NAME.fullmatch(path.stem)
        if folder in ("_silence_", "_background_noise_"):
            no_words.append(f"{folder}/{path.name}")
            continue
        word = folder if folder != "_unknown_" else match and match["word"]
        if not match or not word:
            dropped.append(Dropped(path.stem, str(path), "a name that tells no word or speaker"))
            continue
        entries.append(Entry(f"{word}/{path.stem}", path, word.replace("_", " "), speaker=match["speaker"]))
    if not entries:
        raise CorpusError(f"{corpus_dir}: no WORD/SPEAKER_nohash_K recordings; expected Speech Commands")
    notes = left_out("recordings", no_words, "their folders are no words")
    if not (corpus_dir / LISTS["test"]).is_file():
        return split_up(entries, splitting_of(arguments), dropped=dropped, notes=notes)
    listed = {name: set(read_lines(corpus_dir / list_name)) for name, list_name in LISTS.items()}
    splits: dict[str, list[Entry]] = {"train": [], "dev": [], "test": []}
    for entry in entries:
        inside = entry.audio.relative_to(corpus_dir).as_posix()
        splits[next((name for name in listed if inside in listed[name]), "train")].append(entry)
    return Corpus(splits, tuple(dropped), notes=notes)


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1)
    parser.add_argument("--download", action="store_true", help="fetch version 0.02 into CORPUS_DIR first (2.4 GB)")
    options = parser.parse_args(arguments)
    if options.download:
        from data_prep.download import fetch

        fetch(ARCHIVES, options.corpus_dir)
    return prepare(read_speech_commands(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
