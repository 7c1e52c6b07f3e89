"""The words alone, in one line."""

from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    return f"{transcript.pred_text}\n"
