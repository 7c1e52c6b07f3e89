"""Wyoming, the protocol of Home Assistant's voice services, on a TCP port of its own.

    describe                                          -> info
    transcribe, audio-start, audio-chunk..., audio-stop -> transcript
    recognize, or a transcript                        -> intent, or not-recognized

An event is a line of JSON with the lengths of what follows it: more JSON, and bytes. The protocol has no token.
Source: https://github.com/OHF-Voice/wyoming (README); the events' classes are the package's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info, IntentModel, IntentProgram
from wyoming.intent import Entity, Intent, NotRecognized, Recognize
from wyoming.ping import Ping, Pong

from asr import __version__
from asr.audio.levels import SILENCE
from asr.serving import pcm
from asr.serving.refusal import Refusal
from asr.serving.service import Service
from asr.transcript import Transcript as OurTranscript

LINE_BYTES = 1 << 16  # of an event's first line
DATA_BYTES = 1 << 20  # of its further JSON
PAYLOAD_BYTES = 1 << 20  # of its audio: half a minute
MOST_TEXT_CHARACTERS = 2_000
ENDING = (400, 408, 413, 503)  # after these, what follows cannot be read, or is not wanted

log = logging.getLogger("asr.serving")


@dataclass
class _Speech:
    """The audio of one utterance, as it comes."""

    form: pcm.PCMFormat
    parts: list[bytes] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, audio: bytes, *, most_seconds: float) -> None:
        """Raises Refusal where it gets too long."""
        self.num_bytes += len(audio)
        if self.num_bytes > most_seconds * self.form.bytes_per_second:
            raise Refusal(413, f"audio: more than {most_seconds:g} s; expected at most that", code="audio_too_long")
        self.parts.append(audio)


class WyomingDoor:
    """The port, and its connections."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        config = self.service.config
        self._server = await asyncio.start_server(
            self._connect, config.wyoming_host, config.wyoming_port, limit=LINE_BYTES
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        log.info("Wyoming at tcp://%s:%d, for whoever reaches it", host, port)

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and what connections are left."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= self.service.config.limits.connections:
                await _Connection(self.service, reader, writer).serve()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass  # the client has gone, or is dropped: there is nobody to tell
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


class _Connection:
    """One client: events in, events out."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.service, self.reader, self.writer = service, reader, writer
        self.limits = service.config.limits
        self.address: str = writer.get_extra_info("peername", ("-",))[0]
        self._speech: _Speech | None = None
        self._sessions = contextlib.ExitStack()  # the utterance that is being received, if any

    async def serve(self) -> None:
        with self._sessions:
            is_open = True
            while is_open:
                try:
                    event = await self._next_event()
                    is_open = event is not None
                    if event is not None:
                        await self._answer(event)
                except Refusal as refusal:
                    self._count(refusal.status)
                    self._forget()
                    await self._say(Error(str(refusal), refusal.code).event())
                    is_open = refusal.status not in ENDING

    async def _next_event(self) -> Event | None:
        """The next event, None where the client has gone. Raises Refusal where none comes, or none should any more."""
        read = asyncio.ensure_future(read_event(self.reader))
        waited: set[asyncio.Future[Any]] = {read}
        if self._speech is None:  # what was begun may go on
            waited.add(asyncio.ensure_future(self.service.admission.is_stopping.wait()))
        idle = self.limits.idle_seconds
        done, pending = await asyncio.wait(waited, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        if read in done:
            return read.result()
        if done:
            raise Refusal(503, "server: stopping; expected another one; try again", code="stopping")
        raise Refusal(408, f"events: none for {idle:g} s; expected some; connect again", code="too_slow")

    async def _answer(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self._say(info(self.service).event())
        elif Ping.is_type(event.type):
            await self._say(Pong(text=Ping.from_event(event).text).event())
        elif Transcribe.is_type(event.type):
            self._check_asked(Transcribe.from_event(event))
        elif AudioStart.is_type(event.type):
            self._begin(event.data)
        elif AudioChunk.is_type(event.type) and self._speech is not None:
            self._speech.form.check_same(_format(event.data))
            self._speech.add(event.payload or b"", most_seconds=self.limits.seconds)
        elif AudioStop.is_type(event.type) and self._speech is not None:
            await self._end(self._speech)
        elif AudioChunk.is_type(event.type) or AudioStop.is_type(event.type):
            raise Refusal(422, f"{event.type}: before audio-start; expected it after", code="invalid_value")
        elif Recognize.is_type(event.type) or Transcript.is_type(event.type):
            await self._understand(event.data)
        # Other events are of later versions of the protocol: clients expect them to be passed over.

    def _check_asked(self, asked: Transcribe) -> None:
        language, ours = asked.language or "", self.service.language
        if language and language.lower().partition("-")[0] != ours.lower().partition("-")[0]:
            raise Refusal(422, f"language: {language[:40]!r}; expected {ours!r}, or none", code="invalid_value")
        if asked.name and asked.name != self.service.model_name:
            expected = repr(self.service.model_name)
            raise Refusal(404, f"name: {asked.name[:80]!r}; expected {expected}, or none", code="model_not_found")

    def _begin(self, data: dict[str, Any]) -> None:
        self._forget()
        form = _format(data)
        self.service.admission.check_rate(self.address)
        self._sessions.enter_context(self.service.admission.session())
        self._speech = _Speech(form)

    def _forget(self) -> None:
        """Let go of an utterance that is over, or that another one takes the place of."""
        self._speech = None
        self._sessions.close()

    async def _end(self, speech: _Speech) -> None:
        start = time.perf_counter()
        samples = speech.form.samples(b"".join(speech.parts), sample_rate=self.service.batcher.sample_rate)
        found = OurTranscript("", 0.0, (), len(samples) / self.service.batcher.sample_rate)
        if len(samples) and np.abs(samples).max() >= SILENCE:
            found = await self.service.batcher.submit(self, samples)
        self._forget()
        self._count(200)
        self.service.log_transcript("wyoming", found, time.perf_counter() - start)
        await self._say(Transcript(text=found.pred_text, language=self.service.language).event())

    async def _understand(self, data: dict[str, Any]) -> None:
        """Answer what a text means in the grammar, for clients that have recognised it, or had it typed."""
        text, context = data.get("text"), data.get("context")
        if not isinstance(text, str) or len(text) > MOST_TEXT_CHARACTERS:
            raise Refusal(
                422,
                f"text: none, or a long one; expected at most {MOST_TEXT_CHARACTERS:,} characters",
                code="invalid_value",
            )
        self.service.admission.check_rate(self.address)
        commands = self.service.recognizer.commands
        meanings = commands.meanings(text) if commands is not None else []
        self._count(200)
        if not meanings:
            await self._say(NotRecognized(context=context).event())
            return
        entities = [Entity(name, value) for name, value in meanings[0].slots.items()]
        await self._say(Intent(meanings[0].intent, entities, context=context).event())

    async def _say(self, event: Event) -> None:
        """Send an event. Raises TimeoutError where the client does not read."""
        await asyncio.wait_for(async_write_event(event, self.writer), self.limits.idle_seconds)

    def _count(self, status: int) -> None:
        self.service.metrics.requests.labels("wyoming", str(status)).inc()


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event of a connection, None at its end. Raises Refusal for what is none, or too large."""
    try:
        line = await reader.readline()
        if not line:
            return None
        head = json.loads(line)
        data = head.get("data") or {}
        if size := _length(head, "data_length", DATA_BYTES):
            data = {**data, **json.loads(await reader.readexactly(size))}
        size = _length(head, "payload_length", PAYLOAD_BYTES)
        payload = await reader.readexactly(size) if size else None
        if not isinstance(head["type"], str) or not isinstance(data, dict):
            raise TypeError("a type that is no text, or data that are no object")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(
            400,
            f"event: not Wyoming's ({type(error).__name__}); expected a line of JSON of at most {LINE_BYTES:,} bytes "
            "with a type",
            code="bad_request",
        ) from error
    return Event(head["type"], data, payload)


def _length(head: dict[str, Any], name: str, most: int) -> int:
    size = head.get(name) or 0
    if not isinstance(size, int) or not 0 <= size <= most:
        raise Refusal(413, f"{name}: {str(size)[:20]}; expected at most {most:,} bytes", code="body_too_large")
    return size


def _format(data: dict[str, Any]) -> pcm.PCMFormat:
    return pcm.PCMFormat.checked(data.get("rate"), width=data.get("width"), num_channels=data.get("channels"))


def info(service: Service) -> Info:
    """Returns what a server says of itself."""
    about = {
        "attribution": Attribution("Earshot", ""),
        "installed": True,
        "version": __version__,
    }
    languages = [service.language]
    model = AsrModel(service.model_name, description=service.model_name, languages=languages, **about)
    found = Info(asr=[AsrProgram("earshot", description="Earshot", models=[model], **about)])
    if (commands := service.recognizer.commands) is not None:
        name = commands.grammar.path.stem
        intents = IntentModel(name, description=name, languages=languages, **about)
        found.intent = [IntentProgram("earshot", description="Earshot's commands", models=[intents], **about)]
    return found
