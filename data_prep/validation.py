"""Finds what is usable of a corpus: recordings are probed (in threads, remembered), entries checked one by one."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import track

from asr.audio.reading import AudioError, read_audio, read_info
from asr.data.manifest import Utterance
from asr.files.replacing import absolute_path, split_lines
from data_prep.entries import TWO_TRANSCRIPTS, Checks, Dropped, Entry
from data_prep.transcripts import TranscriptCleaner

ROUNDING = 0.1  # seconds a stated stretch may reach past the end of its recording
PROBES_NAME = ".probes.jsonl"


@dataclass(frozen=True)
class Probe:
    """Holds what a recording's file turned out to have, as of its size and time of change."""

    path: str
    size: int  # bytes
    changed_ns: int
    decoded: bool  # all samples were read, not only the header
    sample_rate: int = 0  # hertz
    duration: float = 0.0  # seconds
    fault: str = ""  # why it is unreadable


@dataclass(frozen=True)
class _Looked:
    """An entry with what was found of its recording."""

    split: str
    entry: Entry
    text: str  # as the manifest would have it
    probe: Probe | None
    fault: tuple[str, str] | None  # reason and detail

    @property
    def stretch(self) -> tuple[str, int, int]:
        """Returns its file behind all links, and its first and last millisecond, however they are stated."""
        assert self.probe is not None
        end = self.entry.offset + _duration(self.entry, self.probe)
        return os.path.realpath(self.entry.audio), round(1000 * self.entry.offset), round(1000 * end)


@dataclass(frozen=True)
class Kept:
    """An utterance for the manifest, with the rate of its recording for the summary."""

    utterance: Utterance
    sample_rate: int  # hertz


def validate(
    splits: Mapping[str, list[Entry]],
    *,
    checks: Checks,
    output_dir: Path,
    cleaner: TranscriptCleaner | None = None,
) -> tuple[dict[str, list[Kept]], list[Dropped]]:
    """Keep of each split what `checks` allow, in its order; the rest is dropped, each with its reason.

    `cleaner` makes the transcripts and counts; one is made of `checks` where there is none.
    What was learnt of a recording is remembered in `output_dir`, so that a rerun looks only at new or changed files.
    """
    cleaner = cleaner or TranscriptCleaner(keep_text=checks.keep_text, language=checks.language)
    paths = {entry.audio for entries in splits.values() for entry in entries}
    probes = probe_recordings(sorted(paths), checks=checks, output_dir=output_dir)
    looked: list[_Looked] = []
    for name, entries in splits.items():
        for entry in entries:
            text, probe = cleaner.clean(entry.text), probes.get(entry.audio)
            looked.append(_Looked(name, entry, text, probe, _fault(entry, probe, text, checks=checks)))
    contradicted = _contradicted(looked)
    kept: dict[str, list[Kept]] = {name: [] for name in splits}
    dropped: list[Dropped] = []
    ids: set[str] = set()
    stretches: set[tuple[str, int, int]] = set()
    for number, each in enumerate(looked):
        entry, probe, fault = each.entry, each.probe, each.fault
        if number in contradicted:
            fault = (TWO_TRANSCRIPTS, contradicted[number])
        elif entry.id in ids:
            fault = ("id twice", "")
        elif not fault and each.stretch in stretches:
            fault = ("recording listed twice", "")
        if fault or probe is None:
            dropped.append(Dropped(entry.id, str(entry.audio), *(fault or ("no such file", ""))))
            continue
        cleaner.count(entry.text)
        ids.add(entry.id)
        stretches.add(each.stretch)
        kept[each.split].append(Kept(_utterance(entry, probe, each.text), probe.sample_rate))
    return kept, dropped


def _contradicted(looked: Sequence[_Looked]) -> dict[int, str]:
    """Returns the numbers of the usable entries whose stretch has another transcript too, with all of them.

    Nobody can say here which one is right, so none is kept.
    """
    listed: dict[tuple[str, int, int], list[int]] = {}
    for number, each in enumerate(looked):
        if each.fault is None:
            listed.setdefault(each.stretch, []).append(number)
    found = {}
    for numbers in listed.values():
        if len({looked[number].text for number in numbers}) > 1:
            detail = " and ".join(
                f"'{looked[number].text}' ({looked[number].entry.place or looked[number].entry.id})"
                for number in numbers
            )
            found |= dict.fromkeys(numbers, detail)
    return found


def _fault(entry: Entry, probe: Probe | None, text: str, *, checks: Checks) -> tuple[str, str] | None:
    """Why an entry is not usable, as reason and detail, or None."""
    if checks.root and not Path(absolute_path(entry.audio)).resolve().is_relative_to(checks.root.resolve()):
        return "outside of --root", str(entry.audio.resolve())
    if probe is None:
        return "no such file", _spelled_otherwise(entry.audio)
    if probe.fault:
        return "unreadable", probe.fault
    if probe.sample_rate < checks.lowest_rate or checks.sample_rate not in (None, probe.sample_rate):
        return "wrong sample rate", f"{probe.sample_rate} Hz"
    if not 0 <= entry.offset < probe.duration or entry.offset + (entry.duration or 0) > probe.duration + ROUNDING:
        return "past the recording's end", f"{entry.offset} + {entry.duration} of {probe.duration:.3f} s"
    duration = _duration(entry, probe)
    if duration < checks.shortest:
        return "too short", f"{duration:.3f} s"
    if duration > checks.longest:
        return "too long", f"{duration:.3f} s"
    if not text.strip():
        return "empty transcript", ""
    if checks.characters is not None and (unknown := set(text) - set(checks.characters) - {" "}):
        return "characters outside the vocabulary", " ".join(sorted(unknown))
    return None


def _spelled_otherwise(audio: Path) -> str:
    """Returns what is the matter with a path where its file is there under a like name, else nothing."""
    stripped = Path(*(part.strip() or part for part in audio.parts))
    if stripped != audio and stripped.is_file():
        return "there are blanks around its name; without them it is there"
    if "\\" in str(audio) and Path(str(audio).replace("\\", "/")).is_file():
        return "it is there with / in place of \\"
    return ""


def _duration(entry: Entry, probe: Probe) -> float:
    to_the_end = probe.duration - entry.offset
    return to_the_end if entry.duration is None else min(entry.duration, to_the_end)


def _utterance(entry: Entry, probe: Probe, text: str) -> Utterance:
    return Utterance(
        id=entry.id,
        audio_filepath=absolute_path(entry.audio),
        duration=round(_duration(entry, probe), 6),
        text=text,
        speaker=entry.speaker,
        offset=entry.offset,
        extra=entry.extra,
    )


def probe_recordings(paths: Iterable[Path], *, checks: Checks, output_dir: Path) -> dict[Path, Probe]:
    """Probe recordings, in threads; those missing are absent from the result.

    Each probe is appended to a file in `output_dir` as soon as it is made: an interrupted run loses at most the last
    line. A probe counts again while the file's size and time of change are the same.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    remembered_at = output_dir / PROBES_NAME
    remembered = {probe.path: probe for probe in _read_probes(remembered_at)}
    probes: dict[Path, Probe] = {}
    stale: list[Path] = []
    for path in paths:
        if not path.is_file():
            continue
        probe = remembered.get(str(path.absolute()))
        if probe and _is_current(probe, path) and probe.decoded >= checks.decode:
            probes[path] = probe
        else:
            stale.append(path)
    if not stale:
        return probes
    with ThreadPoolExecutor(checks.num_workers) as pool, remembered_at.open("a", encoding="utf-8") as file:
        file.write("\n")  # ends the line that a killed run may have left half written
        fresh = pool.map(lambda path: _probe(path, decode=checks.decode), stale)
        for path, probe in zip(stale, track(fresh, description="recordings", total=len(stale), transient=True)):
            probes[path] = probe
            file.write(json.dumps(asdict(probe)) + "\n")
            file.flush()
    return probes


def _read_probes(path: Path) -> Iterator[Probe]:
    if not path.is_file():
        return
    for line in split_lines(path.read_text(encoding="utf-8")):
        try:
            yield Probe(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a line a killed run left half written: probed again


def _is_current(probe: Probe, path: Path) -> bool:
    status = path.stat()
    return (probe.size, probe.changed_ns) == (status.st_size, status.st_mtime_ns)


def _probe(path: Path, *, decode: bool) -> Probe:
    status = path.stat()
    name = str(path.absolute())
    try:
        info = read_info(path)
        if decode:
            read_audio(path, sample_rate=None)
    except (AudioError, OSError) as error:
        return Probe(name, status.st_size, status.st_mtime_ns, decode, fault=str(error).removeprefix(f"{path}: "))
    return Probe(name, status.st_size, status.st_mtime_ns, decode, info.sample_rate, info.duration)
