"""The score of a model on the dev split, while it trains."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.data.batches import Batch
from asr.decoding import choose_heads
from asr.decoding.hypothesis import Hypothesis
from asr.explanation.inside import explain
from asr.explanation.plot import PictureOptions, draw_explanation
from asr.metrics import ErrorCounts, align, count_character_errors, count_word_errors, total
from asr.model.acoustic import Model
from asr.model.heads.head import DevFigures
from asr.process.distributed import Processes
from asr.runs.language_model import open_decoding
from asr.tracking.media import DevUtterance
from asr.training.experiment import RecognizerExperiment

NUM_WATCHED = 16  # utterances, the same in each epoch, that are looked at more closely
DOTS_PER_INCH = 80  # of an explanation
WARNED_AFTER = 3  # epochs; before them attention, say, has seldom begun to follow


@dataclass(frozen=True)
class DevScore:
    words: ErrorCounts
    characters: ErrorCounts
    losses: dict[str, float]  # natural-log loss of a token, by kind of head
    loss: float  # their sum, by the heads' weights
    of_heads: tuple[DevFigures, ...]  # what each head says of itself
    transcripts: dict[int, str]  # by index in the dev dataset

    @property
    def figures(self) -> dict[str, float]:
        """Smaller is better: the WER decides, then the CER, then the loss."""
        return {"wer": self.words.rate, "cer": self.characters.rate, "loss": self.loss}

    def logged(self) -> dict[str, float]:
        figures = {"dev/wer": self.words.rate, "dev/cer": self.characters.rate, "dev/loss": self.loss}
        if len(self.losses) > 1:
            figures |= {f"dev/loss_{kind}": loss for kind, loss in self.losses.items()}
        return figures | {f"dev/{name}": value for head in self.of_heads for name, value in head.values.items()}

    def remarks(self, epoch: int) -> list[str]:
        """Returns what a user should be told of the weights after so many epochs."""
        warnings = [head.warning for head in self.of_heads if head.warning is not None]
        return [f"warning: epoch {epoch}: {warning}" for warning in warnings if epoch >= WARNED_AFTER]


class _Sums:
    """Adds up over the batches of a split: of each head its loss, and what it wants to say of itself."""

    def __init__(self, model: Model) -> None:
        self.heads, self.weights = model.heads, model.head_weights
        self.losses: Counter[str] = Counter()  # by kind of head
        self.num_tokens = 0
        self.of_heads: dict[str, Counter[str]] = {head.kind: Counter() for head in model.heads}

    def add(self, batch: Batch, encodings: Tensor, lengths: Tensor, *, watched: Collection[int]) -> None:
        """`watched`: the indices of the utterances that are looked at more closely."""
        given = encodings, lengths, batch.tokens, batch.token_lengths
        losses = torch.stack([head.loss(*given) for head in self.heads])
        finite = losses.isfinite().all(dim=0)  # an utterance whose tokens do not fit its frames has no loss
        for head, each in zip(self.heads, losses[:, finite].double().sum(dim=1).tolist(), strict=True):
            self.losses[head.kind] += each
        self.num_tokens += int(batch.token_lengths[finite].sum())
        rows = [row for row, index in enumerate(batch.indices) if index in watched]
        for head in self.heads:
            self.of_heads[head.kind].update(head.dev_sums(*given, watched=rows))

    def figures(self, processes: Processes) -> dict[str, Any]:
        """Returns the parts of a DevScore, over all processes."""
        kinds = [head.kind for head in self.heads]
        *totals, num_tokens = processes.sum([*(float(self.losses[kind]) for kind in kinds), float(self.num_tokens)])
        losses = {kind: total / max(1.0, num_tokens) for kind, total in zip(kinds, totals, strict=True)}
        of_heads: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        for part in processes.gather(self.of_heads):
            for kind in kinds:
                of_heads[kind].update(part[kind])
        return {
            "losses": losses,
            "loss": sum(weight * losses[kind] for weight, kind in zip(self.weights, kinds, strict=True)),
            "of_heads": tuple(head.dev_figures(of_heads[head.kind]) for head in self.heads),
        }


@torch.inference_mode()
def validate(
    model: Model, batches: Iterable[Batch], *, experiment: RecognizerExperiment, processes: Processes
) -> DevScore:
    """Decode this process's share of the dev batches; everybody gets the score of all of them."""
    tokenizer = experiment.tokenizer
    decode = open_decoding(experiment.config.decoding, tokenizer, device=processes.device)
    was_training = model.training
    model.eval()
    transcripts: dict[int, str] = {}
    sums, watched = _Sums(model), set(_spread_out(len(experiment.dev), NUM_WATCHED))
    for batch in batches:
        moved = batch.to(processes.device)
        encodings, lengths = model.encode(moved.features, moved.feature_lengths)
        hypotheses: list[Hypothesis] = decode(choose_heads(decode, model.heads), encodings, lengths)
        transcripts |= {i: tokenizer.decode(found.tokens) for i, found in zip(batch.indices, hypotheses, strict=True)}
        sums.add(moved, encodings, lengths, watched=watched)
    model.train(was_training)
    everything = {index: text for part in processes.gather(transcripts) for index, text in part.items()}
    order = sorted(everything)
    spoken, found = [experiment.dev.utterance(index).text for index in order], [everything[index] for index in order]
    return DevScore(
        words=total(count_word_errors(spoken, found)),
        characters=total(count_character_errors(spoken, found)),
        transcripts={index: everything[index] for index in order},
        **sums.figures(processes),
    )


def shown_utterances(experiment: RecognizerExperiment, model: Model, score: DevScore) -> list[DevUtterance]:
    """Returns the same few dev utterances each time, spread over the split, for the tracker."""
    dev, tracking = experiment.dev, experiment.config.tracking
    indices = _spread_out(len(dev), tracking.num_utterances)
    # matplotlib is an extra; a drawing takes a second, and only wandb shows it.
    draws = "wandb" in tracking.trackers and find_spec("matplotlib") is not None
    explained = set(_spread_out(len(indices), tracking.num_explained)) if draws else set()
    return [
        DevUtterance(
            id=dev.utterance(index).id,
            samples=dev.samples(index).numpy(),
            sample_rate=dev.features.sample_rate,
            reference=dev.utterance(index).text,
            hypothesis=score.transcripts[index],
            alignment=[
                (operation.reference, operation.hypothesis)
                for operation in align(dev.utterance(index).text, score.transcripts[index])
            ],
            log_mel=dev.log_mels(index).numpy(),
            explanation=_draw(experiment, model, index) if place in explained else None,
        )
        for place, index in enumerate(indices)
    ]


def _draw(experiment: RecognizerExperiment, model: Model, index: int) -> bytes:
    """Draws how the model reads what was said: the reference, so that the pictures of all epochs can be compared."""
    dev, text = experiment.dev, experiment.dev.utterance(index).text
    explanation = explain(
        model,
        experiment.tokenizer,
        dev.example(index).features,
        dev.tokens(index),
        hop_ms=experiment.config.features.hop_ms,
    )
    return draw_explanation(explanation, PictureOptions(dots_per_inch=DOTS_PER_INCH), title=text).png


def _spread_out(size: int, number: int) -> list[int]:
    """Returns at most so many indices, the same each time, evenly over all."""
    return sorted({round(place) for place in np.linspace(0, size - 1, min(number, size))})


def say_error_rates(figures: Mapping[str, Any]) -> str:
    return f"dev WER {figures['wer']:.2%}, CER {figures['cer']:.2%}"
