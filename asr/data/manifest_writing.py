"""Writes a manifest that reading accepts, whole or not at all."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asr.data.manifest import OWN_KEYS, ManifestError, Utterance, fault_of_line
from asr.files.replacing import absolute_path, replacing


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write a manifest, whole or not at all, and give its number of lines.

    A recording below the manifest's folder is named relative to it, so that the two can move together.

    Raises:
        ManifestError: an utterance that reading would refuse, a relative `audio_filepath`, or an own key in `extra`.
    """
    path = Path(absolute_path(path))
    ids: set[str] = set()
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for number, utterance in enumerate(utterances, 1):
            record = _record(path, number, utterance)
            ids.add(utterance.id)
            if len(ids) < number:
                raise ManifestError(f"{path}:{number}: the id '{utterance.id}' twice; expected each id once")
            try:
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            except ValueError as error:
                raise ManifestError(f"{path}:{number}: {error}; expected finite numbers") from error
    return len(ids)


def _record(path: Path, number: int, utterance: Utterance) -> dict[str, Any]:
    """Returns one line of the manifest at `path`, as JSON's types."""
    if clash := utterance.extra.keys() & set(OWN_KEYS):
        raise ManifestError(f"{path}:{number}: extra has {sorted(clash)}; expected none of {list(OWN_KEYS)} there")
    if not Path(utterance.audio_filepath).is_absolute():
        raise ManifestError(f"{path}:{number}: the path '{utterance.audio_filepath}'; expected an absolute one")
    audio = Path(absolute_path(utterance.audio_filepath))
    is_below = audio.is_relative_to(path.parent) and ".." not in audio.parts
    record: dict[str, Any] = {
        "id": utterance.id,
        "audio_filepath": str(audio.relative_to(path.parent) if is_below else audio),
    }
    if utterance.offset:
        record["offset"] = utterance.offset
    record |= {"duration": utterance.duration, "text": utterance.text}
    if utterance.speaker is not None:
        record["speaker"] = utterance.speaker
    if fault := fault_of_line(record):
        raise ManifestError(f"{path}:{number}: {fault}")
    return record | utterance.extra
