"""Manifests in NeMo's form: JSON lines with audio_filepath, duration and text; offset, speaker, id where there are.

CORPUS_DIR holds one manifest for each split (train, dev, test; or train_manifest, ...; .json or .jsonl), or a single
one, which is then split. Other keys of a line are kept. A line without id gets one of its
recording's path, as asr/data/utterance_ids.py says.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr.data.utterance_ids import make_ids
from asr.files.json_lines import LineError, parse_object
from asr.process.runtime import run_program
from data_prep.corpus import prepare, read_lines, split_up
from data_prep.entries import Corpus, CorpusError, Entry
from data_prep.layout import by_split, left_out, split_of
from data_prep.options import corpus_parser, preparation_of, splitting_of

TYPES = {"audio_filepath": str, "text": str, "duration": (int, float), "offset": (int, float)}
OPTIONAL = {"id": (str, int), "speaker": (str, int)}


def read_nemo_manifest(path: Path) -> list[Entry]:
    """Returns the lines of one manifest.

    Raises:
        CorpusError: naming file and line: not JSON, or a key missing or of a wrong type.
    """
    records: dict[int, dict[str, Any]] = {}  # by line
    for number, line in enumerate(read_lines(path), 1):
        if line.strip(" \t"):
            try:
                records[number] = _checked(path, number, {"offset": 0.0, **parse_object(line)})
            except LineError as error:
                raise CorpusError(f"{path}:{number}: {error}") from error
    given = {str(record["id"]) for record in records.values() if record.get("id") is not None}
    without = [(each["audio_filepath"], float(each["offset"])) for each in records.values() if each.get("id") is None]
    made = iter(make_ids(without, taken=given))
    return [_entry(path, number, record, made) for number, record in records.items()]


def _checked(path: Path, number: int, record: dict[str, Any]) -> dict[str, Any]:
    from asr.data.manifest import LARGEST_OFFSET

    for key, type_ in (TYPES | {key: type_ for key, type_ in OPTIONAL.items() if record.get(key) is not None}).items():
        if not isinstance(record.get(key), type_) or isinstance(record.get(key), bool):
            raise CorpusError(f"{path}:{number}: {key} is {record.get(key)!r}; expected {_in_words(type_)}")
    for key in ("duration", "offset"):
        if not abs(record[key]) < LARGEST_OFFSET:
            raise CorpusError(f"{path}:{number}: {key} is {record[key]}; expected seconds below {LARGEST_OFFSET:.0f}")
    return record


def _entry(path: Path, number: int, record: dict[str, Any], made_ids: Iterator[str]) -> Entry:
    id_, speaker = record.pop("id", None), record.pop("speaker", None)
    return Entry(
        id=next(made_ids) if id_ is None else str(id_),
        audio=path.parent / record.pop("audio_filepath"),
        text=record.pop("text"),
        speaker=None if speaker is None else str(speaker),
        offset=float(record.pop("offset")),
        duration=float(record.pop("duration")),
        extra=record,
        place=f"{path.name}:{number}",
    )


def _in_words(types: Any) -> str:
    names = {str: "text", int: "a whole number", float: "seconds"}
    return " or ".join(names[each] for each in (types if isinstance(types, tuple) else (types,)))


def read_nemo(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read a manifest for each split, or the only one.

    Raises:
        CorpusError: no manifest, or several that are not named after splits; and as `read_nemo_manifest`.
    """
    found = sorted(path for pattern in ("*.json", "*.jsonl") for path in corpus_dir.glob(pattern))
    names = {path: path.stem.removesuffix("_manifest").removeprefix("manifest_") for path in found}
    named = by_split(corpus_dir, ((name, path) for path, name in names.items()))
    if named:
        others = [path.name for path, name in names.items() if split_of(name) is None]
        return Corpus(
            {name: read_nemo_manifest(path) for name, path in named.items()},
            notes=left_out("manifests", others, "expected train, dev and test"),
        )
    if len(found) != 1:
        raise CorpusError(
            f"{corpus_dir}: {len(found)} files named *.json or *.jsonl; expected one manifest, or train.jsonl, ..."
        )
    return split_up(read_nemo_manifest(found[0]), splitting_of(arguments))


def main(arguments: list[str] | None = None) -> int:
    options = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1).parse_args(arguments)
    return prepare(read_nemo(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
