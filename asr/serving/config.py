"""Holds what a server is told: the options of `python -m asr.serve`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from asr.section import Section

SocketDialect = Literal["vosk", "sherpa"]
SOCKET_DIALECTS: tuple[SocketDialect, ...] = ("vosk", "sherpa")


class ServingLimits(Section):
    """Bounds what one server and one client may take; what asks for more is refused, with the limit in the message."""

    body_mb: float = Field(25.0, gt=0, le=4096, description="megabytes of a request's body")
    seconds: float = Field(
        600.0, gt=0, le=86_400, description="of audio in one request, or in one utterance of a stream"
    )
    long_recordings: int = Field(4, ge=1, description="of more than half a minute, recognised at a time")
    sessions: int = Field(64, ge=1, description="requests and streams that are served at a time")
    connections: int = Field(256, ge=1, description="open connections; more are closed as they come")
    waiting: int = Field(256, ge=1, description="utterances that wait for the model, before new requests are put off")
    requests_per_minute: int = Field(600, ge=0, description="of one address, streams too; 0: any number")
    idle_seconds: float = Field(15.0, gt=0, description="after which a client that sends, or reads, nothing is dropped")
    drain_seconds: float = Field(10.0, ge=0, description="for what was begun, once the server is asked to stop")
    decoder_mb: int = Field(512, ge=64, description="megabytes of memory for decoding one recording")


class BatchingConfig(Section):
    """Says how utterances of several clients become one batch."""

    size: int = Field(16, ge=1, description="utterances, at most")
    seconds: float = Field(120.0, gt=0, description="of their padded audio, at most")
    wait_ms: float = Field(5.0, ge=0, le=1000, description="for others to come, at most")


class ServeConfig(Section):
    """One server."""

    run: str = Field(description="a run folder of asr.train")
    commands: str | None = Field(None, description="a grammar, if only its sentences are to be understood")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0: all of this machine's")
    port: int = Field(8000, ge=0, le=65_535, description="of HTTP and WebSockets; 0: any free one")
    wyoming_host: str = Field("127.0.0.1", description="the same for Wyoming, which has neither token nor TLS")
    wyoming_port: int | None = Field(None, ge=0, le=65_535, description="null: no Wyoming")
    websocket: SocketDialect = Field("vosk", description="what a WebSocket at the root speaks")
    model_name: str | None = Field(None, description="that clients ask for; null: the name of the run's folder")
    language: str = Field("en", description="of the model, as clients name it")
    token_file: str | None = Field(None, description="a file with the bearer token that clients must send")
    tls_cert: str | None = Field(None, description="a certificate (PEM), for HTTPS")
    tls_key: str | None = Field(None, description="its key (PEM)")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the model's arithmetic")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the model computes")
    num_threads: int = Field(0, ge=0, description="CPU threads of the model; 0: one a core")
    num_decoders: int = Field(2, ge=1, description="processes that decode recordings")
    batching: BatchingConfig = BatchingConfig()
    limits: ServingLimits = ServingLimits()
    watch_seconds: float = Field(1.0, gt=0, description="between two looks at the grammar's file")
    log_transcripts: bool = Field(False, description="write what was recognised into the log")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> ServeConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_cert" if self.tls_cert is None else "tls_key"
            raise ValueError(f"{missing}: not given; expected both --tls-cert and --tls-key, or neither")
        return self
