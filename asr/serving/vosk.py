"""Vosk's messages: https://github.com/alphacep/vosk-server, websocket/.

    {"config": {"sample_rate": 16000}}                     no answer; before the first samples
    int16 samples, mono, the low byte first                {"partial": "can i"}, or, where an utterance has ended,
                                                           {"result": [{"conf", "start", "end", "word"}], "text"}
    {"eof": 1}                                             the rest, as a result; then the connection is closed
    {"reset": 1}                                           the rest, as a result; then a new stream

Each message with samples has one answer. A result has `command` beside it where the server has commands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from asr.live.pcm import Resampler
from asr.serving.answers import command_values
from asr.serving.pcm import PCMFormat
from asr.serving.refusal import Refusal
from asr.serving.sockets import Asked, EndedSegment

DEFAULT_RATE = 16_000  # hertz
KEYS = "sample_rate, words, max_alternatives"


class VoskDialect:
    """The messages of one connection."""

    def __init__(self, *, sample_rate: int) -> None:
        """`sample_rate` is the model's, in hertz."""
        self.sample_rate = sample_rate
        self.form = PCMFormat(DEFAULT_RATE)
        self.has_words = True
        self._resampler: Resampler | None = None  # of the stream that has begun

    def read(self, message: str | bytes) -> Asked:
        """Returns what a message asks for. Raises Refusal for unknown ones, and for half samples."""
        if isinstance(message, bytes):
            return Asked(self._resampled(self.form.values(message)))
        values = read_object(message)
        if isinstance(values.get("config"), dict) and len(values) == 1:
            self._configure(values["config"])
            return Asked()
        if values == {"eof": 1}:
            return Asked(self._last_samples(), ends="stream")
        if values == {"reset": 1}:
            return Asked(self._last_samples(), ends="segment")
        raise Refusal(422, f'message: {message[:40]!r}; expected config, {{"eof": 1}} or samples', code="invalid_value")

    def _resampled(self, samples: Float32[np.ndarray, " sample"]) -> Float32[np.ndarray, " _"]:
        """The samples at the model's rate; a resampler goes on from message to message."""
        self._resampler = self._resampler or Resampler(self.form.sample_rate, self.sample_rate)
        return self._resampler.push(samples)

    def _last_samples(self) -> Float32[np.ndarray, " _"] | None:
        """Returns what the resampler still holds, at the end of a stream; None where there were no samples."""
        resampler, self._resampler = self._resampler, None
        return resampler.push(np.zeros(0, np.float32), is_last=True) if resampler is not None else None

    def _configure(self, values: dict[str, Any]) -> None:
        if self._resampler is not None:
            raise Refusal(422, "config: after samples; expected it before them", code="invalid_value")
        rate = values.pop("sample_rate", self.form.sample_rate)
        # Vosk's clients send 16000.0 too.
        self.form = PCMFormat.checked(int(rate) if isinstance(rate, float) and rate.is_integer() else rate)
        self.has_words = bool(values.pop("words", self.has_words))
        alternatives = values.pop("max_alternatives", 0)
        if alternatives != 0:
            raise Refusal(422, f"max_alternatives: {str(alternatives)[:20]}; expected 0", code="invalid_value")
        if values:
            raise Refusal(422, f"config: {min(values)[:40]!r}; expected {KEYS}", code="invalid_value")

    def answers(self, heard: Sequence[EndedSegment], partial: str, *, asked: Asked) -> list[str]:
        """One answer to each message that has samples, or ends something."""
        if asked.samples is None and asked.ends == "no":
            return []
        if not heard and asked.ends == "no":
            return [_text({"partial": partial})]
        words = [
            {
                "conf": word.confidence,
                "start": round(each.start + word.start, 3),
                "end": round(each.start + word.end, 3),
                "word": word.word,
            }
            for each in heard
            for word in each.transcript.words
        ]
        values: dict[str, Any] = {"result": words} if words and self.has_words else {}
        values["text"] = " ".join(filter(None, (each.transcript.pred_text for each in heard)))
        commands = [command_values(each.transcript.command) for each in heard if each.transcript.command is not None]
        if commands:
            values["command"] = commands[0] if len(commands) == 1 else {"commands": commands}
        return [_text(values)]


def read_object(message: str) -> dict[str, Any]:
    """The object in a message. Raises Refusal where there is none."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Refusal(422, f"message: {message[:40]!r}; expected a JSON object, or samples", code="invalid_value")
    return values


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)
