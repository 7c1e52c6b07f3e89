"""Streams over WebSockets: samples in, partial and final results out, in the messages of a dialect.

A stream is recognised in the model's thread, message by message; while that goes on, nothing more is read from its
connection, so a client that sends faster than it is recognised waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from starlette.websockets import WebSocket, WebSocketDisconnect

from asr.recognition.stream import Final, Rejected
from asr.recognizer import as_transcript
from asr.serving.guard import PAGE_PROTOCOL, refusal_response
from asr.serving.refusal import Refusal
from asr.serving.service import Service
from asr.transcript import Transcript

log = logging.getLogger("asr.serving")


@dataclass(frozen=True)
class Asked:
    """A message of a client, as far as the stream needs it."""

    samples: Float32[np.ndarray, " sample"] | None = None  # at the model's rate
    ends: Literal["no", "segment", "stream"] = "no"


@dataclass(frozen=True)
class EndedSegment:
    """A segment that has ended."""

    start: float  # seconds from the stream's first sample
    transcript: Transcript  # its times are from the segment's start


@runtime_checkable
class Dialect(Protocol):
    """The messages of one kind of client, for one connection."""

    def read(self, message: str | bytes) -> Asked:
        """Returns what a message asks for. Raises Refusal where it is none of the dialect's."""
        ...

    def answers(self, heard: Sequence[EndedSegment], partial: str, *, asked: Asked) -> list[str]:
        """Returns the answers to a message, after which these segments ended, and these words are those of the next."""
        ...


async def serve_socket(service: Service, websocket: WebSocket, dialect: Dialect) -> None:
    """One connection, from its first message to its closing code."""
    is_open = False
    try:
        with service.admission.session():
            offered = websocket.scope.get("subprotocols", ())
            await websocket.accept(PAGE_PROTOCOL if PAGE_PROTOCOL in offered else None)
            is_open = True
            await _Conversation(service, websocket, dialect).run()
    except WebSocketDisconnect:
        pass  # it left while it was answered
    except Refusal as refusal:
        if is_open:
            await websocket.close(refusal.close_code, refusal.reason)
        else:
            await websocket.send_denial_response(refusal_response(refusal))


class _Conversation:
    """One connection's stream."""

    def __init__(self, service: Service, websocket: WebSocket, dialect: Dialect) -> None:
        self.service, self.websocket, self.dialect = service, websocket, dialect
        self.limits = service.config.limits
        self.stream = service.recognizer.stream()
        self.partial = ""

    async def run(self) -> None:
        """Answer until the client ends it. Raises Refusal where the connection is to be closed with a reason."""
        while (message := await self._next()) is not None:
            asked = self.dialect.read(message)
            await self._say(asked)
            if asked.ends == "stream":
                await self.websocket.close(1000, "done")
                return

    async def _next(self) -> str | bytes | None:
        """The next message; None where the client has gone."""
        receive = asyncio.ensure_future(self.websocket.receive())
        stop = asyncio.ensure_future(self.service.admission.is_stopping.wait())
        idle = self.limits.idle_seconds
        done, pending = await asyncio.wait({receive, stop}, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        if receive in done:
            return _content(receive.result())
        if done:  # what was said so far is answered first
            await self._say(Asked(ends="stream"))
            raise Refusal(503, "server: stopping; expected another one; try again", code="stopping")
        raise Refusal(408, f"messages: none for {idle:g} s; expected some; connect again", code="too_slow")

    async def _say(self, asked: Asked) -> None:
        start = time.perf_counter()
        heard = await self.service.batcher.call(self, lambda: self._recognize(asked))
        for each in heard:
            self.service.log_transcript("websocket", each.transcript, time.perf_counter() - start)
        for text in self.dialect.answers(heard, self.partial, asked=asked):
            await self.websocket.send_text(text)

    def _recognize(self, asked: Asked) -> list[EndedSegment]:
        """The segments that have ended; called in the model's thread."""
        recognizer = self.service.recognizer  # of now: the grammar may have been swapped
        self.stream.recognizer = recognizer
        events = self.stream.push(asked.samples) if asked.samples is not None else []
        if asked.ends != "no":
            events += self.stream.finish()
        if asked.ends == "segment":
            self.stream = recognizer.stream()
        heard = []
        for event in events:
            if isinstance(event, Final | Rejected):
                heard.append(EndedSegment(event.start, as_transcript(event.result, event.end - event.start)))
                self.partial = ""
            elif (words := getattr(event, "words", None)) is not None:
                self.partial = " ".join(words)
        return heard


def _content(message: Mapping[str, Any]) -> str | bytes | None:
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    return text if text is not None else message.get("bytes") or b""
