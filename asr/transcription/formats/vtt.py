"""WebVTT subtitles, those of browsers (W3C, WebVTT, sections 4.1 and 4.2; voices: 4.2.2)."""

from html import escape

from asr.transcript import Transcript
from asr.transcription.conversation import Conversation
from asr.transcription.formats.captions import conversation_captions, cut_captions
from asr.transcription.formats.srt import clock


def render(transcript: Transcript, *, name: str) -> str:
    captions = cut_captions(transcript.words, duration=transcript.duration)
    cues = (
        "\n".join((f"{clock(each.start, '.')} --> {clock(each.end, '.')}", *map(_escaped, each.lines)))
        for each in captions
    )
    return "\n\n".join(("WEBVTT", *cues)) + "\n"


def render_conversation(conversation: Conversation, *, name: str) -> str:
    """Each cue is in the voice of its speaker: `<v channel 0>hello`."""
    cues = (
        f"{clock(each.start, '.')} --> {clock(each.end, '.')}\n<v {speaker}>" + "\n".join(map(_escaped, each.lines))
        for speaker, each in conversation_captions(conversation)
    )
    return "\n\n".join(("WEBVTT", *cues)) + "\n"


def _escaped(line: str) -> str:
    return escape(line, quote=False)
