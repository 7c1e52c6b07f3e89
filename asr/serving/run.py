"""Serve a run until a signal says stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from asr.config.reading import check_section
from asr.process.distributed import set_num_threads
from asr.process.runtime import EXIT_OK, count_cores, leave
from asr.serving.admission import read_token
from asr.serving.app import create_app
from asr.serving.config import ServeConfig
from asr.serving.connections import http_connection, websocket_connection
from asr.serving.grammar_watch import load_recognizer
from asr.serving.service import Service, create_service

LAST_SECONDS = 1  # for connections that are still there once all sessions have ended
MOST_HEADER_BYTES = 1 << 14
SOCKET_MESSAGE_BYTES = 1 << 20  # of one message of a WebSocket: half a minute of samples

log = logging.getLogger("asr.serving")


class Server(uvicorn.Server):
    """uvicorn, but a signal lets what was begun be finished first; a second one does not wait."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    @property
    def is_stopping(self) -> bool:
        return self._draining is not None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        config = self.service.config
        scheme = "https" if config.tls_cert else "http"
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            log.info("%s: serving %s at %s://%s:%d", config.run, self.service.model_name, scheme, host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came; the exit code will be this program's own, whatever it was."""
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Begin to stop, or stop at once where that was begun."""
        if self._draining is not None:
            self.force_exit = self.should_exit = True
        else:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        if not await self.service.admission.drain():
            seconds = self.service.config.limits.drain_seconds
            log.warning("stopping: not all was finished within %g s", seconds)
        self.should_exit = True


def create_server(service: Service) -> Server:
    """Returns a server that listens where the service's configuration says, once it is run."""
    config = service.config
    return Server(
        uvicorn.Config(
            create_app(service),
            host=config.host,
            port=config.port,
            http=http_connection(config.limits),
            ws=websocket_connection(config.limits),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_keep_alive=max(1, round(config.limits.idle_seconds)),
            timeout_graceful_shutdown=LAST_SECONDS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            ws_max_size=SOCKET_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # a small message could unpack to a large one
            ssl_certfile=config.tls_cert,
            ssl_keyfile=config.tls_key,
        ),
        service,
    )


def run(values: dict[str, Any]) -> int:
    """Serve with these options until a signal comes, then end the process."""
    config = check_section(values, ServeConfig, where="options")
    token = read_token(config.token_file) if config.token_file else None
    set_num_threads(config.num_threads or count_cores())
    recognizer = load_recognizer(config)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    service = create_service(config, recognizer, name=Path(config.run).resolve().name, token=token)
    server = create_server(service)
    server.run(sockets=[listen(config.host, config.port)])
    leave(EXIT_OK)  # Python would wait for threads that still compute, or wait for the model
    return EXIT_OK


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens there. Raises ValueError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ValueError(
            f"{host}:{port}: cannot be listened on ({error.strerror}); expected a free port and an address of this "
            "machine (--port, --host)"
        ) from error
    return found
