"""Connections of uvicorn that end where a client sends nothing, reads nothing, or does not stop sending."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from asr.serving.config import ServingLimits


class _Patience:
    """A timer for the end of a connection."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport) -> None:
        """Cut the connection after so many seconds, if nothing stops the timer."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self.seconds, transport.abort)

    def stop(self) -> None:
        """Let the connection be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def http_connection(limits: ServingLimits) -> type[H11Protocol]:
    """Returns the class of HTTP connections with these limits."""

    class Connection(H11Protocol):
        """One connection. Cutting it ends the request too: its application is told that the client has gone."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._request, self._reading = _Patience(limits.idle_seconds), _Patience(limits.idle_seconds)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            else:
                self._request.start(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._request.stop()
            self._reading.stop()
            super().connection_lost(exc)

        @property
        def is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def handle_events(self) -> None:
            super().handle_events()
            if self.is_answering:  # the application has its own patience with the body
                self._request.stop()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # What comes now is the next request, or the rest of a body that was refused and is not read for ever.
            if not self.is_answering:
                self._request.start(self.transport)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._request.stop()
            super().handle_websocket_upgrade(event)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading.start(self.transport)

        def resume_writing(self) -> None:
            self._reading.stop()
            super().resume_writing()

    return Connection


def websocket_connection(limits: ServingLimits) -> type[WebSocketsSansIOProtocol]:
    """Returns the class of WebSocket connections with these limits."""

    class Socket(WebSocketsSansIOProtocol):
        """One connection; how long it may be silent is for the application to say."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._reading = _Patience(limits.idle_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._reading.stop()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading.start(self.transport)

        def resume_writing(self) -> None:
            self._reading.stop()
            super().resume_writing()

    return Socket
