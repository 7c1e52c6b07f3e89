"""The recordings in examples/, made anew: python recipes/barista_bilstm_ctc/make_examples.py [FOLDER]

Five orders and a sentence that is no order, each by another synthesized voice; needs what README.md says to install.
"""

import sys
from pathlib import Path

from asr.audio.reading import resample, write_audio
from data_prep.voices import Delivery, load_engine

SAMPLE_RATE = 16_000  # the model's
# name, sentence, engine, speaker, accent, words a minute, pitch (50 is the speaker's own)
EXAMPLES = (
    ("latte", "can I get a large latte with a little bit of sugar", "flite", "rms", "en-us", 140, 50),
    ("espresso", "can I have a double shot espresso with whole milk", "flite", "slt", "en-us", 150, 50),
    (
        "mocha",
        "I'd like a small dark roast iced mocha with skim milk",
        "festival",
        "cmu_us_slt_arctic_hts",
        "en-us",
        141,
        50,
    ),
    (
        "cappuccino",
        "may I have a medium cappuccino with lots of cream and some brown sugar",
        "flite",
        "awb",
        "en-gb-scotland",
        150,
        50,
    ),
    ("americano", "give me a twelve ounce americano", "festival", "kal_diphone", "en-us", 140, 50),
    ("weather", "what will the weather be like tomorrow", "flite", "rms", "en-us", 140, 50),
)


def main(folder: Path) -> None:
    for name, sentence, engine, *voice in EXAMPLES:
        samples, rate = load_engine(engine).speak(sentence, Delivery(*voice))
        write_audio(
            folder / f"{name}.opus", resample(samples, from_rate=rate, to_rate=SAMPLE_RATE), sample_rate=SAMPLE_RATE
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "examples")
