"""Manifests: one utterance a line, JSON with NeMo's keys.

    {"id": "a-1", "audio_filepath": "wav/a.wav", "offset": 2.5, "duration": 3.235, "text": "turn it on", "speaker": "a"}

A relative `audio_filepath` is relative to the manifest's folder. A line without `id` is given one, as
asr/data/utterance_ids.py says.
"""

import hashlib
import json
import mmap
import os
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float32, Int64

from asr.audio.stretch import Stretch
from asr.data.utterance_ids import make_ids
from asr.files.json_lines import LineError, bounded_lines, parse_object
from asr.files.replacing import absolute_path

OWN_KEYS = ("id", "audio_filepath", "offset", "duration", "text", "speaker")
LONGEST_DURATION = 1e7  # seconds; above it a float32 could not tell batches apart
LARGEST_OFFSET = 1e9  # seconds; thirty years


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

    @property
    def stretch(self) -> Stretch:
        """Returns where its speech is."""
        return Stretch(self.audio_filepath, self.offset, self.duration)


class Manifest:
    """The utterances of a manifest: every line is checked on reading, and parsed again only when asked for.

    Of each line only its place and duration stay in memory; the lines themselves are memory-mapped. Replace a manifest
    that is in use by renaming (as `write_manifest` does), not by writing into it.
    """

    path: Path
    root: str | None  # the folder, without links, that no recording may be outside of
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
        made_ids: dict[int, str],
        root: str | None,
    ) -> None:
        """Made by `Manifest.read`."""
        self.path = path
        self.root = root
        self.durations = durations
        self.digest = digest
        self._starts = starts  # byte in the file
        self._lines = lines
        self._made_ids = made_ids  # by index, of the lines that have none

    @classmethod
    def read(cls, path: str | Path, *, root: str | Path | None = None) -> "Manifest":
        """Check every line and index it.

        With `root`, every recording must be inside that folder, whatever links lead to; for manifests of strangers.

        Raises:
            ManifestError: naming file and line: not JSON, a key missing, twice or of a wrong type, an impossible
                duration or offset, a path that leaves the manifest's folder by `..` or the root by any way, an id
                twice; or no utterance at all.
        """
        path = Path(absolute_path(path))
        root = _resolved_root(path, root)
        if not path.is_file():
            raise ManifestError(f"{path}: no such file; expected a manifest (JSON lines); data_prep/ writes them")
        starts, durations, ids = array("q"), array("f"), set()
        without_id: dict[int, tuple[str, float]] = {}
        hasher, start = hashlib.sha256(), 0
        with path.open("rb") as file:
            for number, line in _numbered_lines(path, file):
                hasher.update(line)
                if not line.isspace():
                    record = _parse(path, number, line, root)
                    if record.get("id") is None:
                        without_id[len(starts)] = (record["audio_filepath"], record.get("offset", 0.0))
                    elif record["id"] in ids:
                        raise ManifestError(f"{path}:{number}: the id '{record['id']}' twice; expected each id once")
                    else:
                        ids.add(record["id"])
                    starts.append(start)
                    durations.append(record["duration"])
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
            made_ids=dict(zip(without_id, make_ids(without_id.values(), taken=ids))),
            root=root,
        )

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Utterance:
        """Parse one line; a negative index counts from the end."""
        start = int(self._starts[index])
        end = self._lines.find(b"\n", start)
        record = json.loads(self._lines[start:] if end < 0 else self._lines[start:end])
        id_, audio = record.pop("id", None), record.pop("audio_filepath")
        return Utterance(
            id=self._made_ids[range(len(self))[index]] if id_ is None else id_,
            audio_filepath=_recording_path(self.path, audio, self.root),
            duration=float(record.pop("duration")),
            text=record.pop("text", ""),
            speaker=record.pop("speaker", None),
            offset=float(record.pop("offset", 0.0)),
            extra=record,
        )

    def texts(self) -> Iterator[str]:
        """Yields the transcripts alone, in order: three times as fast as the utterances."""
        for start in self._starts.tolist():
            self._lines.seek(start)
            yield json.loads(self._lines.readline()).get("text", "")

    def __iter__(self) -> Iterator[Utterance]:
        return (self[index] for index in range(len(self)))

    def __reduce__(self) -> tuple:
        """Sent to another process, a manifest is read again there: a memory map cannot travel."""
        return _read_again, (self.path, self.root)


def _read_again(path: Path, root: str | None) -> Manifest:
    return Manifest.read(path, root=root)


def _resolved_root(path: Path, root: str | Path | None) -> str | None:
    if root is None:
        return None
    if not Path(root).is_dir():
        raise ManifestError(f"{path}: the root {root} is no folder; expected the one that all recordings are in")
    return os.path.realpath(root)


def _recording_path(path: Path, audio: str, root: str | None) -> str:
    """Returns what the system opens for the `audio_filepath` of the manifest at `path`.

    Raises ManifestError where that is outside of `root`; a root makes the path one without links, so that what was
    checked is what is opened.
    """
    full = absolute_path(path.parent / audio)
    if root is None:
        return full
    real = os.path.realpath(full)
    if not _is_inside(real, root):
        raise ManifestError(f"{path}: audio_filepath '{audio}' is {real}, outside of the root {root}; leave it out")
    return real


def _is_inside(real: str, folder: str) -> bool:
    return real.startswith(folder.rstrip("/") + "/")


def _numbered_lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        for number, line in enumerate(bounded_lines(file), 1):
            yield number, line
    except LineError as error:
        raise ManifestError(f"{path}:{number + 1}: {error}") from None


def _parse(path: Path, number: int, line: bytes, root: str | None) -> dict[str, Any]:
    """Parse and check one line."""
    try:
        record = parse_object(line.removeprefix(BOM_UTF8) if number == 1 else line)
    except LineError as error:
        raise ManifestError(f"{path}:{number}: {error}") from error
    if fault := fault_of_line(record):
        raise ManifestError(f"{path}:{number}: {fault}")
    if root is not None:
        try:
            _recording_path(path, record["audio_filepath"], root)
        except ManifestError as error:
            raise ManifestError(str(error).replace(f"{path}:", f"{path}:{number}:", 1)) from None
    return record


def fault_of_line(record: dict[str, Any]) -> str | None:
    """Returns what is wrong with a line, or None; a large manifest has a million, of which most leave early."""
    id_, audio, duration = record.get("id"), record.get("audio_filepath"), record.get("duration", 0)
    if id_ is not None and (not isinstance(id_, str) or not id_):
        return f"id is {id_!r}; expected a string that is not empty, or none; data_prep.nemo makes strings of numbers"
    if not isinstance(audio, str) or not audio:
        return f"audio_filepath is {audio!r}; expected a string that is not empty"
    if ".." in audio and not audio.startswith("/") and _leaves(audio):
        return (
            f"audio_filepath is '{audio}', outside the manifest's folder; expected a path below it or an absolute one"
        )
    if type(duration) not in (float, int) or not 0 < duration < LONGEST_DURATION:
        return f"duration is {duration!r}; expected seconds, above 0 and below {LONGEST_DURATION:.0f}"
    offset, text, speaker = record.get("offset", 0.0), record.get("text", ""), record.get("speaker")
    if type(offset) not in (float, int) or not 0 <= offset < LARGEST_OFFSET:
        return f"offset is {offset!r}; expected seconds, 0 or more and below {LARGEST_OFFSET:.0f}"
    if not isinstance(text, str):
        return f"text is {text!r}; expected a string"
    if speaker is not None and not isinstance(speaker, str):
        return f"speaker is {speaker!r}; expected a string or null"
    for value in (id_ or "", audio, text, speaker or ""):
        # json.loads accepts half a surrogate pair ("\ud800"), which no file can hold again.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return f"{value!a} holds half a character; expected valid Unicode"
    return None


def _leaves(audio: str) -> bool:
    """Returns whether a relative path leads out of its folder, as it is written; where links lead is what a root is
    for.
    """
    depth = 0
    for part in audio.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False
