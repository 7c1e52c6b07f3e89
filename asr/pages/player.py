"""A recording inside a page, so that the page needs no other file."""

import base64
import io

import soundfile

from asr.audio.reading import read_stretch
from asr.audio.stretch import Stretch

SAMPLE_RATE = 16_000  # hertz, of the sound in a page


def embedded_audio(stretch: Stretch) -> str:
    """Returns the `src` of a player with a stretch of a recording as MP3. Raises AudioError as reading it does."""
    samples = read_stretch(stretch, sample_rate=SAMPLE_RATE)
    # MP3: the one small format that every browser plays; at this level about 30 kbit/s.
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format="MP3", compression_level=0.7)
    return "data:audio/mpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
