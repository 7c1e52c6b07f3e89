"""Trains what a configuration file describes: a recogniser, a language model, or counts of n-grams."""

from collections.abc import Sequence
from pathlib import Path

from asr.config.language_model import AnyConfig, NGramConfig, load_experiment
from asr.process.distributed import start_processes
from asr.process.runtime import EXIT_OK
from asr.training.experiment import check_prepared, check_source
from asr.training.layers import explain_layers
from asr.training.loop import train
from asr.training.ngrams import train_ngram
from asr.training.task import dry_run


def run(path: Path, overrides: Sequence[str], *, is_dry: bool, explains_layers: bool = False) -> int:
    """Trains, or goes on with, the experiment of a file, and returns the exit code.

    A dry run prints the plan only; to explain its layers needs no data.
    """
    config = load_experiment(path, overrides)
    if explains_layers:
        return _explain_layers(config)
    check_prepared(config)
    if isinstance(config, NGramConfig):
        return train_ngram(config, start_processes("cpu"), is_trial=is_dry)
    check_source(config)
    processes = start_processes(config.train.device)
    try:
        return dry_run(config, processes) if is_dry else train(config, processes)
    finally:
        processes.close()


def _explain_layers(config: AnyConfig) -> int:
    if isinstance(config, NGramConfig):
        print("a model of counts has no recurrent layers")
        return EXIT_OK
    processes = start_processes(config.train.device)
    try:
        print(*explain_layers(config, processes), sep="\n")
    finally:
        processes.close()
    return EXIT_OK
