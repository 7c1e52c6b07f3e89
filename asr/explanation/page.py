"""An explanation as a page that needs nothing else: the picture under a cursor, the recording, the words."""

import base64
from pathlib import Path

from asr.audio.stretch import Stretch
from asr.explanation.inside import Explanation
from asr.explanation.plot import Picture
from asr.files.replacing import replacing
from asr.pages.player import embedded_audio
from asr.pages.render import render
from asr.recognizer import Transcription

TEMPLATE = "explanation.html.j2"


def write_page(
    path: Path, explanation: Explanation, picture: Picture, *, transcription: Transcription, run: Path, recording: Path
) -> None:
    """`transcription` is what the recogniser heard in the recording; words of it can be clicked and heard."""
    page = render(
        TEMPLATE,
        explanation=explanation,
        picture=base64.b64encode(picture.png).decode("ascii"),
        left=picture.left,
        right=picture.right,
        transcription=transcription,
        run=str(run),
        recording=recording.name,
        audio=embedded_audio(Stretch(str(recording))),
        gates=_mean_gates(explanation),
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _mean_gates(explanation: Explanation) -> list[tuple[str, dict[str, float], float]]:
    """Returns, for each layer and direction, how far its gates are open on the whole, and its memory's mean size."""
    return [
        (
            layer.name,
            {gate: float(values.mean()) for gate, values in layer.gates.items()},
            float(abs(layer.memory).mean()),
        )
        for layer in explanation.layers
    ]
