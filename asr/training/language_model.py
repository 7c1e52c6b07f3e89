"""Does what a training of a language model does its own way; the loop is that of a recogniser."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import torch

from asr.config.language_model import LanguageModelConfig
from asr.data.batches import Batch, BatchPlan, StepDataset, collate
from asr.language_models.recurrent import RecurrentLanguageModel
from asr.language_models.sentences import TextDataset
from asr.process.distributed import Processes
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.text import Tokenizer
from asr.training.experiment import DataError, DroppedUtterance, Experiment, prepare_tokenizer, seeded, train_tokenizer
from asr.training.memory import try_worst_batch

CARD = """# {name}

A language model trained with Earshot: {layers}-layer {cell} over {num_tokens} tokens ({tokenizer}),
{num_parameters:,} parameters.

| | |
|---|---|
| dev perplexity of a token | {perplexity:.4g} |
| dev perplexity of a word | {word_perplexity:.4g} |
| weights | {weights} |
| training text | {train_files}: {num_train:,} sentences, {num_train_tokens:,} tokens |
| dev text | {dev_file}: {num_dev:,} sentences, {num_dev_tokens:,} tokens |
| left out of training | {num_dropped} sentences (dropped.jsonl) |

The end of a sentence counts as a token and as a word. The dev text chose the weights, so its figures are a little too
good. It goes with recognisers that have the same tokenizer:

    python -m asr.evaluate RUN DEV_MANIFEST --decoding ctc_beam --language-model {path} --tune-fusion
"""


@dataclass(frozen=True)
class LanguageScore:
    """Says how well a language model predicts the dev text."""

    log_prob: float  # natural logarithm, of the whole text
    num_tokens: int  # each sentence's end counted
    num_words: int  # each sentence's end counted

    @property
    def figures(self) -> dict[str, float]:
        """Returns its figures in the order in which they rank; smaller is better."""
        return {
            "perplexity": exp(-self.log_prob / max(1, self.num_tokens)),
            "word_perplexity": exp(-self.log_prob / max(1, self.num_words)),
            "loss": -self.log_prob / max(1, self.num_tokens),
        }

    def logged(self) -> dict[str, float]:
        return {f"dev/{name}": value for name, value in self.figures.items()}

    def remarks(self, epoch: int) -> list[str]:
        return []


@dataclass(frozen=True)
class LanguageExperiment(Experiment):
    config: LanguageModelConfig
    train: TextDataset
    dev: TextDataset
    model: RecurrentLanguageModel

    @property
    def losses(self) -> list[tuple[str, float]]:
        return [("language_model", 1.0)]


def open_language_experiment(config: LanguageModelConfig, run: RunFolder, processes: Processes) -> LanguageExperiment:
    """Returns everything a training needs, with the run's tokenizer."""
    return build_language_experiment(config, prepare_tokenizer(config, run, processes))


def try_language_experiment(config: LanguageModelConfig) -> LanguageExperiment:
    """Returns the same without a run folder."""
    return build_language_experiment(config, train_tokenizer(config))


def build_language_experiment(config: LanguageModelConfig, tokenizer: Tokenizer) -> LanguageExperiment:
    """Raises DataError where nothing is left to train on, or to score."""
    train = TextDataset(config.data.train, tokenizer=tokenizer)
    dev = TextDataset((config.data.dev,), tokenizer=tokenizer)
    too_long = train.sizes > config.data.max_tokens
    for key, sentences in (("data.train", np.flatnonzero(~too_long)), ("data.dev", dev.sizes)):
        if not len(sentences):
            raise DataError(f"{key}: no sentence of 1 to {config.data.max_tokens} tokens in it; expected at least one")
    with seeded(config.seed):
        model = config.model.build(tokenizer.vocabulary_size)
    plan = BatchPlan(
        train.sizes,
        limit=config.data.batch_tokens,
        seed=config.seed,
        weights=train.weights,
        usable=np.flatnonzero(~too_long),
    )
    dropped = [
        DroppedUtterance(
            train.name(index), f"{train.sizes[index]:.0f} tokens; data.max_tokens is {config.data.max_tokens}"
        )
        for index in np.flatnonzero(too_long).tolist()
    ]
    return LanguageExperiment(config, tokenizer, train, dev, model, plan, dropped)


def describe_language(experiment: LanguageExperiment, processes: Processes) -> list[str]:
    """Returns the lines a training starts with; the worst batch is tried here, before any step is spent."""
    config, model = experiment.config, experiment.model.to(processes.device)
    train, dev, plan = experiment.train, experiment.dev, experiment.plan
    worst = plan.worst()[:: config.train.accumulation * processes.world_size]
    batch = collate([train.example(int(index)) for index in worst])
    memory = try_worst_batch(
        model,
        batch.to(processes.device).inputs,
        size=f"{len(batch.ids)} sentences x {batch.tokens.shape[1]} tokens",
        limited_by="data.batch_tokens",
        precision=config.train.precision,
    )
    lines = [
        f"data: {len(plan.usable):,} sentences, {int(train.sizes[plan.usable].sum()):,} tokens to train on in "
        f"{len(plan.epoch(0)):,} batches of up to {plan.limit:,.0f}; {len(dev):,} sentences, "
        f"{int(dev.sizes.sum()):,} tokens of dev",
        f"model: {model.num_parameters:,} parameters; {experiment.tokenizer.vocabulary_size} tokens",
        f"{memory} on {processes.device}, {config.train.precision}",
    ]
    if experiment.dropped:
        lines.append(f"left out of training: {len(experiment.dropped)} sentences (all of them in dropped.jsonl)")
    return lines


def language_shapes(experiment: LanguageExperiment) -> list[str]:
    """Returns the shapes of the first batch, for a dry run."""
    batch = StepDataset(experiment.train, experiment.plan)[0, 0].batches[0]
    return ["the first batch:", f"  {'tokens [batch, token]':55} {' x '.join(map(str, batch.tokens.shape))}"]


@torch.inference_mode()
def score_language(
    model: RecurrentLanguageModel, batches: Iterable[Batch], *, experiment: LanguageExperiment, processes: Processes
) -> LanguageScore:
    """Score this process's share of the dev text; everybody gets the score of all of it."""
    was_training = model.training
    model.eval()
    sums = [0.0, 0.0, 0.0]  # loss, tokens, words
    for batch in batches:
        moved = batch.to(processes.device)
        losses = model(moved.tokens, moved.token_lengths)
        sums[0] += float(losses.double().sum())
        sums[1] += float(batch.token_lengths.sum())
        sums[2] += float(experiment.dev.num_words[batch.indices].sum()) + len(batch.indices)
    model.train(was_training)
    loss, num_tokens, num_words = processes.sum(sums)
    return LanguageScore(-loss, round(num_tokens), round(num_words))


def say_perplexity(figures: Mapping[str, Any]) -> str:
    return f"dev perplexity {figures['perplexity']:.4g} a token, {figures['word_perplexity']:.4g} a word"


def write_language_card(
    run: RunFolder, experiment: LanguageExperiment, *, figures: Mapping[str, Any], weights: str
) -> None:
    """RUN/README.md; `figures` are a LanguageScore's."""
    config, train, dev = experiment.config, experiment.train, experiment.dev
    usable = experiment.plan.usable
    card = CARD.format(
        name=run.path.name,
        layers=config.model.num_layers,
        cell=config.model.cell.kind,
        num_tokens=experiment.tokenizer.vocabulary_size,
        tokenizer=config.tokenizer.kind,
        num_parameters=experiment.model.num_parameters,
        perplexity=figures["perplexity"],
        word_perplexity=figures["word_perplexity"],
        weights=weights,
        train_files=", ".join(str(source.path) for source in config.data.train),
        num_train=len(usable),
        num_train_tokens=int(train.sizes[usable].sum()),
        dev_file=config.data.dev.path,
        num_dev=len(dev),
        num_dev_tokens=int(dev.sizes.sum()),
        num_dropped=len(experiment.dropped),
        path=run.path,
    )
    write_text(run.card_path, card)
