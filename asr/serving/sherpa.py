"""Sherpa-onnx' messages: https://github.com/k2-fsa/sherpa-onnx, online-websocket-server.

    float32 samples, mono, in -1..1, at the model's rate    {"text", "tokens", "timestamps", "segment", "start_time",
                                                            "is_final", "is_eof"} whenever the words have changed
    Done                                                    the rest, then Done!, and the connection is closed

Tokens are words here. A final result has `command` beside it where the server has commands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.serving.answers import command_values
from asr.serving.refusal import Refusal
from asr.serving.sockets import Asked, EndedSegment
from asr.transcript import Transcript

LARGEST = 2.0  # of a sample; int16 sent in the place of floats is far beyond


class SherpaDialect:
    """The messages of one connection."""

    def __init__(self) -> None:
        self._segment = 0
        self._partial = ""

    def read(self, message: str | bytes) -> Asked:
        """Returns what a message asks for. Raises Refusal for text other than Done, and for what are no samples."""
        if isinstance(message, str):
            if message != "Done":
                raise Refusal(422, f"message: {message[:40]!r}; expected samples, or Done", code="invalid_value")
            return Asked(ends="stream")
        if len(message) % 4:
            raise Refusal(422, f"samples: {len(message):,} bytes; expected float32, four each", code="invalid_value")
        samples = np.frombuffer(message, "<f4").astype(np.float32)
        if not np.isfinite(samples).all() or (np.abs(samples) > LARGEST).any():
            raise Refusal(
                422, "samples: NaN, infinite, or far from -1..1; expected float32 in it", code="invalid_value"
            )
        return Asked(samples)

    def answers(self, heard: Sequence[EndedSegment], partial: str, *, asked: Asked) -> list[str]:
        """The segments that have ended, then the words so far where they have changed."""
        is_end = asked.ends == "stream"
        found = []
        for number, each in enumerate(heard, 1):
            found.append(self._result(each.transcript, start=each.start, is_eof=is_end and number == len(heard)))
            self._segment, self._partial = self._segment + 1, ""
        if partial != self._partial and not is_end:
            self._partial = partial
            values = self._values(partial, partial.split(), [], start=0.0)
            found.append(json.dumps({**values, "is_final": False, "is_eof": False}, ensure_ascii=False))
        return [*found, "Done!"] if is_end else found

    def _result(self, transcript: Transcript, *, start: float, is_eof: bool) -> str:
        words = [word.word for word in transcript.words]
        values = self._values(transcript.pred_text, words, [word.start for word in transcript.words], start=start)
        values |= {"is_final": True, "is_eof": is_eof}
        if transcript.command is not None:
            values["command"] = command_values(transcript.command)
        return json.dumps(values, ensure_ascii=False)

    def _values(self, text: str, words: list[str], times: list[float], *, start: float) -> dict[str, Any]:
        """The keys that all results have; times are seconds from the segment's start, which is in `start_time`."""
        return {
            "text": text,
            "tokens": words,
            "timestamps": times,
            "segment": self._segment,
            "start_time": round(start, 3),
        }
