"""Manifests: one utterance a line, JSON with NeMo's keys.

    {"id": "a-1", "audio_filepath": "wav/a.wav", "offset": 2.5, "duration": 3.235, "text": "turn it on", "speaker": "a"}

A relative `audio_filepath` is relative to the manifest's folder.
"""

import hashlib
import json
import math
import mmap
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from asr.files import replacing

OWN_KEYS = ("id", "audio_filepath", "offset", "duration", "text", "speaker")
LONGEST_DURATION = 1e7  # seconds; above it a float32 could not tell batches apart


class ManifestError(ValueError):
    """A manifest that cannot be used; the message starts with its path and line."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech with its transcript."""

    id: str
    audio_filepath: str  # absolute after reading
    duration: float  # seconds
    text: str = ""
    speaker: str | None = None
    offset: float = 0.0  # seconds into the recording
    extra: dict[str, Any] = field(default_factory=dict)  # a line's other keys, kept as they are


class Manifest:
    """The utterances of a manifest: every line is checked on reading, and parsed again only when asked for.

    Of each line only its place and duration stay in memory; the lines themselves are memory-mapped. Replace a manifest
    that is in use by renaming (as `write_manifest` does), not by writing into it.
    """

    path: Path
    durations: Float32[np.ndarray, " utterance"]  # seconds
    digest: str  # SHA-256 of the file, in hex

    def __init__(
        self,
        path: Path,
        *,
        starts: Int64[np.ndarray, " utterance"],
        durations: Float32[np.ndarray, " utterance"],
        digest: str,
        lines: mmap.mmap,
    ) -> None:
        """Made by `Manifest.read`."""
        self.path = path
        self.durations = durations
        self.digest = digest
        self._starts = starts  # byte in the file
        self._lines = lines

    @classmethod
    def read(cls, path: str | Path) -> "Manifest":
        """Check every line and index it.

        Raises:
            ManifestError: naming file and line: not JSON, a key missing or of a wrong type, an impossible duration or
                offset, a path that leaves the manifest's folder by `..`, an id twice; or no utterance at all.
        """
        path = Path(os.path.normpath(Path(path).absolute()))
        if not path.is_file():
            raise ManifestError(f"{path}: no such file; expected a manifest (JSON lines); data_prep/ writes them")
        starts, durations, ids = array("q"), array("f"), set()
        hasher, start = hashlib.sha256(), 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                hasher.update(line)
                if not line.isspace():
                    record = _parse(path, number, line)
                    starts.append(start)
                    durations.append(record["duration"])
                    ids.add(record["id"])
                    if len(ids) < len(starts):
                        raise ManifestError(f"{path}:{number}: the id '{record['id']}' twice; expected each id once")
                start += len(line)
            if not starts:
                raise ManifestError(f"{path}: no utterances; expected one JSON object a line")
            lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(
            path,
            starts=np.frombuffer(starts, dtype=np.int64),
            durations=np.frombuffer(durations, dtype=np.float32),
            digest=hasher.hexdigest(),
            lines=lines,
        )

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Utterance:
        """Parse one line; a negative index counts from the end."""
        start = int(self._starts[index])
        end = self._lines.find(b"\n", start)
        record = json.loads(self._lines[start:] if end < 0 else self._lines[start:end])
        return Utterance(
            id=record.pop("id"),
            audio_filepath=os.path.normpath(self.path.parent / record.pop("audio_filepath")),
            duration=float(record.pop("duration")),
            text=record.pop("text", ""),
            speaker=record.pop("speaker", None),
            offset=float(record.pop("offset", 0.0)),
            extra=record,
        )

    def texts(self) -> Iterator[str]:
        """The transcripts alone, in order: three times as fast as the utterances."""
        for start in self._starts.tolist():
            self._lines.seek(start)
            yield json.loads(self._lines.readline()).get("text", "")

    def __iter__(self) -> Iterator[Utterance]:
        return (self[index] for index in range(len(self)))

    def __reduce__(self) -> tuple:
        """Sent to another process, a manifest is read again there: a memory map cannot travel."""
        return Manifest.read, (self.path,)


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write a manifest, whole or not at all, and give its number of lines.

    A recording below the manifest's folder is named relative to it, so that the two can move together.

    Raises:
        ManifestError: an utterance that reading would refuse, a relative `audio_filepath`, or an own key in `extra`.
    """
    path = Path(os.path.normpath(Path(path).absolute()))
    ids: set[str] = set()
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for number, utterance in enumerate(utterances, 1):
            record = _record(path, number, utterance)
            ids.add(utterance.id)
            if len(ids) < number:
                raise ManifestError(f"{path}:{number}: the id '{utterance.id}' twice; expected each id once")
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return len(ids)


def _record(path: Path, number: int, utterance: Utterance) -> dict[str, Any]:
    """One line of the manifest at `path`, as JSON's types."""
    if clash := utterance.extra.keys() & set(OWN_KEYS):
        raise ManifestError(f"{path}:{number}: extra has {sorted(clash)}; expected none of {list(OWN_KEYS)} there")
    if not Path(utterance.audio_filepath).is_absolute():
        raise ManifestError(f"{path}:{number}: the path '{utterance.audio_filepath}'; expected an absolute one")
    audio = Path(os.path.normpath(utterance.audio_filepath))
    record: dict[str, Any] = {
        "id": utterance.id,
        "audio_filepath": str(audio.relative_to(path.parent) if audio.is_relative_to(path.parent) else audio),
    }
    if utterance.offset:
        record["offset"] = utterance.offset
    record |= {"duration": utterance.duration, "text": utterance.text}
    if utterance.speaker is not None:
        record["speaker"] = utterance.speaker
    if fault := _fault(record):
        raise ManifestError(f"{path}:{number}: {fault}")
    return record | utterance.extra


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse and check one line."""
    try:
        record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}:{number}: not JSON ({error}); expected one JSON object a line") from error
    if not isinstance(record, dict):
        raise ManifestError(f"{path}:{number}: {type(record).__name__}; expected a JSON object with {list(OWN_KEYS)}")
    if fault := _fault(record):
        raise ManifestError(f"{path}:{number}: {fault}")
    return record


def _fault(record: dict[str, Any]) -> str | None:
    """What is wrong with a line, or None. Runs a million times for a large manifest: the usual case leaves early."""
    id_, audio, duration = record.get("id"), record.get("audio_filepath"), record.get("duration", 0)
    if not isinstance(id_, str) or not id_:
        return f"id is {id_!r}; expected a string that is not empty; data_prep.nemo gives ids to manifests without"
    if not isinstance(audio, str) or not audio:
        return f"audio_filepath is {audio!r}; expected a string that is not empty"
    if ".." in audio and not audio.startswith("/") and os.path.normpath(audio).split("/")[0] == "..":
        return (
            f"audio_filepath is '{audio}', outside the manifest's folder; expected a path below it or an absolute one"
        )
    if type(duration) not in (float, int) or not 0 < duration < LONGEST_DURATION:
        return f"duration is {duration!r}; expected seconds, above 0 and below {LONGEST_DURATION:.0f}"
    offset, text, speaker = record.get("offset", 0.0), record.get("text", ""), record.get("speaker")
    if type(offset) not in (float, int) or not (offset >= 0 and math.isfinite(offset)):
        return f"offset is {offset!r}; expected seconds, 0 or more"
    if not isinstance(text, str):
        return f"text is {text!r}; expected a string"
    if speaker is not None and not isinstance(speaker, str):
        return f"speaker is {speaker!r}; expected a string or null"
    for value in (id_, audio, text, speaker or ""):
        # json.loads accepts half a surrogate pair ("\ud800"), which no file can hold again.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return f"{value!a} holds half a character; expected valid Unicode"
    return None
