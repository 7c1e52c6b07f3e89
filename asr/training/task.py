"""Tasks hold what differs between a recogniser and a language model, so that the loop need not know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from asr.config.language_model import LanguageModelConfig
from asr.config.recognizer import Config
from asr.data.batches import Batch
from asr.language_models.recurrent import RecurrentLanguageModel
from asr.model.acoustic import Model
from asr.model.layers.chosen import tabulate
from asr.process.distributed import Processes
from asr.process.runtime import EXIT_OK
from asr.recognition.precision import autocast, settle_precision
from asr.runs.folder import RunFolder
from asr.tracking.media import DevUtterance
from asr.training.dev_score import DevScore, say_error_rates, shown_utterances, validate
from asr.training.experiment import Experiment, RecognizerExperiment, open_experiment, try_experiment
from asr.training.language_model import (
    LanguageExperiment,
    LanguageScore,
    describe_language,
    language_shapes,
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
        """Returns what epochs are compared by, the first above all; smaller is better."""
        ...

    def logged(self) -> dict[str, float]: ...

    def remarks(self, epoch: int) -> list[str]:
        """Returns what a user should be told of the weights after so many epochs."""
        ...


@runtime_checkable
class Task(Protocol):
    """An experiment with what its training does its own way."""

    @property
    def experiment(self) -> Experiment: ...

    def describe(self, processes: Processes) -> list[str]:
        """Returns the lines a training starts with; the worst batch is tried here, before any step is spent."""
        ...

    def shapes(self, processes: Processes) -> list[str]:
        """Returns the shapes of the first batch, for a dry run."""
        ...

    def score(self, model: nn.Module, batches: Iterable[Batch], processes: Processes) -> Score:
        """Score this process's share of the dev batches; everybody gets the score of all of them."""
        ...

    def shown(self, model: nn.Module, score: Score) -> list[DevUtterance]:
        """Returns a few dev utterances with what was recognised, for the tracker."""
        ...

    def say(self, figures: Mapping[str, float]) -> str:
        """Returns a score's figures, for a user."""
        ...

    def write_card(self, run: RunFolder, *, figures: Mapping[str, float], weights: str) -> None:
        """RUN/README.md."""
        ...


@dataclass(frozen=True)
class RecognizerTask:
    experiment: RecognizerExperiment

    def describe(self, processes: Processes) -> list[str]:
        return describe(self.experiment, processes)

    def shapes(self, processes: Processes) -> list[str]:
        return shapes(self.experiment, processes)

    def score(self, model: nn.Module, batches: Iterable[Batch], processes: Processes) -> DevScore:
        assert isinstance(model, Model)
        return validate(model, batches, experiment=self.experiment, processes=processes)

    def shown(self, model: nn.Module, score: Score) -> list[DevUtterance]:
        assert isinstance(model, Model)
        assert isinstance(score, DevScore)
        return shown_utterances(self.experiment, model, score)

    def say(self, figures: Mapping[str, float]) -> str:
        return say_error_rates(figures)

    def write_card(self, run: RunFolder, *, figures: Mapping[str, float], weights: str) -> None:
        write_model_card(run, self.experiment, figures=figures, weights=weights)


@dataclass(frozen=True)
class LanguageModelTask:
    experiment: LanguageExperiment

    def describe(self, processes: Processes) -> list[str]:
        return describe_language(self.experiment, processes)

    def shapes(self, processes: Processes) -> list[str]:
        return language_shapes(self.experiment)

    def score(self, model: nn.Module, batches: Iterable[Batch], processes: Processes) -> LanguageScore:
        assert isinstance(model, RecurrentLanguageModel)
        return score_language(model, batches, experiment=self.experiment, processes=processes)

    def shown(self, model: nn.Module, score: Score) -> list[DevUtterance]:
        return []  # a text has no recordings

    def say(self, figures: Mapping[str, float]) -> str:
        return say_perplexity(figures)

    def write_card(self, run: RunFolder, *, figures: Mapping[str, float], weights: str) -> None:
        write_language_card(run, self.experiment, figures=figures, weights=weights)


def open_task(config: Config | LanguageModelConfig, run: RunFolder, processes: Processes) -> Task:
    """Returns everything for a training in a run folder."""
    if isinstance(config, Config):
        return RecognizerTask(open_experiment(config, run, processes))
    return LanguageModelTask(open_language_experiment(config, run, processes))


def rehearse_task(config: Config | LanguageModelConfig) -> Task:
    """Returns the same without a run folder, for a dry run."""
    if isinstance(config, Config):
        return RecognizerTask(try_experiment(config))
    return LanguageModelTask(try_language_experiment(config))


def dry_run(config: Config | LanguageModelConfig, processes: Processes) -> int:
    """Check everything a training would meet and print what it would do; nothing is written."""
    config, precision_line = settle_precision(config, processes)
    task = rehearse_task(config)
    experiment = task.experiment
    named = experiment.model.named_parameters()
    print(precision_line, *task.describe(processes), sep="\n")
    print(
        "what runs the recurrent layers here, over many frames:",
        *_layer_lines(experiment, processes),
        "parameters:",
        sep="\n",
    )
    print(*(f"  {name:55} {' x '.join(map(str, value.shape))}" for name, value in named), sep="\n")
    print(*task.shapes(processes), sep="\n")
    return EXIT_OK


def _layer_lines(experiment: Experiment, processes: Processes) -> list[str]:
    """Returns what runs each recurrent layer in a training on this machine."""
    with autocast(experiment.config.train.precision, processes.device):
        return tabulate(experiment.model)
