"""Looks at what earlier jobs have left where a job is to write: it is kept, or the job is refused; no result is deleted
unasked.

out/transcripts.jsonl   day1/a.wav and day1/c.wav, by an earlier job
a job over day2         b.wav: beside them; c.wav: refused, as out/c.srt is that of day1/c.wav
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.files.digest import digest_of

if TYPE_CHECKING:
    from asr.transcription.inputs import Inputs, Recording
    from asr.transcription.journal import Journal
    from asr.transcription.output import Output

SETTINGS_FILE = "settings.json"  # in the state folder: the settings of every job, by their digests
ELSEWHERE = "give this job its own --output-dir, or --overwrite"


class EarlierResultsError(ValueError):
    """Results of another job that this one would replace."""


def source_of(recording: Recording) -> dict[str, Any]:
    """Returns which stretch of which file a recording is, as the journal keeps it."""
    stretch = recording.stretch
    return {"path": stretch.path, "offset": stretch.offset, "duration": stretch.duration}


def check_earlier_results(output: Output, inputs: Inputs, journal: Journal) -> int:
    """Return how many recordings an earlier run has tried.

    Raises EarlierResultsError where a name has the result of another recording, or one by other settings, or where a
    file that this job would write holds what is none of its own, unless all of it may be overwritten.
    """
    num_tried, others, other_settings = 0, [], []
    for number in range(len(inputs)):
        record = journal[number]
        if record is None:
            continue
        num_tried += record["settings"] == output.settings.digest
        if not is_same_recording(record, inputs[number]):
            others.append((record, inputs[number]))
        elif record["settings"] != output.settings.digest and "transcripts" in record:
            other_settings.append(record)
    if not output.config.overwrite:
        _refuse_other_recordings(output, others)
        _refuse_other_settings(output, other_settings)
        _check_single_files(output, inputs, journal)
    return num_tried


def keep_beside_damage(output: Output, journal: Journal) -> str:
    """Keeps a copy of all lines if records are passed over, whose lines would be lost else; returns what to say."""
    path = output.collection_path
    copy = path.with_name(f"{path.name}.before-damage")
    if path.is_file() and not copy.exists():
        shutil.copy2(path, copy)
    kept = f"; all lines of before are kept in {copy}" if copy.exists() else ""
    number = journal.num_damaged
    more = [f"and {number - len(journal.damaged):,} more"] if number > len(journal.damaged) else []
    return "\n".join(
        [
            f"warning: {number:,} damaged or foreign records are passed over, and their recordings transcribed again "
            f"by jobs that have them{kept}",
            *journal.damaged,
            *more,
        ]
    )


def is_same_recording(record: dict[str, Any], recording: Recording) -> bool:
    """Returns whether a record is of this stretch of this file; one that was moved with its bytes unchanged is the
    same.
    """
    before, now = record.get("source"), source_of(recording)
    if before is None or before == now:  # a journal of an earlier version does not say
        return True
    if (before["offset"], before["duration"]) != (now["offset"], now["duration"]):
        return False
    old, new = Path(before["path"]), Path(now["path"])
    try:
        return old.samefile(new) if old.exists() else digest_of(now["path"]) == record.get("sha256")
    except OSError:
        return False


def with_head(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a record with what its lines need, which a journal of an earlier version has not."""
    name = os.fsencode(record["name"]).decode("utf-8", "backslashreplace")
    defaults = {"head": {"id": name, "audio_filepath": name}, "model": "", "each_channel": False, "merged": False}
    return {**defaults, **record}


def _refuse_other_recordings(output: Output, found: list[tuple[dict[str, Any], Recording]]) -> None:
    if not found:
        return
    record, recording = found[0]
    more = f" (and {len(found) - 1:,} more such names)" if len(found) > 1 else ""
    raise EarlierResultsError(
        f"{output.folder}: {recording.name!a} there is {_stretch(record['source'])}, by an earlier job, and here "
        f"{_stretch(source_of(recording))}{more}; expected no two recordings under one name; {ELSEWHERE} to replace "
        "those results, or transcribe the folder that holds all of them, below which their names differ"
    )


def _stretch(source: dict[str, Any]) -> str:
    if source["duration"] is None and not source["offset"]:
        return source["path"]
    length = "" if source["duration"] is None else f" for {source['duration']:g} s"
    return f"{source['path']} from {source['offset']:g} s{length}"


def _refuse_other_settings(output: Output, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    before = known_settings(output).get(found[0]["settings"])
    differing = "" if before is None else f" ({', '.join(_differences(before, output.settings.values))})"
    raise EarlierResultsError(
        f"{output.folder}: {found[0]['name']!a} and {len(found) - 1:,} more were transcribed with other settings"
        f"{differing}; expected the same; {ELSEWHERE} to transcribe them again"
    )


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    now = json.loads(json.dumps(now))
    for key in sorted({*before, *now}):
        one, other = before.get(key), now.get(key)
        if one != other:
            is_short = not isinstance(one, dict | list) and not isinstance(other, dict | list) and key != "commands"
            yield f"{key}: {one} there, {other} here" if is_short else f"another {key}"


def _check_single_files(output: Output, inputs: Inputs, journal: Journal) -> None:
    """Checks the file of all transcripts and the report: whoever wrote them, nothing of them may be lost."""
    path, report = output.collection_path, output.report_path
    is_of_folder = output.config.output is None
    if not (is_of_folder and not journal.is_empty) and (lost := _lost_of(output, inputs, journal)) is not None:
        raise EarlierResultsError(
            f"{path}: there already, and holds {lost}; expected a free name, or what this command has written; give "
            "another name, or --overwrite to replace it"
        )
    if report is not None and journal.is_empty and report.exists() and not _is_report(report):
        raise EarlierResultsError(
            f"{report}: there already, and written by no job; expected a free name; {ELSEWHERE} to replace it"
        )


def _lost_of(output: Output, inputs: Inputs, journal: Journal) -> str | None:
    """Returns what the file of all transcripts holds that this job would not write again, in words."""
    path = output.collection_path
    try:
        if not path.stat().st_size:
            return None
    except OSError:
        return None
    if output.config.output is not None and output.config.format[0] == "txt":
        return "transcripts" if journal.is_empty else None
    heads = [output.head(recording) for recording in inputs] + [
        with_head(record)["head"] for record in journal.others()
    ]
    ours = {(head["id"], head["audio_filepath"]) for head in heads}
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError):
                values = json.loads(line)
                if values["settings"] != output.settings.digest:
                    return f"what other settings gave (line {number})"
                names = {values["id"], re.sub(r"#\d+$", "", values["id"])}
                if not ours.isdisjoint((name, values["audio_filepath"]) for name in names):
                    continue
                return f"other recordings (line {number}: {values['id']})"
            return f"what no job has written (line {number})"
    return None


def _is_report(path: Path) -> bool:
    with contextlib.suppress(ValueError, TypeError):
        return {"recordings", "is_complete", "settings"} <= set(json.loads(path.read_text(encoding="utf-8")))
    return False


def known_settings(output: Output) -> dict[str, Any]:
    """Returns the settings of all jobs on this folder, by their digests; those of damaged files are not known."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((output.state_folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(settings, dict) for settings in found.values()):
            return found
    return {}


def remember_settings(output: Output) -> None:
    """Keep the settings of this job for the report of the next one."""
    known = known_settings(output)
    if output.settings.digest not in known:
        with output.replacing(output.state_folder / SETTINGS_FILE) as file:
            file.write(json.dumps(known | {output.settings.digest: output.settings.values}).encode("utf-8"))
