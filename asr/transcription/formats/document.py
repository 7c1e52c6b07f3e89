"""All that is known, as one JSON object."""

import json

from asr.transcript import Transcript
from asr.transcription.conversation import Conversation, turn_values


def render(transcript: Transcript, *, name: str) -> str:
    """The keys are those of a job's JSON lines."""
    values = {"id": name, **transcript.to_dict()}
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def render_conversation(conversation: Conversation, *, name: str) -> str:
    values = {
        "id": name,
        "pred_text": conversation.pred_text,
        "confidence": round(conversation.confidence, 4),
        "turns": [turn_values(turn) for turn in conversation.turns],
        "duration": conversation.duration,
        "warnings": list(conversation.warnings),
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
