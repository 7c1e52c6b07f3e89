"""speechocean762: English sentences read by 250 Mandarin speakers, scored by experts; https://www.openslr.org/101

Train and test are the official ones, without shared speakers; dev is carved from train by speaker. The transcripts are
what was to be read: an utterance counts only when the experts gave its accuracy (0 to 10) at least the minimum.
"""

import argparse
from pathlib import Path

from asr.files.json_lines import parse_object
from asr.process.runtime import run_program
from data_prep.corpus import carve, inner_folder, missed_share, prepare, read_lines
from data_prep.entries import Corpus, CorpusError, Dropped, Entry
from data_prep.kaldi import read_kaldi_folder
from data_prep.options import corpus_parser, preparation_of

ARCHIVES = {"https://www.openslr.org/resources/101/speechocean762.tar.gz": None}


def read_accuracies(resource: Path) -> dict[str, float]:
    """Returns the experts' accuracy, 0 to 10, of each utterance.

    From `scores.json` (`{"000010011": {"accuracy": 8, ...}, ...}`), or `utt_scores.tsv`, whose columns are id, split,
    speaker, age, duration, accuracy, mean phone accuracy, text.

    Raises:
        CorpusError: neither is there, or not in that form.
    """
    scores, table = resource / "scores.json", resource / "utt_scores.tsv"
    path = scores if scores.is_file() else table
    try:
        if path == scores:
            return {id_: float(score["accuracy"]) for id_, score in parse_object(path.read_bytes()).items()}
        found: dict[str, float] = {}
        for id_, *cells in (line.split("\t") for line in read_lines(path)):
            if id_ in found:
                raise CorpusError(f"{path}: {id_} twice; expected an accuracy of each id")
            found[id_] = float(cells[4])
        return found
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{path}: not in the expected form ({error!r}); expected an accuracy of each id") from error


def read_speechocean762(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read both splits, leave out what was read wrong, and carve dev.

    Raises:
        CorpusError: not this corpus, or an utterance without accuracy.
    """
    root = inner_folder(corpus_dir, holds=lambda folder: (folder / "train" / "wav.scp").is_file(), what="train/wav.scp")
    accuracies = read_accuracies(root / "resource")
    minimums = {"train": arguments.min_accuracy, "test": arguments.min_test_accuracy}
    splits: dict[str, list[Entry]] = {}
    dropped: list[Dropped] = []
    for name, minimum in minimums.items():
        splits[name] = []
        for entry in read_kaldi_folder(root / name, audio_root=root):
            if entry.id not in accuracies:
                raise CorpusError(f"{root / 'resource'}: no accuracy of {entry.id}; expected one for every utterance")
            if accuracies[entry.id] >= minimum:
                splits[name].append(entry)
            else:
                reason = f"accuracy below {minimum:g} in {name}"
                dropped.append(Dropped(entry.id, str(entry.audio), reason, f"{accuracies[entry.id]:g}"))
    how = {"name": "dev", "share": arguments.dev_share, "by": arguments.split_by}
    whole = splits["train"]
    splits["train"], splits["dev"] = carve(whole, **how)
    notes = tuple(missed_share(whole, splits["dev"], **how))
    return Corpus(splits, tuple(dropped), shares_speakers=arguments.split_by != "speaker", notes=notes)


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="speaker", dev=0.08)
    parser.add_argument("--min-accuracy", type=float, default=6.0, help="of training and dev utterances, 0 to 10 (6)")
    parser.add_argument("--min-test-accuracy", type=float, default=7.0, help="of test utterances, 0 to 10 (7)")
    parser.add_argument("--download", action="store_true", help="fetch it into CORPUS_DIR first (520 MB)")
    options = parser.parse_args(arguments)
    if options.download:
        from data_prep.download import fetch

        fetch(ARCHIVES, options.corpus_dir)
    return prepare(read_speechocean762(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
