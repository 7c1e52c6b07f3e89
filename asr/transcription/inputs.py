"""Finds what a job is asked to transcribe: folders, files, patterns, a manifest or a list, as recordings with unique
names.

    inputs = find_inputs(["recordings/"])
    inputs[0].name         "monday/a.wav": its path below the deepest folder that all of them share
    inputs.stem(0)         "monday/a": where its transcripts go; "monday/a.wav" beside an a.flac

Of a hundred thousand recordings only the names are kept.
"""

# Paths stay strings here: a hundred thousand Path objects would weigh more than a model.
# ruff: noqa: PTH109, PTH112, PTH114, PTH116, PTH118, PTH120, PTH122, PTH207

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import sys
import time
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from asr.audio.reading import AUDIO_EXTENSIONS, AudioError
from asr.audio.stretch import Stretch
from asr.data.manifest import Manifest
from asr.data.utterance_ids import is_place, place_of
from asr.files.replacing import absolute_path

LONGEST_NAME = 255 - 24  # bytes of a file's name; what remains is for the suffixes of outputs
MANIFEST_SUFFIXES = (".jsonl", ".json")  # NeMo's own are .json
NOT_OURS = frozenset({"report", "transcripts"})  # names that the job's own files have


class InputError(ValueError):
    """Nothing to transcribe, or something that cannot be found; the message starts with what was asked for."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, or a stretch of one, to transcribe."""

    name: str  # unique in the job
    stretch: Stretch  # of an absolute path, all channels
    fields: dict[str, Any] | None = None  # the line of the manifest that it stands in


@dataclass(frozen=True)
class Inputs:
    """Recordings in the order of their names, or of the manifest."""

    root: str  # the folder below which the names are paths; of a manifest, its own
    names: Sequence[str]
    manifest: Manifest | None = None
    passed_over: Counter[str] = field(default_factory=Counter)  # what the folders held beside recordings, by kind
    ambiguous: frozenset[str] = frozenset()  # stems that several recordings have
    taken: frozenset[str] = frozenset()  # and those that have the transcripts of another job's recordings
    crowded: frozenset[str] = frozenset()  # places that several ids of the manifest come down to

    def __len__(self) -> int:
        return len(self.names) if self.manifest is None else len(self.manifest)

    def __iter__(self) -> Iterator[Recording]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Recording:
        if self.manifest is None:
            return Recording(self.names[index], Stretch(os.path.join(self.root, self.names[index])))
        utterance = self.manifest[index]
        fields = {
            "id": utterance.id,
            "duration": utterance.duration,
            "text": utterance.text,
            "speaker": utterance.speaker,
            "offset": utterance.offset,
            **utterance.extra,
        }
        defaults = {"text": "", "speaker": None, "offset": 0.0}
        kept = {key: value for key, value in fields.items() if key not in defaults or value != defaults[key]}
        return Recording(utterance.id, utterance.stretch, kept)

    def stem(self, name: str) -> str:
        """Returns where the transcripts of a recording go, below the output folder and without a suffix.

        The suffix of the recording is left out unless another has the same name without it. Raises AudioError for a
        name of a manifest that is no path below a folder.
        """
        place = place_of(name)
        if not is_place(place):
            raise AudioError(
                f"{name!a}: an id that is no place for a transcript; expected no '..' and no empty part; change the "
                "id, or use --output",
                kind="name",
            )
        if place != name and place in self.crowded:
            place += f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
        stem = self.plain_stem(place)
        is_plain = stem not in self.ambiguous and stem not in NOT_OURS and _shortened(stem) not in self.taken
        return _shortened(stem if is_plain else place)

    @staticmethod
    def plain_stem(name: str) -> str:
        """Returns a name without the suffix of a recording."""
        stem, suffix = os.path.splitext(name)
        return stem if suffix.lower() in AUDIO_EXTENSIONS else name


def find_inputs(
    paths: Sequence[str], *, listed: bytes | None = None, may_be_none: bool = False, root: str | None = None
) -> Inputs:
    """Returns the recordings that `paths` name; `-` stands for the paths in `listed`, one a line or with NUL between
    them.

    Folders are searched with the folders in them, by suffix; hidden files, linked folders and files that are no
    recordings are passed over and counted. A single .jsonl or .json is a manifest, of which no recording may be outside
    of `root`. What a list names and is not there becomes one bad recording; on the command line it is an error.

    Raises:
        InputError: a root without a manifest, a path that is not there, a pattern that fits nothing, no recording.
        ManifestError: as reading it does.
    """
    if len(paths) == 1 and paths[0].endswith(MANIFEST_SUFFIXES):
        manifest = Manifest.read(paths[0], root=root)
        places = [place_of(utterance.id) for utterance in manifest]
        crowded = frozenset(place for place, number in Counter(places).items() if number > 1)
        return Inputs(
            str(manifest.path.parent), (), manifest, ambiguous=_ambiguous(sorted(set(places))), crowded=crowded
        )
    if root is not None:
        raise InputError(f"root: {root} without a manifest; expected one .jsonl file, whose recordings it bounds")
    search = _Search()
    for path in paths:
        if path == "-":
            for item in _listed(listed or b""):
                search.add(item, is_listed=True)
        elif path.endswith(MANIFEST_SUFFIXES):
            raise InputError(f"{path}: a manifest beside other paths; expected it alone; give each its own job")
        else:
            search.add(path, is_listed=False)
    if not search.found and not may_be_none:
        raise InputError(
            f"{' '.join(paths[:3])}: no recordings in it; expected files {', '.join(sorted(AUDIO_EXTENSIONS))}"
        )
    return search.result()


class _Search:
    """Recordings as they are found; their names are known once all have been."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}  # absolute paths; a file that is named twice is transcribed once
        self.roots: set[str] = set()
        self.passed_over: Counter[str] = Counter()

    def add(self, path: str, *, is_listed: bool) -> None:
        full = absolute_path(path)
        if os.path.isdir(full):
            self.roots.add(full)
            self._walk(full)
        elif os.path.lexists(full) or is_listed:
            self._take(full)
        elif glob.has_magic(path):
            self._match(path)
        else:
            raise InputError(f"{path}: no such file or folder; expected recordings, a folder of them, or a pattern")

    def _take(self, full: str) -> None:
        self.roots.add(os.path.dirname(full))
        self.found[full] = None

    def _match(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise InputError(f"{pattern}: no file fits this pattern; expected some; '**' stands for any folders")
        plain = pattern[: next(place for place, letter in enumerate(pattern) if letter in "*?[")]
        self.roots.add(absolute_path(os.path.dirname(plain) or "."))
        for match in matches:
            full = absolute_path(match)
            if os.path.isdir(full):
                self._walk(full)
            elif _has_audio_suffix(full):
                self.found[full] = None
            else:
                self.passed_over[_kind_of_file(full)] += 1

    def _walk(self, folder: str) -> None:
        """Finds every recording below a folder. Linked folders are not followed: they may lead anywhere, and in
        circles.
        """
        for parent, folders, names in os.walk(folder, onerror=self._pass_over_folder):
            linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
            self.passed_over["linked folder"] += len(linked)
            hidden = [name for name in folders + names if name.startswith(".")]
            self.passed_over["hidden"] += len(hidden)
            folders[:] = sorted(set(folders) - set(hidden) - set(linked))
            for name in names:
                if name.startswith("."):
                    continue
                if _has_audio_suffix(name):
                    self.found[os.path.join(parent, name)] = None
                else:
                    self.passed_over[_kind_of_file(name)] += 1

    def _pass_over_folder(self, error: OSError) -> None:
        self.passed_over[f"unreadable folder {error.filename}"] += 1

    def result(self) -> Inputs:
        root = os.path.commonpath(self.roots) if self.roots else os.getcwd()
        prefix = root.rstrip("/") + "/"
        names = sorted(sys.intern(path.removeprefix(prefix)) for path in self.found)
        passed_over = Counter({kind: number for kind, number in self.passed_over.items() if number})
        return Inputs(root, names, passed_over=passed_over, ambiguous=_ambiguous(names))


def _ambiguous(names: Sequence[str]) -> frozenset[str]:
    """Stems that are no place for one recording alone: a.wav, a.flac; then also a.wav.ogg, beside the place a.wav."""
    found: frozenset[str] = frozenset()
    while True:
        stems = {name: Inputs.plain_stem(name) for name in names}
        places = Counter(name if stem in found else stem for name, stem in stems.items())
        shared = {stem for name, stem in stems.items() if places[name if stem in found else stem] > 1}
        if shared <= found:
            return found
        found |= shared


def _listed(content: bytes) -> Iterable[str]:
    """Returns the paths of a list; of one with a line each, a byte order mark and the ends of Windows' lines are left
    out.
    """
    if b"\0" in content:
        parts = content.split(b"\0")
    else:
        parts = [line.removesuffix(b"\r") for line in content.removeprefix(BOM_UTF8).split(b"\n")]
    return (os.fsdecode(part) for part in parts if part.strip())


def _has_audio_suffix(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in AUDIO_EXTENSIONS


def _kind_of_file(path: str) -> str:
    return os.path.splitext(path)[1].lower() or "without a suffix"


def _shortened(stem: str) -> str:
    """Names that leave no room for another suffix are cut, and end in what tells them apart."""
    parts = []
    for part in PurePosixPath(stem).parts:
        encoded = os.fsencode(part)
        if len(encoded) > LONGEST_NAME:
            mark = hashlib.sha256(encoded).hexdigest()[:12]
            part = os.fsencode(part)[: LONGEST_NAME - 13].decode("utf-8", "ignore") + f"~{mark}"
        parts.append(part)
    return "/".join(parts)


def total_bytes(inputs: Inputs, numbers: Iterable[int]) -> int:
    """Adds up the sizes of these files, as far as they are there; progress is measured against it."""
    total = 0
    for number in numbers:
        with contextlib.suppress(OSError):
            total += os.stat(inputs[number].stretch.path).st_size
    return total


def settled(found: Inputs, known: dict[str, tuple[int, int]], settle_seconds: float) -> list[str]:
    """Names that are new or have changed, and have then been left alone; `known` is brought up to date."""
    names = []
    for recording in found:
        try:
            state = os.stat(recording.stretch.path)
        except OSError:
            continue
        now = (state.st_size, state.st_mtime_ns)
        if known.get(recording.name) != now and time.time() - state.st_mtime >= settle_seconds:
            known[recording.name] = now
            names.append(recording.name)
    return names
