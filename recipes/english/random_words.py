"""Writes phrases of random words, a line each: the English model hears each of 12,000 words in them.

    pip install wordfreq hibari-tts
    python recipes/english/random_words.py data/english/random_words.txt

What people say to assistants has 5,000 different words, and a grammar may hold any. Sentences would let a model guess
a word from those before it; among random words only its sound tells it. The words are the most frequent ones of
English (wordfreq) that hibari-tts has a pronunciation of. The same seed gives the same phrases.
"""

import gzip
import json
import random
import sys
from pathlib import Path

NUM_WORDS, NUM_PHRASES, SEED = 12_000, 5_000, 3
FEWEST, MOST = 2, 6  # words of a phrase


def frequent_words() -> list[str]:
    """Returns the most frequent words, the first the most frequent one."""
    import hibari
    import wordfreq

    path = Path(hibari.__file__).parent / "assets" / "lexicon_us_gold.json.gz"
    known = json.loads(gzip.decompress(path.read_bytes()))
    words = [word for word in wordfreq.top_n_list("en", 100_000) if word in known and word.isascii()]
    return [word for word in words if word.isalpha() and word.islower() and len(word) > 2][:NUM_WORDS]


if __name__ == "__main__":
    rng, words, phrases = random.Random(SEED), frequent_words(), []
    deck: list[str] = []
    while len(phrases) < NUM_PHRASES:
        if len(deck) < MOST:  # each word comes once before any comes again
            deck += rng.sample(words, len(words))
        size = rng.randint(FEWEST, MOST)
        phrases.append(" ".join(deck[:size]))
        del deck[:size]
    Path(sys.argv[1]).write_text("\n".join(phrases) + "\n", encoding="utf-8")
