"""LibriSpeech: read English, 16 kHz, 1,000 hours; https://www.openslr.org/12

CORPUS_DIR holds LibriSpeech/ or is that folder. Its parts are splits by their names: train-*, dev-*, test-*, whose
speakers differ; choose some with --parts.
"""

import argparse
from pathlib import Path

from asr.process.runtime import run_program
from data_prep.corpus import inner_folder, prepare, read_lines
from data_prep.entries import SPLITS, Corpus, CorpusError, Entry
from data_prep.options import corpus_parser, preparation_of

ADDRESS = "https://www.openslr.org/resources/12/"
CHECKSUMS = {  # as torchaudio publishes them
    "dev-clean": "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}


def read_librispeech(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read `PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` and the .flac files beside it.

    Raises:
        CorpusError: no part, none of a wanted name, or a line without transcript.
    """
    root = inner_folder(
        corpus_dir,
        holds=lambda folder: any((folder / part).is_dir() for part in CHECKSUMS),
        what="train-clean-100/, ...",
    )
    parts = arguments.parts or [part for part in CHECKSUMS if (root / part).is_dir()]
    splits: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    for part in parts:
        if not (root / part).is_dir():
            raise CorpusError(f"{root}: no part {part}; --download fetches those named by --parts")
        for transcripts in sorted((root / part).glob("*/*/*.trans.txt")):
            splits[part.split("-")[0]] += _read_chapter(transcripts, part)
    return Corpus(splits)


def _read_chapter(transcripts: Path, part: str) -> list[Entry]:
    entries = []
    for number, line in enumerate(read_lines(transcripts), 1):
        id_, _, text = line.partition(" ")
        if not text:
            raise CorpusError(f"{transcripts}:{number}: '{line}'; expected an id and its transcript")
        audio = transcripts.parent / f"{id_}.flac"
        speaker, place = transcripts.parent.parent.name, f"{transcripts.name}:{number}"
        entries.append(Entry(id_, audio, text, speaker=speaker, extra={"part": part}, place=place))
    return entries


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__)
    parser.add_argument("--parts", nargs="+", choices=sorted(CHECKSUMS), help="only these (all that are there)")
    parser.add_argument("--download", action="store_true", help="fetch --parts into CORPUS_DIR first")
    options = parser.parse_args(arguments)
    if options.download:
        from data_prep.download import fetch

        if not options.parts:
            raise CorpusError(f"--download: all parts are 60 GB; choose some: --parts {' '.join(sorted(CHECKSUMS))}")
        fetch({f"{ADDRESS}{part}.tar.gz": CHECKSUMS[part] for part in options.parts}, options.corpus_dir)
    return prepare(read_librispeech(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
