"""What searching a grammar costs: `python -m tests.bench.grammar [GRAMMAR.yaml ...]`, milliseconds a second of audio.

Seconds of one core, by the processor's clock: on a busy machine too. The scores are random, but shaped as a trained CTC
head's: mostly blank, a token now and then, and the searched sentence is one of the grammar's (a command) or unrelated
tokens (other speech), 12 tokens, and 25 or 50 encodings a second. "Three meanings" are
the best sentences that mean different things. "In full" is all that follows a model's scores: these, the filler, and
the words with their times.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.text import BLANK_ID, NUM_SPECIAL, CharTokenizerConfig, PhonemeTokenizerConfig
from asr.understanding.rejection import Rejection
from asr.understanding.result import CommandSearch

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"
NUM_UTTERANCES = 20
TOKENS_A_SECOND = 12


def spoken(tokens: list[int], vocabulary_size: int, *, encodings_a_second: int, rng: np.random.Generator) -> np.ndarray:
    """Log-probabilities [time vocabulary] that peak at the tokens, one after another, among blanks."""
    num_frames = max(2 * len(tokens), round(len(tokens) / TOKENS_A_SECOND * encodings_a_second))
    logits = rng.normal(scale=1.5, size=(num_frames, vocabulary_size))
    logits[:, BLANK_ID] += 5.0
    frames = np.sort(rng.choice(num_frames, size=len(tokens), replace=False))
    logits[frames, tokens] += 8.0
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def measure(work: Callable[[np.ndarray], object], utterances: list[np.ndarray], encodings_a_second: int) -> float:
    """Milliseconds of this thread's core a second of audio, the best of three rounds."""
    seconds = sum(map(len, utterances)) / encodings_a_second
    times = []
    for _ in range(3):
        start = time.thread_time()
        for scores in utterances:
            work(scores)
        times.append(time.thread_time() - start)
    return 1e3 * min(times) / seconds


def main() -> None:
    for path in [Path(name) for name in sys.argv[1:]] or [COMMANDS / "barista.yaml", COMMANDS / "home.yaml"]:
        grammar = load_grammar(path)
        commands = Sampler(grammar).sample(NUM_UTTERANCES, min_count=0, rng=np.random.default_rng(0))
        for config in (CharTokenizerConfig(), PhonemeTokenizerConfig()):
            tokenizer = config.train([" ".join(Sampler(grammar).words)])
            start = time.thread_time()
            search = CommandSearch(grammar, tokenizer, rejection=Rejection(threshold=-np.inf))
            print(
                f"{path.stem} in {config.kind}s: {search.graph.num_sentences:,} sentences, {search.graph.num_states} "
                f"states of words, {search.search.states.num_states} of tokens, compiled in "
                f"{time.thread_time() - start:.2f} s"
            )
            for encodings_a_second in (25, 50):
                search_and_print(search, [command.text for command in commands], encodings_a_second)


def search_and_print(search: CommandSearch, texts: list[str], encodings_a_second: int) -> None:
    rng = np.random.default_rng(1)
    size = search.tokenizer.vocabulary_size
    said = [search.tokenizer.encode(text) for text in texts]
    others = [rng.integers(NUM_SPECIAL, size, size=len(tokens)).tolist() for tokens in said]
    for name, sentences in (("commands", said), ("other speech", others)):
        scores = [spoken(tokens, size, encodings_a_second=encodings_a_second, rng=rng) for tokens in sentences]
        ways = {
            "for the best sentence": partial(search.search.search, num_best=1),
            "for the best three": partial(search.search.search, num_best=3),
            "for three meanings": partial(search.search.search_kinds, num_best=3, kind_of=search._find_meaning),
            "in full": partial(search.understand, seconds_per_encoding=1 / encodings_a_second),
        }
        figures = [f"{measure(way, scores, encodings_a_second):.2f} ms {what}" for what, way in ways.items()]
        print(f"  {name}, {encodings_a_second} encodings a second: {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
