"""Tasks hold what differs between a recogniser and a language model, so that the loop need not know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from asr.config.language_model import LanguageModelConfig
from asr.config.recognizer import Config
from asr.distributed import Processes
from asr.model.cells import Cell
from asr.model.layers.chosen import name_path
from asr.recognition.precision import autocast, settle_precision
from asr.runs.folder import RunFolder
from asr.runtime import EXIT_OK
from asr.tracking.media import DevUtterance
from asr.training.dev_score import say_error_rates, shown_utterances, validate
from asr.training.experiment import Experiment, open_experiment, try_experiment
from asr.training.language_model import (
    describe_language,
    language_shapes,
    no_utterances,
    open_language_experiment,
    say_perplexity,
    score_language,
    try_language_experiment,
    write_language_card,
)
from asr.training.model_card import write_model_card
from asr.training.preview import describe, shapes


@runtime_checkable
class Score(Protocol):
    """A model's score on the dev split."""

    @property
    def figures(self) -> dict[str, float]:
        """What epochs are compared by, the first above all; smaller is better."""
        ...

    def logged(self) -> dict[str, float]: ...

    def remarks(self, epoch: int) -> list[str]:
        """What a user should be told of the weights after so many epochs."""
        ...


@dataclass(frozen=True)
class Task:
    open: Callable[[Any, RunFolder, Processes], Experiment]  # everything, for a training in a run folder
    rehearse: Callable[[Any], Experiment]  # the same without one, for a dry run
    describe: Callable[[Experiment, Processes], list[str]]
    shapes: Callable[[Experiment, Processes], list[str]]
    score: Callable[..., Any]  # (model, batches, *, experiment, processes) -> Score
    shown: Callable[[Experiment, Any, Any], list[DevUtterance]]  # of an experiment, its model and the model's score
    say: Callable[[Mapping[str, Any]], str]  # its figures, for a user
    write_card: Callable[..., None]  # (run, experiment, *, figures, weights)


TASKS = {
    "recognizer": Task(
        open=open_experiment,
        rehearse=try_experiment,
        describe=describe,
        shapes=shapes,
        score=validate,
        shown=shown_utterances,
        say=say_error_rates,
        write_card=write_model_card,
    ),
    "language_model": Task(
        open=open_language_experiment,
        rehearse=try_language_experiment,
        describe=describe_language,
        shapes=language_shapes,
        score=score_language,
        shown=no_utterances,
        say=say_perplexity,
        write_card=write_language_card,
    ),
}


def dry_run(config: Config | LanguageModelConfig, processes: Processes) -> int:
    """Check everything a training would meet and print what it would do; nothing is written."""
    task = TASKS[config.kind]
    config, precision_line = settle_precision(config, processes)
    experiment = task.rehearse(config)
    named = experiment.model.named_parameters()
    print(precision_line, *task.describe(experiment, processes), sep="\n")
    print(
        "what computes the recurrent layers here, over many frames:",
        *_path_lines(experiment, processes),
        "parameters:",
        sep="\n",
    )
    print(*(f"  {name:55} {' x '.join(map(str, value.shape))}" for name, value in named), sep="\n")
    print(*task.shapes(experiment, processes), sep="\n")
    return EXIT_OK


def _path_lines(experiment: Experiment, processes: Processes) -> list[str]:
    """The path that each recurrent layer takes in a training on this machine."""
    with autocast(experiment.config.train.precision, processes.device):
        return [
            f"  {name:55} {name_path(module)}"
            for name, module in experiment.model.named_modules()
            if isinstance(module, Cell)
        ]
