"""A transcript in the shapes that OpenAI's clients read, and a command beside it."""

from __future__ import annotations

import math
import zlib
from typing import Any

from asr.transcript import Transcript
from asr.transcription.formats import FORMATS
from asr.transcription.formats.captions import Caption, cut_captions

# json and verbose_json are written here; the others are a job's output formats.
PLAIN_FORMATS = {"text": "txt", "srt": "srt", "vtt": "vtt"}
RESPONSE_FORMATS = ("json", *PLAIN_FORMATS, "verbose_json")
GRANULARITIES = ("word", "segment")


def plain(transcript: Transcript, response_format: str) -> str:
    """Returns the text of a response that is no JSON."""
    return FORMATS[PLAIN_FORMATS[response_format]].render(transcript, name="")


def short_values(transcript: Transcript) -> dict[str, Any]:
    """Returns the response `json`; `command` and `warning` are added to what OpenAI has, where there is one."""
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration)}
    return {"text": transcript.pred_text, "usage": usage, **_ours(transcript)}


def verbose_values(transcript: Transcript, *, language: str, granularities: set[str]) -> dict[str, Any]:
    """Returns the response `verbose_json`, with words, segments or both."""
    values: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": round(transcript.duration, 3),
        "text": transcript.pred_text,
        "confidence": transcript.confidence,
    }
    if "word" in granularities:
        values["words"] = [vars(word).copy() for word in transcript.words]
    if "segment" in granularities:
        captions = cut_captions(transcript.words, duration=transcript.duration)
        values["segments"] = [_segment(transcript, number, caption) for number, caption in enumerate(captions)]
    return {**values, "usage": short_values(transcript)["usage"], **_ours(transcript)}


def _segment(transcript: Transcript, number: int, caption: Caption) -> dict[str, Any]:
    """Returns a caption as Whisper's segment;
    what this recogniser does not have is what it is where nothing is known.
    """
    text = " ".join(caption.lines)
    spoken = [word for word in transcript.words if caption.start <= word.start < caption.end]
    log_probs = [math.log(max(word.confidence, 1e-4)) for word in spoken]
    return {
        "id": number,
        "seek": 0,
        "start": caption.start,
        "end": caption.end,
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(log_probs) / max(len(log_probs), 1), 4),  # of the words' confidence
        "compression_ratio": round(len(text.encode()) / len(zlib.compress(text.encode())), 4),
        "no_speech_prob": 0.0,
    }


def _ours(transcript: Transcript) -> dict[str, Any]:
    found = {"command": command_values(transcript.command)} if transcript.command is not None else {}
    return {**found, "warning": transcript.warning} if transcript.warning is not None else found


def command_values(command: dict[str, Any]) -> dict[str, Any]:
    """Returns what a recording means, of CommandResult.to_dict: intent, slots, confidence, and what else it may mean.

    A long recording has several, in `commands`.
    """
    if "commands" in command:
        parts = [command_values(each) for each in command["commands"]]
        return {"understood": command["understood"], "text": command["text"], "commands": parts}
    alternatives = [
        {"text": guess["text"], "intent": guess["intent"], "slots": guess["slots"], "score": guess["score"]}
        for guess in command["guesses"]
    ]
    own = {name: command[name] for name in ("understood", "text", "intent", "slots", "confidence", "heard")}
    times = {name: command[name] for name in ("start", "end") if name in command}
    return {**own, **times, "alternatives": alternatives}
