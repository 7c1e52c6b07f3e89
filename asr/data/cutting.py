"""Cuts work into batches: by their number, and by how many seconds they are together once they are padded."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def cut_in_order(items: Iterable[tuple[T, float]], *, most: float, size: int | None = None) -> Iterator[list[T]]:
    """Yields batches of items that follow each other; each item comes with its length.

    A batch ends where another item would make it more than `size`, or the longest length times their number more than
    `most`. An item that is longer than that is a batch alone. Holds one batch at a time.
    """
    batch: list[T] = []
    longest = 0.0
    for item, length in items:
        longest = max(longest, length)
        if batch and (len(batch) == size or longest * (len(batch) + 1) > most):
            yield batch
            batch, longest = [], length
        batch.append(item)
    if batch:
        yield batch


def cut_longest_first(lengths: Sequence[float], *, most: float, size: int) -> Iterator[list[int]]:
    """Yields batches of places in `lengths`, longest first, so that those of a batch are of like length."""
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    return cut_in_order(((place, lengths[place]) for place in order), most=most, size=size)
