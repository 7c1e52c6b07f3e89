"""Ranks utterances by how much speaks against their transcripts, and keeps the marks that a person gives them."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.data.manifest import Manifest
from asr.data.manifest_writing import write_manifest
from asr.improvement.hearing import ImprovementError, Judged
from asr.runs.checkpoint import write_text

COLUMNS = ("mark", "suspicion", "manifest", "id", "audio_filepath", "offset", "duration", "text", "heard", "reasons")
RANKED_BY = ("excess", "alignment")  # the others find fewer swapped transcripts: docs/improving.md
MOST_CLIPPED = 0.001  # share of samples
QUIETEST_DB = -50.0
NARROW = 0.6  # of the corpus' median bandwidth
FAST = 6.0  # deviations from the median speaking rate, by the median absolute deviation


@dataclass(frozen=True)
class Suspect:
    """An utterance with how suspicious its transcript is beside the others', 0 to 1, and what was found."""

    judged: Judged
    suspicion: float
    reasons: tuple[str, ...]
    is_faulty: bool  # something is wrong whatever the model makes of it


def rank_suspects(judged: Sequence[Judged]) -> list[Suspect]:
    """Returns all utterances, the most suspicious transcript first."""
    signals = transcript_signals(judged)
    suspicion = np.mean([_ranks(signals[name]) for name in RANKED_BY], axis=0)
    faults = _find_faults(judged)
    suspects = [
        Suspect(each, float(score), (*faults[place], *_say(each)), bool(faults[place]))
        for place, (each, score) in enumerate(zip(judged, suspicion, strict=True))
    ]
    return sorted(suspects, key=lambda each: -each.suspicion)


def transcript_signals(judged: Sequence[Judged]) -> dict[str, np.ndarray]:
    """Returns what speaks against each transcript, by name; larger is worse, and only the order counts."""
    finite = [each.loss for each in judged if math.isfinite(each.loss)]
    most = 2 * max(finite, default=1.0)
    loss = np.array([min(each.loss, most) for each in judged])
    tokens = np.array([max(1, each.num_tokens) for each in judged])
    durations = np.array([each.utterance.duration for each in judged])
    return {
        "loss": _deviations(loss / durations),
        "excess": (loss - [each.heard_loss for each in judged]) / tokens,
        "alignment": -np.array([each.alignment for each in judged]),
        "disagreement": np.array([min(each.errors.rate, 2.0) for each in judged]),
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the share of all values that lie below each, equal ones counting half."""
    order = np.sort(values)
    below, to = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
    return (below + to) / (2 * len(values))


def _deviations(values: np.ndarray) -> np.ndarray:
    middle = np.median(values)
    return (values - middle) / max(1.4826 * float(np.median(np.abs(values - middle))), 1e-9)


def _find_faults(judged: Sequence[Judged]) -> list[list[str]]:
    """Returns for each utterance what its sound and its double say against it."""
    faults: list[list[str]] = [[] for _ in judged]
    same: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(judged):
        same[each.acoustics.digest].append(place)
    for places in same.values():
        if len(places) > 1:
            for place in places:
                other = judged[next(each for each in places if each != place)].utterance
                differs = len({judged[each].utterance.text for each in places}) > 1
                what = f"with another transcript: {other.text!r}" if differs else "with the same transcript"
                faults[place].append(f"the same sound as {other.id}, {what}")
    median = float(np.median([each.acoustics.bandwidth_hz for each in judged]))
    rates = np.array([len(each.utterance.text) / each.utterance.duration for each in judged])
    for place, (each, speed) in enumerate(zip(judged, _deviations(rates), strict=True)):
        sound = each.acoustics
        if sound.clipped > MOST_CLIPPED:
            faults[place].append(f"{sound.clipped:.1%} of the samples are clipped")
        if sound.level_db < QUIETEST_DB:
            faults[place].append(f"its level is {sound.level_db:.0f} dB")
        if sound.bandwidth_hz < NARROW * median:
            faults[place].append(f"no sound above {sound.bandwidth_hz:.0f} Hz (median {median:.0f} Hz)")
        if abs(speed) > FAST:
            faults[place].append(f"{rates[place]:.1f} characters a second (median {np.median(rates):.1f})")
    return faults


def _say(judged: Judged) -> list[str]:
    if not math.isfinite(judged.loss):
        return ["its transcript does not fit into its length"]
    said = [f"loss {judged.loss:.1f}, of what is heard {judged.heard_loss:.1f}"]
    return said + ([f"heard: {judged.heard!r}"] if judged.errors.errors else [])


def choose_reviewed(suspects: Sequence[Suspect], share: float) -> list[Suspect]:
    """Returns the most suspicious share, at least one, and behind it the others that have a fault of their own."""
    number = max(1, round(share * len(suspects)))
    return [*suspects[:number], *(each for each in suspects[number:] if each.is_faulty)]


def write_suspects(path: Path, suspects: Iterable[Suspect]) -> int:
    """Write the table to mark; marks of an earlier one are kept, also of rows that are no suspects any more.

    Returns the number of kept marks.
    """
    before = read_suspects(path) if path.exists() else []
    marked = {(row["manifest"], row["id"]): row for row in before if row["mark"].strip()}
    file = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    left = dict(marked)
    for each in suspects:
        utterance = each.judged.utterance
        row = left.pop((each.judged.manifest, utterance.id), {})
        values = (
            *(row.get("mark", ""), f"{each.suspicion:.4f}", each.judged.manifest, utterance.id),
            *(utterance.audio_filepath, f"{utterance.offset:g}", f"{utterance.duration:g}", utterance.text),
            *(each.judged.heard, "; ".join(each.reasons)),
        )
        writer.writerow(dict(zip(COLUMNS, values, strict=True)))
    writer.writerows(left.values())
    write_text(path, file.getvalue())
    return len(marked)


def read_suspects(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table of suspects. Raises ImprovementError for another table."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in ("mark", "manifest", "id") if name not in (reader.fieldnames or ())]
        if missing:
            raise ImprovementError(
                f"{path}: no column {', '.join(missing)}; expected a suspects.csv of earshot improve, with a mark "
                "in the first column of each row to leave out"
            )
        return [{name: row.get(name) or "" for name in COLUMNS} for row in reader]


def exclude_marked(table: Path, folder: Path, say: Callable[[str], None]) -> list[tuple[str, Path]]:
    """Write each manifest that has marked rows again without them, into `folder`; returns old and new paths.

    Raises ImprovementError where no row is marked, or a marked id is not in its manifest.
    """
    marked: dict[str, set[str]] = defaultdict(set)
    for row in read_suspects(table):
        if row["mark"].strip():
            marked[row["manifest"]].add(row["id"])
    if not marked:
        raise ImprovementError(f"{table}: no row is marked; expected a mark, such as x, in the column 'mark'")
    written = []
    for number, (path, ids) in enumerate(marked.items()):
        manifest = list(Manifest.read(path))
        if unknown := ids - {each.id for each in manifest}:
            raise ImprovementError(f"{table}: the marked id {min(unknown)!r} is not in {path}; was it made anew?")
        new = folder / f"{number}_{Path(path).stem}.jsonl"
        kept = write_manifest(new, (each for each in manifest if each.id not in ids))
        say(f"{new}: {kept:,} utterances of {path}, without {len(ids):,} marked")
        written.append((path, new))
    return written
