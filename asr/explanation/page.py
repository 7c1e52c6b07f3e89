"""An explanation as a page that needs nothing else: the picture under a cursor, the recording, the words."""

import base64
import io
from pathlib import Path

import soundfile

from asr.audio.reading import read_audio
from asr.explanation.inside import Explanation
from asr.explanation.plot import Picture
from asr.files.replacing import replacing
from asr.recognizer import Transcription

TEMPLATE = Path(__file__).parents[1] / "pages" / "explanation.html.j2"
SAMPLE_RATE = 16_000  # hertz, of the sound in the page


def write_page(
    path: Path, explanation: Explanation, picture: Picture, *, transcription: Transcription, run: Path, recording: Path
) -> None:
    """`transcription` is what the recogniser heard in the recording; words of it can be clicked and heard."""
    from jinja2 import Environment

    # A file's name and a transcript are text, never markup: autoescape is what keeps them so.
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        explanation=explanation,
        picture=base64.b64encode(picture.png).decode("ascii"),
        left=picture.left,
        right=picture.right,
        transcription=transcription,
        run=str(run),
        recording=recording.name,
        audio=_sound(recording),
        gates=_mean_gates(explanation),
    )
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _sound(recording: Path) -> str:
    """The `src` of the player: MP3, the one small format that every browser plays."""
    encoded = io.BytesIO()
    samples = read_audio(recording, sample_rate=SAMPLE_RATE)
    soundfile.write(encoded, samples, SAMPLE_RATE, format="MP3", compression_level=0.7)
    return "data:audio/mpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")


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
