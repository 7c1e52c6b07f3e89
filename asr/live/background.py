"""Reads a source in a thread, so that nothing of a microphone is lost while a model computes."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Generator, Iterator

import numpy as np
from jaxtyping import Float32

MOST_WAITING = 1500  # blocks: half a minute of those of 20 ms
SECONDS_TO_WAIT = 0.2  # after which a waiting reader looks whether it should end

Block = Float32[np.ndarray, " sample"]


def in_background(blocks: Iterator[Block]) -> Generator[Block, None, None]:
    """Yields the blocks in their order; what is raised in the thread is raised here.

    Where more than half a minute waits, the newest is dropped, and a line on stderr says how much at the end.
    """
    waiting: queue.Queue[Block | BaseException | None] = queue.Queue(MOST_WAITING)
    is_over = threading.Event()
    num_dropped = 0

    def read() -> None:
        nonlocal num_dropped
        end: BaseException | None = RuntimeError("the thread that reads audio has failed; its error stands above")
        try:
            for block in blocks:
                if is_over.is_set():
                    return
                try:
                    waiting.put_nowait(block)
                except queue.Full:
                    num_dropped += len(block)
            end = None
        except (ValueError, OSError) as error:
            end = error
        finally:
            _put(waiting, end, is_over)

    threading.Thread(target=read, name="live audio", daemon=True).start()
    try:
        while (found := waiting.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        is_over.set()
        if num_dropped:
            print(f"dropped: {num_dropped} samples; this machine recognises slower than they come", file=sys.stderr)


def _put(waiting: queue.Queue[Block | BaseException | None], end: BaseException | None, over: threading.Event) -> None:
    """Says that nothing follows, as soon as there is room, or until nobody waits any more."""
    while not over.is_set():
        with contextlib.suppress(queue.Full):
            waiting.put(end, timeout=SECONDS_TO_WAIT)
            return
