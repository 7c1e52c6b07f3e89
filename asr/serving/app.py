"""The application: the doors of HTTP behind one guard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from asr import __version__
from asr.serving import openai_api
from asr.serving.config import SOCKET_DIALECTS
from asr.serving.grammar_watch import watch_grammar
from asr.serving.guard import Guard, refusal_response
from asr.serving.live_page import LiveDialect, create_page_router
from asr.serving.refusal import Refusal
from asr.serving.service import Service
from asr.serving.sherpa import SherpaDialect
from asr.serving.sockets import Dialect, serve_socket
from asr.serving.vosk import VoskDialect
from asr.serving.wyoming_door import WyomingDoor

CLIENT_LEFT = 499  # nobody reads it; the log and the figures have it


def create_app(service: Service) -> FastAPI:
    """Returns the application of one server."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        door = WyomingDoor(service) if service.config.wyoming_port is not None else None
        if door is not None:
            await door.start()
        watch = asyncio.create_task(watch_grammar(service)) if service.config.commands is not None else None
        yield
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        if door is not None:
            await door.stop()
        await service.close()

    # FastAPI's pages of documentation load scripts of others.
    app = FastAPI(title="Earshot", version=__version__, lifespan=lifespan, openapi_url=None)
    app.add_middleware(Guard, admission=service.admission)
    _add_faults(app)
    app.include_router(openai_api.create_router(service))
    app.include_router(create_page_router())
    _add_sockets(app, service)

    @app.get("/health")
    async def health() -> JSONResponse:
        return _health(service)

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _add_sockets(app: FastAPI, service: Service) -> None:
    """Each dialect at its own path, and one at the root, where its clients look for it."""
    for name in SOCKET_DIALECTS:
        app.add_api_websocket_route(f"/{name}", _conversation(service, name))
    app.add_api_websocket_route("/", _conversation(service, service.config.websocket))
    app.add_api_websocket_route("/v1/live", _conversation(service, "live"))


def _conversation(service: Service, name: str) -> Callable[[WebSocket], Awaitable[None]]:
    async def converse(websocket: WebSocket) -> None:
        await serve_socket(service, websocket, _dialect(service, name))

    return converse


def _dialect(service: Service, name: str) -> Dialect:
    if name == "sherpa":
        return SherpaDialect()
    kind = LiveDialect if name == "live" else VoskDialect
    return kind(sample_rate=service.batcher.sample_rate)


def _health(service: Service) -> JSONResponse:
    is_stopping = service.admission.is_stopping.is_set()
    values: dict[str, Any] = {"status": "stopping" if is_stopping else "ok", "model": service.model_name}
    if (commands := service.recognizer.commands) is not None:
        values["grammar"] = commands.grammar.digest[:12]
    return JSONResponse({**values, "version": __version__}, 503 if is_stopping else 200)


def _add_faults(app: FastAPI) -> None:
    """Every fault is answered in one shape."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return refusal_response(refusal)

    @app.exception_handler(HTTPException)
    async def wrong(request: Request, error: HTTPException) -> Response:
        message = {
            404: f"{request.url.path!r:.80}: no such page; expected one of docs/serving.md",
            405: f"{request.url.path!r:.80}: no {request.method} here; expected another method",
        }.get(error.status_code, f"body: {error.detail}; expected multipart/form-data as in docs/serving.md")
        return refusal_response(Refusal(error.status_code, message, code="bad_request"))

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_LEFT)

    @app.exception_handler(Exception)  # which goes on to the log, with where it came from
    async def failed(_: Request, error: Exception) -> Response:
        message = f"server: {type(error).__name__}; expected an answer; the server's log says more"
        return refusal_response(Refusal(500, message, code="server_error"))
