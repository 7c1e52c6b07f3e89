"""Trains what a configuration file describes: a recogniser, a language model, or counts of n-grams."""

from collections.abc import Sequence
from pathlib import Path

from asr.config.language_model import NGramConfig, load_experiment
from asr.distributed import start_processes
from asr.training.experiment import check_prepared, check_source
from asr.training.loop import train
from asr.training.ngrams import train_ngram
from asr.training.task import dry_run


def run(path: Path, overrides: Sequence[str], *, is_dry: bool) -> int:
    """Trains, or goes on with, the experiment of a file, and returns the exit code; a dry run prints the plan only."""
    config = load_experiment(path, overrides)
    check_prepared(config)
    if isinstance(config, NGramConfig):
        return train_ngram(config, start_processes("cpu"), is_trial=is_dry)
    check_source(config)
    processes = start_processes(config.train.device)
    try:
        return dry_run(config, processes) if is_dry else train(config, processes)
    finally:
        processes.close()
