"""Checks every request before the application: token, origin, rate, size, and the time that a body may take."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.serving.admission import Admission
from asr.serving.refusal import Refusal

OPEN_PATHS = ("/health",)  # without a token and uncounted: a watchdog asks every second
PAGE_PATHS = ("/", "/page/page.js", "/page/recorder.js", "/page/page.css")  # a browser has no token before it has these
PAGE_PROTOCOL = "earshot"  # which the page offers; beside it stands "bearer." and the token in base64url
MEGABYTE = 1 << 20

log = logging.getLogger("asr.serving")


class Guard:
    """An application around another one."""

    def __init__(self, app: ASGIApp, *, admission: Admission) -> None:
        self.app, self.admission, self.limits = app, admission, admission.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = status or _status(message)
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._bounded(receive) if scope["type"] == "http" else receive, noting)
        except Refusal as refusal:
            await refusal_response(refusal)(scope, receive, noting)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        _check_origin(headers)
        if scope["path"] in OPEN_PATHS:
            return
        if scope["type"] != "http" or scope["path"] not in PAGE_PATHS:
            self.admission.check_token(headers.get("authorization") or _offered_token(scope))
        self.admission.check_rate(scope["client"][0] if scope["client"] else "")
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdecimal():
            self._check_size(int(length))

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self.limits.body_mb * MEGABYTE:
            raise Refusal(
                413,
                f"body: {num_bytes / MEGABYTE:.1f} MB or more; expected at most {self.limits.body_mb:g} MB; "
                "cut the recording, or compress it",
                code="body_too_large",
            )

    def _bounded(self, receive: Receive) -> Receive:
        """Returns the same body, refused where it is too large or too slow, whatever its headers said."""
        num_bytes, is_whole, slow = 0, False, self.limits.idle_seconds
        longest = 8 * slow  # for all of it, or a byte now and then would hold a session for ever
        end = time.monotonic() + longest

        async def bounded() -> Message:
            nonlocal num_bytes, is_whole
            if is_whole:
                return await receive()  # waits for the client to leave, while it is answered
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(slow, end - time.monotonic())))
            except TimeoutError:
                raise Refusal(
                    408,
                    f"body: {num_bytes:,} bytes, and nothing for {slow:g} s, or no end within {longest:g} s; "
                    "expected it to come faster",
                    code="too_slow",
                ) from None
            num_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            self._check_size(num_bytes)
            return message

        return bounded

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        door = scope["type"]
        self.admission.metrics.requests.labels(door, str(status)).inc()
        self.admission.metrics.request_seconds.labels(door).observe(seconds)
        address = "{}:{}".format(*scope["client"]) if scope["client"] else "-"
        method = scope.get("method", "WEBSOCKET")
        if scope["path"] not in OPEN_PATHS:
            log.info("%s %s %r %d %.3f s", address, method, scope["path"], status, seconds)


def _check_origin(headers: Mapping[str, str]) -> None:
    """Raise Refusal where a page of another site asks: a browser would let it use a server of its user's machine."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refusal(
            403, f"origin: {origin[:80]!r}; expected a page of this server, or a client that is no page", code="origin"
        )


def _offered_token(scope: Scope) -> str | None:
    """Returns the header that the page would send with its stream; a browser's WebSocket has no header of its own."""
    for each in scope.get("subprotocols", ()):
        kind, _, encoded = each.partition(".")
        if kind == "bearer":
            try:
                return "Bearer " + base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("ascii")
            except ValueError:
                return f"Bearer {encoded}"  # which is none
    return None


def _status(message: Message) -> int:
    """Returns the status of a message that begins an answer; of a WebSocket, 101 or its closing code."""
    if message["type"] in ("http.response.start", "websocket.http.response.start"):
        return message["status"]
    return 101 if message["type"] == "websocket.accept" else 0


def refusal_response(refusal: Refusal) -> JSONResponse:
    """Returns the answer to a request that is refused."""
    return JSONResponse(refusal.values(), refusal.status, refusal.headers())
