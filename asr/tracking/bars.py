"""A bar on stderr while something takes its time, where that is a terminal; elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def bar(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Shows a bar that is gone when the block ends; what it gives is called with how much more is done.

    Without a total it moves to and fro, with the time that has passed.
    """
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    ending = (TimeElapsedColumn(),) if total is None else (TaskProgressColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *ending)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


def tracked(items: Iterable[Item], what: str, *, total: int) -> Iterator[Item]:
    """Yields the same items, with a bar that moves on by one for each."""
    with bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)
