"""Manifests in NeMo's form: JSON lines with audio_filepath, duration and text; offset, speaker, id where there are.

CORPUS_DIR holds one manifest for each split (train, dev, test; or train_manifest, ...; .json or .jsonl), or a single
one, which is then split. Other keys of a line are kept. A line without id gets its recording's path as one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from asr.runtime import run_program
from data_prep.corpus import corpus_parser, prepare, read_lines, split_up
from data_prep.entries import SPLITS, Corpus, CorpusError, Entry

TYPES = {"audio_filepath": str, "text": str, "duration": (int, float), "offset": (int, float)}
OPTIONAL = {"id": (str, int), "speaker": (str, int)}


def read_nemo_manifest(path: Path) -> list[Entry]:
    """The lines of one manifest.

    Raises:
        CorpusError: naming file and line: not JSON, or a key missing or of a wrong type.
    """
    entries = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{path}:{number}: not JSON ({error}); expected one object a line") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{path}:{number}: {type(record).__name__}; expected a JSON object")
        entries.append(_entry(path, number, {"offset": 0.0, **record}))
    return entries


def _entry(path: Path, number: int, record: dict[str, Any]) -> Entry:
    for key, type_ in (TYPES | {key: type_ for key, type_ in OPTIONAL.items() if record.get(key) is not None}).items():
        if not isinstance(record.get(key), type_) or isinstance(record.get(key), bool):
            raise CorpusError(f"{path}:{number}: {key} is {record.get(key)!r}; expected {_in_words(type_)}")
    audio, offset = record.pop("audio_filepath"), float(record.pop("offset"))
    id_, speaker = record.pop("id", None), record.pop("speaker", None)
    stem = Path(audio).with_suffix("").as_posix() + (f"@{offset:g}" if offset else "")
    return Entry(
        id=stem if id_ is None else str(id_),
        audio=path.parent / audio,
        text=record.pop("text"),
        speaker=None if speaker is None else str(speaker),
        offset=offset,
        duration=float(record.pop("duration")),
        extra=record,
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
    named = {name: [path for path in found if path.stem in (name, f"{name}_manifest")] for name in SPLITS}
    named = {name: paths[0] for name, paths in named.items() if paths}
    if named:
        return Corpus({name: read_nemo_manifest(path) for name, path in named.items()})
    if len(found) != 1:
        raise CorpusError(
            f"{corpus_dir}: {len(found)} files named *.json or *.jsonl; expected one manifest, or train.jsonl, ..."
        )
    return split_up(read_nemo_manifest(found[0]), arguments)


def main(arguments: list[str] | None = None) -> int:
    options = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1).parse_args(arguments)
    return prepare(read_nemo(options.corpus_dir, options), options)


if __name__ == "__main__":
    run_program(main)
