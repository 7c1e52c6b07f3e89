"""Output formats: a transcript to the text of a file. A new one is a file of its own and a name here.

Each has `render(transcript, *, name)`, a pure function; `name` is that of the recording. JSON lines, one for each
recording of a job and with the fields of its manifest, are the job's own (asr/transcription/output.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from asr.transcription.formats import ctm, document, srt, textgrid, tsv, txt, vtt


@dataclass(frozen=True)
class Format:
    """Says how one transcript is written."""

    suffix: str  # of the file
    render: Callable[..., str]  # (transcript, *, name) -> the text of the file
    render_conversation: Callable[..., str] | None = None  # (conversation, *, name), where the format has speakers


FORMATS = {
    "txt": Format(".txt", txt.render, txt.render_conversation),
    "json": Format(".json", document.render, document.render_conversation),
    "srt": Format(".srt", srt.render, srt.render_conversation),
    "vtt": Format(".vtt", vtt.render, vtt.render_conversation),
    "ctm": Format(".ctm", ctm.render),
    "TextGrid": Format(".TextGrid", textgrid.render),
    "tsv": Format(".tsv", tsv.render),
}

FORMAT_NAMES = ("jsonl", *FORMATS)
CONVERSATION_FORMATS = {"jsonl"} | {name for name, form in FORMATS.items() if form.render_conversation is not None}
