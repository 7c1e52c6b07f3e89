"""The page at the root of a server, and the messages of its stream.

{"config": {"sample_rate": 48000}}    no answer; before the first samples
int16 samples, mono                   {"event": "partial", "text"} whenever the words have changed, and where an
                                      utterance has ended {"event": "final" or "rejected", "start", "end", "text",
                                      "confidence", "command"}, all times in seconds from the first sample
{"eof": 1}                            the rest; then the connection is closed
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from asr.serving.answers import command_values
from asr.serving.sockets import Asked, EndedSegment
from asr.serving.vosk import VoskDialect

FOLDER = Path(__file__).resolve().parent / "page"
FILES = {  # by their paths, with their types
    "/": ("index.html", "text/html"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/recorder.js": ("recorder.js", "text/javascript"),
    "/page/page.css": ("page.css", "text/css"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class LiveDialect:
    """The messages of one connection of the page."""

    def __init__(self, *, sample_rate: int) -> None:
        """`sample_rate` is the model's, in hertz."""
        self._reading = VoskDialect(sample_rate=sample_rate)
        self._partial = ""

    def read(self, message: str | bytes) -> Asked:
        """Returns what a message asks for. Raises Refusal as VoskDialect does, whose messages these are."""
        return self._reading.read(message)

    def answers(self, heard: Sequence[EndedSegment], partial: str, *, asked: Asked) -> list[str]:
        """Returns the utterances that have ended, then the words so far where they have changed."""
        found = [_ended(each) for each in heard]
        self._partial = "" if heard else self._partial
        if partial != self._partial and asked.ends == "no":
            self._partial = partial
            found.append({"event": "partial", "text": partial})
        return [json.dumps(each, ensure_ascii=False) for each in found]


def _ended(segment: EndedSegment) -> dict[str, Any]:
    transcript = segment.transcript
    return {
        "event": "final" if transcript.pred_text else "rejected",
        "start": round(segment.start, 3),
        "end": round(segment.start + transcript.duration, 3),
        "text": transcript.pred_text,
        "confidence": transcript.confidence,
        "command": command_values(transcript.command) if transcript.command is not None else None,
    }


def create_page_router() -> APIRouter:
    """Returns the paths of the page's own files; nothing of it comes from another server."""
    router = APIRouter()
    for path, (name, kind) in FILES.items():
        response = _file(name, kind)
        router.add_api_route(path, response, methods=["GET", "HEAD"], response_class=FileResponse, name=name)
    return router


def _file(name: str, kind: str) -> Any:
    async def respond() -> FileResponse:
        return FileResponse(FOLDER / name, media_type=kind, headers=HEADERS)

    return respond
