"""The grammar's file, looked at again and again: a new one is swapped in, one that cannot be read changes nothing."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asr.process.signals import signals_blocked
from asr.recognizer import Recognizer
from asr.serving.config import ServeConfig
from asr.serving.service import Service

log = logging.getLogger("asr.serving")

State = tuple[int, int, int]  # time of the last change in nanoseconds, size in bytes, and which file it is


async def watch_grammar(service: Service) -> None:
    """Swap the grammar of a server whenever its file has changed, for ever."""
    config = service.config
    assert config.commands is not None
    path = Path(config.commands)
    before = taken = file_state(path)
    while True:
        await asyncio.sleep(config.watch_seconds)
        now = file_state(path)
        is_settled, before = now == before, now
        if is_settled and now != taken:  # an editor may write it in pieces
            taken = now
            await _swap(service, path)


async def _swap(service: Service, path: Path) -> None:
    """Load it all anew, in a thread beside the model's: what is swapped in is what a new start would have."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")
    try:
        with signals_blocked():  # loading may compute with oneDNN
            loading = asyncio.get_running_loop().run_in_executor(thread, load_recognizer, service.config)
        recognizer = await loading
    except (ValueError, OSError) as error:
        service.metrics.grammar_swaps.labels("refused").inc()
        log.warning("%s: not taken, and the grammar of before stays: %s", path, error)
        return
    finally:
        thread.shutdown(wait=False)
    service.batcher.recognizer = recognizer
    service.metrics.grammar_swaps.labels("swapped").inc()
    log.info("%s: swapped in", path)


def load_recognizer(config: ServeConfig) -> Recognizer:
    """Returns the recogniser that a server is told to have. Raises what `Recognizer.load` raises."""
    return Recognizer.load(config.run, device=config.device, commands=config.commands, precision=config.precision)


def file_state(path: Path) -> State | None:
    """Returns values that change when a file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
