"""Says on the console what was found in a recording: the words, a command's intent and slots, or why there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from asr.transcript import Transcript
from asr.transcription.conversation import merge

NOTHING = "(nothing recognised)"


def result_lines(name: str, record: dict[str, Any]) -> Iterator[str]:
    """Yields a line for each transcript of a recording, or of a conversation for each turn; the name comes first if
    given.

    light.wav  turn the light on
    order.wav  HassLightSet {"area": "kitchen"}  confidence 0.997
    """
    first = f"{name}  " if name else ""
    if "error" in record:
        yield f"{first}not transcribed: {record['error']}"
        return
    transcripts = [Transcript.from_dict(values) for values in record["transcripts"]]
    if record.get("merged"):
        turns = merge(transcripts).turns
        yield from (f"{first}{turn.start:7.2f} s  {turn.speaker}: {turn.text}" for turn in turns)
        if not turns:
            yield f"{first}{NOTHING}"
        return
    for transcript in transcripts:
        channel = f"channel {transcript.channel}: " if record.get("each_channel") else ""
        yield f"{first}{channel}{recognised(transcript)}"


def recognised(transcript: Transcript) -> str:
    """Returns the words, or of a command its meaning."""
    command = transcript.command
    if command is None:
        return transcript.pred_text or NOTHING
    if not command.get("understood"):
        return "not understood"
    slots = json.dumps(command["slots"], ensure_ascii=False)
    return f"{command['intent']} {slots}  confidence {command['confidence']:.3f}"
