"""WebVTT subtitles, those of browsers (W3C, WebVTT, sections 4.1 and 4.2)."""

from html import escape

from asr.formats.captions import cut_captions
from asr.formats.srt import clock
from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    captions = cut_captions(transcript.words, duration=transcript.duration)
    cues = (
        "\n".join((f"{clock(each.start, '.')} --> {clock(each.end, '.')}", *map(_escaped, each.lines)))
        for each in captions
    )
    return "\n\n".join(("WEBVTT", *cues)) + "\n"


def _escaped(line: str) -> str:
    return escape(line, quote=False)
