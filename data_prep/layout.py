"""Tells which split a folder or a file is by its name, and what is said of those that are none."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from data_prep.entries import CorpusError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}  # "eval" is dev in some corpora and test in others: who has it renames it
NUM_NAMED = 5  # of what is left out, in one note

Place = TypeVar("Place", str, Path)


def split_of(name: str) -> str | None:
    """Returns the split that a name stands for, whatever its case, or None."""
    return SPLIT_NAMES.get(name.lower())


def by_split(where: Path, named: Iterable[tuple[str, Place]]) -> dict[str, Place]:
    """Returns what stands for each split, of pairs of a name and what has it; names that are no splits are passed over.

    Raises:
        CorpusError: two of them are the same split.
    """
    found: dict[str, Place] = {}
    for name, place in named:
        if (split := split_of(name)) is None:
            continue
        if split in found:
            raise CorpusError(f"{where}: {found[split]} and {place} are both {split}; expected one of them")
        found[split] = place
    return {split: found[split] for split in ("train", "dev", "test") if split in found}


def left_out(what: str, names: Sequence[str], reason: str) -> tuple[str, ...]:
    """Returns the note of what is left out, or none where nothing is."""
    if not names:
        return ()
    more = f" and {len(names) - NUM_NAMED:,} more" if len(names) > NUM_NAMED else ""
    return (f"left out: {len(names):,} {what} ({', '.join(names[:NUM_NAMED])}{more}): {reason}",)
