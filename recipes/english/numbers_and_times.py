"""Writes sentences of numbers, times and dates, a line each, for the English model to be spoken to it.

    python recipes/english/numbers_and_times.py data/english/numbers_and_times.txt

Lists of what people say to assistants hold few numbers, and a model must know the sound of each. The same seed gives
the same sentences.
"""

import random
import sys
from pathlib import Path

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "twentieth",
    "thirtieth",
]
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
CARRIERS = (
    "it was {time} already",
    "she arrives at {time}",
    "wake up at {time}",
    "at {time}",
    "{time}",
    "until {time}",
    "{number} percent",
    "{number} degrees",
    "about {number}",
    "{number}",
    "{number} minutes",
    "{number} seconds",
    "for {number} hours",
    "number {number}",
    "there were {number} of them",
    "{number} and {small}",
    "channel {number}",
    "page {number} of {small}",
    "minus {number} degrees",
    "{number} point {small}",
    "the year twenty {small}",
    "on the {ordinal} of {month}",
    "{month} the {ordinal}",
    "next {day} at {time}",
    "every {day}",
    "{day} morning",
    "on {day}",
    "from {number} to {small}",
    "{number} times {small}",
)
NUM_SENTENCES, SEED = 1500, 5


def spell(number: int, rng: random.Random) -> str:
    """Returns a number below a million in words: "two hundred and four" or "two hundred four"."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    many, rest = divmod(number, unit)
    joint = " and " if unit == 100 and rng.random() < 0.5 else " "
    return f"{spell(many, rng)} {name}" + (joint + spell(rest, rng) if rest else "")


def time_of_day(rng: random.Random) -> str:
    """Returns a time as people say it: "quarter past six", "seven forty five"."""
    hour, minute = ONES[rng.randrange(1, 13)], rng.randrange(60)
    ways = [
        f"{rng.choice(('half past', 'quarter past', 'a quarter to'))} {hour}",
        f"{hour} o'clock",
        f"{hour} {rng.choice(('a m', 'p m'))}",
        f"{spell(rng.randrange(1, 30), rng)} minutes {rng.choice(('past', 'to'))} {hour}",
    ]
    exact = hour if minute == 0 else f"{hour} oh {ONES[minute]}" if minute < 10 else f"{hour} {spell(minute, rng)}"
    return rng.choice([*ways, exact, exact])


def sentence(rng: random.Random) -> str:
    """Returns one sentence."""
    limit = rng.choice((100, 100, 100, 1000, 20_000))
    return rng.choice(CARRIERS).format(
        time=time_of_day(rng),
        number=spell(rng.randrange(limit), rng),
        small=spell(rng.randrange(1, 100), rng),
        ordinal=rng.choice(ORDINALS),
        month=rng.choice(MONTHS),
        day=rng.choice(DAYS),
    )


if __name__ == "__main__":
    rng, sentences = random.Random(SEED), set[str]()
    while len(sentences) < NUM_SENTENCES:
        sentences.add(sentence(rng))
    Path(sys.argv[1]).write_text("\n".join(sorted(sentences)) + "\n", encoding="utf-8")
