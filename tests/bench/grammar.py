"""What searching a grammar costs: `python tests/bench/grammar.py [GRAMMAR.yaml ...]`, milliseconds a second of audio.

The scores are random, but shaped as a trained CTC head's: mostly blank, a token now and then, and the searched sentence
is one of the grammar's (a command) or unrelated tokens (other speech), 33 tokens, 25 and 50 encodings a second.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from asr.commands.network import word_graph
from asr.commands.sampling import Sampler
from asr.commands.templates import load_grammar
from asr.decoding.grammar import GrammarSearch
from asr.tokenizer import BLANK_ID, NUM_SPECIAL, CharTokenizer, CharTokenizerConfig

COMMANDS = Path(__file__).parents[2] / "conf" / "commands"
NUM_UTTERANCES = 20
CHARACTERS_A_SECOND = 12
VOCABULARY_SIZE = NUM_SPECIAL + 28  # a to z, space and apostrophe


def spoken(tokens: list[int], *, encodings_a_second: int, rng: np.random.Generator) -> np.ndarray:
    """Log-probabilities [time vocabulary] that peak at the tokens, one after another, among blanks."""
    num_frames = max(2 * len(tokens), round(len(tokens) / CHARACTERS_A_SECOND * encodings_a_second))
    logits = rng.normal(scale=1.5, size=(num_frames, VOCABULARY_SIZE))
    logits[:, BLANK_ID] += 5.0
    frames = np.sort(rng.choice(num_frames, size=len(tokens), replace=False))
    logits[frames, tokens] += 8.0
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def measure(search: GrammarSearch, utterances: list[np.ndarray], encodings_a_second: int, num_best: int) -> float:
    """Milliseconds a second of audio, the best of three rounds."""
    seconds = sum(map(len, utterances)) / encodings_a_second
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for scores in utterances:
            search.search(scores, num_best=num_best)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times) / seconds


def main() -> None:
    tokenizer: CharTokenizer = CharTokenizerConfig().train(["abcdefghijklmnopqrstuvwxyz '"])
    for path in [Path(name) for name in sys.argv[1:]] or [COMMANDS / "barista.yaml", COMMANDS / "home.yaml"]:
        start = time.perf_counter()
        grammar = load_grammar(path)
        graph = word_graph(grammar)
        search = GrammarSearch(graph, tokenizer)
        print(
            f"{path.stem}: {graph.num_sentences:,} sentences, {graph.num_states} states of words, "
            f"{search.states.num_states} of tokens, compiled in {time.perf_counter() - start:.2f} s"
        )
        commands = Sampler(grammar).sample(NUM_UTTERANCES, min_count=0, rng=np.random.default_rng(0))
        for encodings_a_second in (25, 50):
            rng = np.random.default_rng(1)
            texts = [tokenizer.encode(command.text) for command in commands]
            others = [rng.integers(NUM_SPECIAL, VOCABULARY_SIZE, size=len(tokens)).tolist() for tokens in texts]
            for name, sentences in (("commands", texts), ("other speech", others)):
                said = [spoken(tokens, encodings_a_second=encodings_a_second, rng=rng) for tokens in sentences]
                figures = [measure(search, said, encodings_a_second, num_best) for num_best in (1, 5)]
                print(
                    f"  {name}, {encodings_a_second} encodings a second: {figures[0]:.2f} ms for the best sentence, "
                    f"{figures[1]:.2f} ms for the best five"
                )


if __name__ == "__main__":
    main()
