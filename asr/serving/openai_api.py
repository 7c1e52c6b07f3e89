"""OpenAI's API of transcriptions, as far as a recogniser of this kind can keep its promises.

    POST /v1/audio/transcriptions      multipart: file, model, response_format, timestamp_granularities[], stream
    GET  /v1/models

A field that would change nothing is refused unless it has the value that it has here anyway.
"""

import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from asr.serving.answers import GRANULARITIES, PLAIN_FORMATS, RESPONSE_FORMATS, plain, short_values, verbose_values
from asr.serving.recordings import Upload
from asr.serving.refusal import Refusal
from asr.serving.service import Service
from asr.transcript import Transcript

MOST_FIELDS = 32
MOST_FIELD_BYTES = 1 << 16
WORDS_PER_EVENT = 8

log = logging.getLogger("asr.serving")


@dataclass(frozen=True)
class _Asked:
    """A request's fields."""

    upload: Upload
    response_format: str
    granularities: set[str]
    is_stream: bool


def create_router(service: Service) -> APIRouter:
    """Returns the routes of one server."""
    router = APIRouter()

    @router.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service)]}

    @router.get("/v1/models/{name:path}")
    async def show_model(name: str) -> dict[str, Any]:
        _check_model(service, name)
        return _model(service)

    @router.post("/v1/audio/transcriptions", response_model=None)
    async def transcribe(request: Request) -> Response:
        with service.admission.session():
            start = time.perf_counter()
            async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES) as form:
                asked = _read_fields(service, form)
                address = request.client or ("", 0)
                transcript = await service.reader.transcribe(asked.upload, session=(address[0], address[1]))
            service.log_transcript("http", transcript, time.perf_counter() - start)
            return _response(service, asked, transcript)

    return router


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.model_name, "object": "model", "created": service.started, "owned_by": "earshot"}


def _check_model(service: Service, name: str) -> None:
    if name != service.model_name:
        raise Refusal(
            404,
            f"model: {name[:80]!r}; expected {service.model_name!r}, or a server with --model-name {name[:80]}",
            code="model_not_found",
        )


def _read_fields(service: Service, form: FormData) -> _Asked:
    """Check every field. Raises Refusal for the first that cannot be done as asked."""
    values = {name: [each for field, each in form.multi_items() if field == name] for name in form}
    upload = values.pop("file", [None])[0]
    if not isinstance(upload, UploadFile):
        raise _fault("file", "none" if upload is None else "text", "a recording, as a file of multipart/form-data")
    texts = {name: [str(each) for each in found] for name, found in values.items()}
    granularities = set(texts.pop("timestamp_granularities[]", [])) | set(texts.pop("timestamp_granularities", []))
    for name, found in texts.items():
        if len(found) > 1:
            raise _fault(name, f"{len(found)} times", "it once")
    single = {name: found[0] for name, found in texts.items()}
    _check_model(service, single.pop("model", service.model_name))
    _check_language(service, single.pop("language", ""))
    response_format = single.pop("response_format", "json")
    if response_format not in RESPONSE_FORMATS:
        raise _fault("response_format", repr(response_format[:40]), ", ".join(RESPONSE_FORMATS))
    _check_without_effect(single)
    is_stream = _truth(single.pop("stream", "false"))
    if is_stream and response_format != "json":
        raise _fault("stream", f"of response_format {response_format}", "response_format json")
    if single:
        raise _fault(min(single)[:40], "unknown", "a field of docs/serving.md")
    upload_name = upload.filename or ""
    return _Asked(
        Upload(upload_name, upload.file),
        response_format,
        _check_granularities(granularities, response_format),
        is_stream,
    )


def _check_language(service: Service, language: str) -> None:
    if language and language.lower().partition("-")[0] != service.language.lower().partition("-")[0]:
        raise _fault("language", repr(language[:40]), f"{service.language!r}, which is this model's, or none")


def _check_without_effect(single: dict[str, str]) -> None:
    """Take out the fields that this recogniser has no use for, where they ask for nothing."""
    temperature = single.pop("temperature", "0")
    try:
        is_zero = float(temperature) == 0
    except ValueError:
        is_zero = False
    if not is_zero:
        raise _fault("temperature", repr(temperature[:40]), "0: nothing is drawn here")
    if single.pop("prompt", "").strip():
        raise _fault("prompt", "text", "none: this model reads no prompt; --commands says what can be said")


def _check_granularities(asked: set[str], response_format: str) -> set[str]:
    if unknown := asked - set(GRANULARITIES):
        raise _fault("timestamp_granularities", repr(min(unknown)[:40]), " or ".join(GRANULARITIES))
    if asked and response_format != "verbose_json":
        raise _fault("timestamp_granularities", f"of response_format {response_format}", "response_format verbose_json")
    return asked or {"segment"}


def _truth(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False, "": False}
    if text.lower() not in known:
        raise _fault("stream", repr(text[:40]), "true or false")
    return known[text.lower()]


def _fault(name: str, found: str, expected: str) -> Refusal:
    return Refusal(422, f"{name}: {found}; expected {expected}", code="invalid_value")


def _response(service: Service, asked: _Asked, transcript: Transcript) -> Response:
    if asked.is_stream:
        return StreamingResponse(_events(transcript), media_type="text/event-stream")
    if asked.response_format in PLAIN_FORMATS:
        return PlainTextResponse(plain(transcript, asked.response_format))
    if asked.response_format == "json":
        return JSONResponse(short_values(transcript))
    language, granularities = service.language, asked.granularities
    return JSONResponse(verbose_values(transcript, language=language, granularities=granularities))


async def _events(transcript: Transcript) -> AsyncIterator[str]:
    """OpenAI's server-sent events: the text in pieces, then the whole."""
    words = transcript.pred_text.split()
    for first in range(0, len(words), WORDS_PER_EVENT):
        text = (" " if first else "") + " ".join(words[first : first + WORDS_PER_EVENT])
        yield _event({"type": "transcript.text.delta", "delta": text})
    yield _event({"type": "transcript.text.done", **short_values(transcript)})


def _event(values: dict[str, Any]) -> str:
    return f"event: {values['type']}\ndata: {json.dumps(values, ensure_ascii=False)}\n\n"
