"""Counting an n-gram model into a run folder: the tokenizer, model.arpa, its perplexity and a model card."""

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.config.language_model import NGramConfig
from asr.files.digest import file_digest
from asr.language_models.kneser_ney import estimate_kneser_ney, word_symbols
from asr.language_models.ngram import NGramNetwork, token_symbols
from asr.language_models.table import END_SYMBOL, START_SYMBOL, UNKNOWN_SYMBOL, NGramTable, write_arpa
from asr.process.distributed import Processes
from asr.process.runtime import EXIT_OK
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.runs.language_model import ARPA_FILE
from asr.text import Tokenizer
from asr.training.experiment import data_digests, prepare_tokenizer, train_tokenizer

CARD = """# {name}

An n-gram language model made with Earshot: up to {order} {unit}s, {num_grams:,} n-grams, interpolated modified
Kneser-Ney smoothing.

| | |
|---|---|
| dev perplexity of a {unit} | {perplexity:.4g} |
| unknown {unit}s in dev | {unknown_share:.2%}; they do not count in the perplexity |
| training text | {train_files}: {num_sentences:,} sentences |
| dev text | {dev_file} |

The end of a sentence counts as a {unit}. `{arpa}` is in the format that KenLM and others read.

    python -m asr.evaluate RUN DEV_MANIFEST --decoding {decoding} --language-model {path} --tune-fusion
"""


@dataclass(frozen=True)
class NGramScore:
    """Says how well a table predicts the dev text."""

    perplexity: float  # of a symbol that is not unknown; the end of a sentence is one
    unknown_share: float  # of the dev text's symbols


def train_ngram(config: NGramConfig, processes: Processes, *, is_trial: bool = False) -> int:
    """Count, score and write the model; a trial says what it would be and writes nothing."""
    if processes.world_size > 1:
        raise ValueError("kind: ngram: several processes; it is counted by one: run it without torchrun")
    run = RunFolder(Path(config.run_dir))
    with contextlib.nullcontext() if is_trial else run.claim(config, data_digests(config)):
        tokenizer = None
        if config.tokenizer is not None:
            tokenizer = train_tokenizer(config) if is_trial else prepare_tokenizer(config, run, processes)
        split = _splitter(tokenizer)
        sentences = [split(text) for source in config.data.train for text in source.texts()]
        table = estimate(config, sentences, tokenizer)
        score = score_table(table, [split(text) for text in config.data.dev.texts()])
        print(
            f"{config.run_dir}: {table.num_grams:,} n-grams of up to {len(table.orders)} {config.unit}s from "
            f"{sum(map(bool, sentences)):,} sentences; dev perplexity {score.perplexity:.4g} a {config.unit}, "
            f"{score.unknown_share:.2%} of its {config.unit}s unknown"
        )
        if not is_trial:
            _write(run, config, table, score=score, num_sentences=sum(map(bool, sentences)))
    return EXIT_OK


def _splitter(tokenizer: Tokenizer | None) -> Callable[[str], list[str]]:
    """Text to the symbols of the table: words, or the tokenizer's tokens as the table writes them."""
    if tokenizer is None:
        return str.split
    symbols = {token: symbol for symbol, token in token_symbols(tokenizer).items()}
    return lambda text: [symbols[token] for token in tokenizer.encode(text)]


def estimate(config: NGramConfig, sentences: list[list[str]], tokenizer: Tokenizer | None) -> NGramTable:
    """Returns the table of sentences of symbols; those that it does not keep are <unk>."""
    symbols = word_symbols(sentences, min_count=config.min_count) if tokenizer is None else token_symbols(tokenizer)
    places = {symbol: place for place, symbol in enumerate(symbols)}
    unknown = places[UNKNOWN_SYMBOL]
    spelled = ([places.get(symbol, unknown) for symbol in sentence] for sentence in sentences)
    return estimate_kneser_ney(spelled, symbols=tuple(symbols), order=config.order)


def score_table(table: NGramTable, sentences: list[list[str]]) -> NGramScore:
    """Scores sentences of symbols; raises ValueError if all of them are empty."""
    places = {symbol: place for place, symbol in enumerate(table.symbols)}
    unknown, end = places[UNKNOWN_SYMBOL], places[END_SYMBOL]
    spelled = [[*(places.get(symbol, unknown) for symbol in sentence), end] for sentence in sentences if sentence]
    if not spelled:
        raise ValueError("data.dev: no text in it; expected at least one line that is not empty")
    network = NGramNetwork.of(table, np.arange(len(places)), len(places))
    scores = np.concatenate([row.numpy() for row in network.score_sentences(spelled, start=places[START_SYMBOL])])
    is_known = np.array(list(itertools.chain.from_iterable(spelled))) != unknown
    return NGramScore(
        perplexity=math.exp(-float(scores[is_known].mean(dtype=np.float64))),
        unknown_share=1.0 - float(is_known.mean()),
    )


def _write(run: RunFolder, config: NGramConfig, table: NGramTable, *, score: NGramScore, num_sentences: int) -> None:
    write_arpa(run.path / ARPA_FILE, table)
    figures = {"perplexity": score.perplexity, "unknown_share": score.unknown_share}
    run.write_record({"model": file_digest(run.path / ARPA_FILE), "dev": figures})
    card = CARD.format(
        name=run.path.name,
        order=len(table.orders),
        unit=config.unit,
        num_grams=table.num_grams,
        **figures,
        train_files=", ".join(str(source.path) for source in config.data.train),
        num_sentences=num_sentences,
        dev_file=config.data.dev.path,
        arpa=ARPA_FILE,
        decoding="ctc_beam" if config.unit == "token" else "ctc_lexicon",
        path=run.path,
    )
    write_text(run.card_path, card)
