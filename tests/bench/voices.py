"""What synthesizers cost: seconds of one core for each second of speech, loading left out.

    python -m tests.bench.voices espeak flite hibari kokoro

Each speaks the same sentences, a few speakers in turn, after one sentence that is not counted.
"""

from __future__ import annotations

import argparse
import os

from asr.process.runtime import EXIT_OK, Parser, run_program
from data_prep.voices import ENGINES, Delivery, load_engine

SENTENCES = (
    "set a reminder for tomorrow at seven in the morning",
    "turn off the lights in the kitchen please",
    "what is the weather going to be like in london on monday",
    "can i get a large triple shot mocha with a bit of sugar",
    "play some jazz in the living room",
    "add two pounds of tomatoes to my shopping list",
)
NUM_SPEAKERS = 3


def processor_seconds() -> float:
    """Returns what this process and the programs it ran have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def seconds_each(name: str, num_rounds: int) -> float:
    engine = load_engine(name)
    speakers = [speaker for family in engine.families() for speaker in family if engine.accents_of(speaker)]
    english = [speaker for speaker in speakers if any("en" in each.lower() for each in engine.accents_of(speaker))]
    chosen = english[:: max(1, len(english) // NUM_SPEAKERS)][:NUM_SPEAKERS]
    deliveries = [
        Delivery(each, next(name for name in engine.accents_of(each) if "en" in name.lower()), 165, 50)
        for each in chosen
    ]
    engine.speak(SENTENCES[0], deliveries[0])
    start, spoken = processor_seconds(), 0.0
    for number in range(num_rounds * len(SENTENCES)):
        samples, rate = engine.speak(SENTENCES[number % len(SENTENCES)], deliveries[number % len(deliveries)])
        spoken += len(samples) / rate
    return (processor_seconds() - start) / spoken


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=ENGINES)
    parser.add_argument("--num-rounds", type=int, default=1, help="of the six sentences (1)")
    options = parser.parse_args(arguments)
    for name in options.engines:
        print(f"{name}: {seconds_each(name, options.num_rounds):.4f} s of a core for each second of speech", flush=True)
    return EXIT_OK


if __name__ == "__main__":
    run_program(main)
