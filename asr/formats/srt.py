"""SubRip subtitles, which every player reads."""

from asr.formats.captions import cut_captions
from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    captions = cut_captions(transcript.words, duration=transcript.duration)
    blocks = (
        "\n".join((str(number), f"{clock(caption.start)} --> {clock(caption.end)}", *caption.lines)) + "\n"
        for number, caption in enumerate(captions, 1)
    )
    return "\n".join(blocks)


def clock(seconds: float, point: str = ",") -> str:
    """01:02:03,456"""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
