"""A server of a small run in a thread of the tests, on a free port of this machine."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

from asr.recognizer import Recognizer
from asr.serving.config import BatchingConfig, ServeConfig, ServingLimits
from asr.serving.run import Server, create_server, listen
from asr.serving.service import Service, create_service

START_SECONDS = 30


@dataclass(frozen=True)
class Served:
    """A server that is running."""

    host: str
    port: int
    service: Service
    server: Server
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def stop(self) -> None:
        """What a signal does."""
        self.loop.call_soon_threadsafe(self.server.stop)


@contextmanager
def serving(
    recognizer: Recognizer,
    *,
    token: str | None = None,
    name: str = "small",
    batch_wait_ms: float = 5.0,
    wyoming_port: int | None = None,
    run: Path | None = None,
    commands: Path | None = None,
    watch_seconds: float = 1.0,
    **limits: Any,
) -> Iterator[Served]:
    """A server with these limits; it has ended when the block is left."""
    config = ServeConfig(
        run=str(run or name),
        commands=str(commands) if commands else None,
        watch_seconds=watch_seconds,
        port=0,
        wyoming_port=wyoming_port,
        num_decoders=1,
        limits=ServingLimits(**{"drain_seconds": 5.0, **limits}),
        batching=BatchingConfig(wait_ms=batch_wait_ms),
    )
    service = create_service(config, recognizer, name=name, token=token)
    server, listener = create_server(service), listen("127.0.0.1", 0)
    host, port = listener.getsockname()
    has_started, loops = threading.Event(), []

    async def serve_until_stopped() -> None:
        loops.append(asyncio.get_running_loop())
        serve = asyncio.create_task(server.serve([listener]))
        while not server.started and not serve.done():
            await asyncio.sleep(0.01)
        has_started.set()
        await serve

    thread = threading.Thread(target=lambda: asyncio.run(serve_until_stopped()))
    thread.start()
    assert has_started.wait(START_SECONDS)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    served = Served(host, port, service, server, loops[0])
    try:
        yield served
    finally:
        if thread.is_alive() and not server.is_stopping:
            served.loop.call_soon_threadsafe(server.stop)
        thread.join(START_SECONDS)
        assert not thread.is_alive(), "the server did not end"
