"""A line that says how many words there are."""

from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    return f"{name}: {len(transcript.words)} words\n"
