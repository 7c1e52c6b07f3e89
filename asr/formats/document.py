"""All that is known, as one JSON object."""

import json

from asr.transcript import Transcript


def render(transcript: Transcript, *, name: str) -> str:
    """The keys are those of a job's JSON lines."""
    values = {"id": name, **transcript.to_dict()}
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
