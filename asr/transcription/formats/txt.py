"""The words alone, in one line."""

from asr.transcript import Transcript
from asr.transcription.conversation import Conversation


def render(transcript: Transcript, *, name: str) -> str:
    return f"{transcript.pred_text}\n"


def render_conversation(conversation: Conversation, *, name: str) -> str:
    """Writes a line for each turn: `[0:00:01.2] channel 0: hello`."""
    return "".join(f"[{_clock(turn.start)}] {turn.speaker}: {turn.text}\n" for turn in conversation.turns)


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
