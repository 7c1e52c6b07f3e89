"""SubRip subtitles, which every player reads."""

from asr.transcript import Transcript
from asr.transcription.conversation import Conversation
from asr.transcription.formats.captions import Caption, conversation_captions, cut_captions


def render(transcript: Transcript, *, name: str) -> str:
    return _blocks(cut_captions(transcript.words, duration=transcript.duration))


def render_conversation(conversation: Conversation, *, name: str) -> str:
    """Each caption begins with its speaker: the format has no other way to say it."""
    return _blocks(
        [
            Caption(caption.start, caption.end, (f"{speaker}: {caption.lines[0]}", *caption.lines[1:]))
            for speaker, caption in conversation_captions(conversation)
        ]
    )


def _blocks(captions: list[Caption]) -> str:
    return "\n".join(
        "\n".join((str(number), f"{clock(caption.start)} --> {clock(caption.end)}", *caption.lines)) + "\n"
        for number, caption in enumerate(captions, 1)
    )


def clock(seconds: float, point: str = ",") -> str:
    """01:02:03,456"""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
