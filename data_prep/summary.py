"""Sums up a corpus: hours, speakers, rates, lengths, and what was dropped and why."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from asr.files.replacing import replacing
from data_prep.entries import SPLITS, Dropped
from data_prep.validation import Kept


@dataclass(frozen=True)
class SplitSummary:
    """One split in figures."""

    num_utterances: int
    num_speakers: int  # those that are named
    num_transcripts: int  # different ones
    num_words: int
    hours: float
    shortest: float  # seconds
    longest: float  # seconds
    sample_rates: dict[int, int]  # hertz: number of utterances

    @classmethod
    def of(cls, kept: list[Kept]) -> "SplitSummary":
        """Returns the figures of a split that is not empty."""
        utterances = [each.utterance for each in kept]
        durations = [utterance.duration for utterance in utterances]
        return cls(
            num_utterances=len(utterances),
            num_speakers=len({utterance.speaker for utterance in utterances if utterance.speaker is not None}),
            num_transcripts=len({utterance.text for utterance in utterances}),
            num_words=sum(len(utterance.text.split()) for utterance in utterances),
            hours=sum(durations) / 3600,
            shortest=min(durations),
            longest=max(durations),
            sample_rates=dict(sorted(Counter(each.sample_rate for each in kept).items())),
        )


def print_summary(
    splits: Mapping[str, list[Kept]],
    *,
    dropped: Iterable[Dropped],
    notes: Iterable[str],
    output_dir: Path,
    console: Console | None = None,
) -> None:
    """Print a column for each split, a row for each reason of dropping, and what else is worth knowing."""
    console = console or Console()
    table = Table("", title=str(output_dir), title_justify="left", box=box.SIMPLE_HEAD)
    filled = [name for name in dict.fromkeys([*SPLITS, *splits]) if splits.get(name)]
    for name in filled:
        table.add_column(name.replace("/", "\n"), justify="right")
    for cells in zip(ROW_NAMES, *(_cells(SplitSummary.of(splits[name])) for name in filled)):
        table.add_row(*cells)
    console.print(table)
    dropped = list(dropped)
    if dropped:
        console.print(_dropped_table(dropped, output_dir))
    for note in (*notes, *_shared_sentences(splits)):
        console.print(f"note: {note}", highlight=False)
    missing = [name for name in SPLITS if not splits.get(name)]
    if missing:
        console.print(f"note: nothing for {' and '.join(missing)}: no such manifest written", highlight=False)


ROW_NAMES = ("utterances", "hours", "speakers", "different sentences", "words", "shortest", "longest", "rates")


def _cells(summary: SplitSummary) -> tuple[str, ...]:
    return (
        f"{summary.num_utterances:,}",
        f"{summary.hours:.2f}",
        f"{summary.num_speakers:,}" if summary.num_speakers else "unknown",
        f"{summary.num_transcripts:,}",
        f"{summary.num_words:,}",
        f"{summary.shortest:.2f} s",
        f"{summary.longest:.2f} s",
        "\n".join(f"{rate:,} Hz: {count:,}" for rate, count in summary.sample_rates.items()),
    )


def _dropped_table(dropped: list[Dropped], output_dir: Path) -> Table:
    table = Table(
        "dropped because",
        title=f"all of them: {output_dir / 'dropped.jsonl'}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("utterances", justify="right")
    table.add_column("for example", overflow="fold")
    for reason, count in Counter(each.reason for each in dropped).most_common():
        example = next(each for each in dropped if each.reason == reason)
        table.add_row(reason, f"{count:,}", f"{example.audio} {example.detail}".strip())
    return table


def _shared_sentences(splits: Mapping[str, list[Kept]]) -> list[str]:
    """Say how many held-out utterances have a transcript that training has too: no fault, but worth knowing."""
    trained = {each.utterance.text for each in splits.get("train", ())}
    notes = []
    for name in ("dev", "test"):
        held_out = splits.get(name, [])
        num_shared = sum(each.utterance.text in trained for each in held_out)
        if num_shared:
            notes.append(f"{num_shared:,} of {len(held_out):,} transcripts of {name} are in train too")
    return notes


def write_dropped(path: Path, dropped: Iterable[Dropped]) -> None:
    """Write one JSON line for each utterance left out."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        for each in dropped:
            file.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")
