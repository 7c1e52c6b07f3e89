"""The recordings in examples/, made anew: EARSHOT_KOKORO=STYLES python recipes/commands_home/make_examples.py [FOLDER]

Four commands and a sentence that is none, by three of Kokoro's voices; docs/voices.md says what EARSHOT_KOKORO names.
"""

import sys
from pathlib import Path

from asr.audio.reading import resample, write_audio
from data_prep.voices import Delivery, load_engine

SAMPLE_RATE = 16_000  # the model's
# name, sentence, style, accent, words a minute
EXAMPLES = (
    ("lights", "turn off the kitchen lights", "am_michael", "en-us", 170),
    ("timer", "set a timer for ten minutes", "bf_emma", "en-gb", 160),
    ("reminder", "remind me to call the doctor at seven o'clock", "af_bella", "en-us", 170),
    ("heating", "turn the heating down in the dining room", "am_michael", "en-us", 165),
    ("story", "yesterday we walked along the river until it rained", "bf_emma", "en-gb", 165),
)


def main(folder: Path) -> None:
    """Writes each example into `folder`."""
    engine = load_engine("kokoro")
    for name, sentence, *voice in EXAMPLES:
        samples, rate = engine.speak(sentence, Delivery(*voice, pitch=50))
        samples = resample(samples, from_rate=rate, to_rate=SAMPLE_RATE)
        write_audio(folder / f"{name}.opus", samples, sample_rate=SAMPLE_RATE)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "examples")
