"""Holds what the doors of a server share: one model behind one queue, who is let in, and what is said of it."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field

from asr.recognizer import Recognizer
from asr.serving.admission import Admission
from asr.serving.batching import Batcher
from asr.serving.config import ServeConfig
from asr.serving.metrics import Metrics
from asr.serving.recordings import RecordingReader
from asr.transcript import Transcript

log = logging.getLogger("asr.serving")


@dataclass(kw_only=True, eq=False)
class Service:
    """One server's parts; `close` ends its threads and processes."""

    config: ServeConfig
    model_name: str
    batcher: Batcher
    admission: Admission
    reader: RecordingReader
    metrics: Metrics
    started: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970

    @property
    def language(self) -> str:
        return self.config.language

    @property
    def recognizer(self) -> Recognizer:
        """Returns the recogniser of now: another one, once the grammar was swapped."""
        assert isinstance(self.batcher.recognizer, Recognizer)
        return self.batcher.recognizer

    def log_transcript(self, door: str, transcript: Transcript, seconds: float) -> None:
        """Say in the log how long it took; what was recognised only where that was asked for."""
        text = f" {json.dumps(transcript.pred_text)}" if self.config.log_transcripts else ""
        log.info("%s: %.2f s of audio in %.3f s%s", door, transcript.duration, seconds, text)

    async def close(self) -> None:
        await self.batcher.stop()
        self.reader.close()


def create_service(config: ServeConfig, recognizer: Recognizer, *, name: str, token: str | None = None) -> Service:
    """Returns the parts of a server, ready to be started."""
    metrics = Metrics()
    batcher = Batcher(
        recognizer, sample_rate=recognizer.feature_config.sample_rate, config=config.batching, metrics=metrics
    )
    return Service(
        config=config,
        model_name=config.model_name or name,
        batcher=batcher,
        admission=Admission(batcher, limits=config.limits, metrics=metrics, token=token),
        reader=RecordingReader(batcher, num_decoders=config.num_decoders, limits=config.limits),
        metrics=metrics,
    )
