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
from asr.distributed import Processes
from asr.explanation.inside import explain
from asr.explanation.plot import PictureOptions, draw_explanation
from asr.metrics import ErrorCounts, align, count_character_errors, count_word_errors, total
from asr.model.acoustic import Model
from asr.model.heads.attention import AttentionHead
from asr.model.heads.attention_shape import diagonality, entropy
from asr.model.heads.ctc import CTCHead
from asr.model.layers.masking import valid_frames
from asr.runs.language_model import open_decoding
from asr.text import BLANK_ID
from asr.tracking.media import DevUtterance
from asr.training.experiment import Experiment

NUM_WATCHED = 16  # utterances, the same in each epoch, whose attention is measured
SHORTEST_WATCHED = 4  # tokens
COLLAPSED_BELOW = 0.5  # diagonality; where attention follows speech it is above 0.9
DOTS_PER_INCH = 80  # of an explanation
COLLAPSED_AFTER = 3  # epochs; before them it has seldom begun to follow


@dataclass(frozen=True)
class AttentionShape:
    """What the attention of a few utterances looks like (asr/model/heads/attention_shape.py)."""

    diagonality: float
    entropy: float


@dataclass(frozen=True)
class DevScore:
    words: ErrorCounts
    characters: ErrorCounts
    losses: dict[str, float]  # natural-log loss of a token, by kind of head
    loss: float  # their sum, by the heads' weights
    blank_share: float | None  # of the frames whose most likely label is blank, by the CTC head
    attention: AttentionShape | None  # of the fixed utterances, by the attention head
    transcripts: dict[int, str]  # by index in the dev dataset

    @property
    def figures(self) -> dict[str, float]:
        """Smaller is better: the WER decides, then the CER, then the loss."""
        return {"wer": self.words.rate, "cer": self.characters.rate, "loss": self.loss}

    def logged(self) -> dict[str, float]:
        figures = {"dev/wer": self.words.rate, "dev/cer": self.characters.rate, "dev/loss": self.loss}
        if len(self.losses) > 1:
            figures |= {f"dev/loss_{kind}": loss for kind, loss in self.losses.items()}
        if self.blank_share is not None:
            figures["dev/blank_share"] = self.blank_share
        if self.attention is not None:
            figures["dev/attention_diagonality"] = self.attention.diagonality
            figures["dev/attention_entropy"] = self.attention.entropy
        return figures

    def remarks(self, epoch: int) -> list[str]:
        """What a user should be told of the weights after so many epochs."""
        if self.attention is None or epoch < COLLAPSED_AFTER or self.attention.diagonality >= COLLAPSED_BELOW:
            return []
        return [
            f"warning: epoch {epoch}: the attention does not follow the speech: diagonality "
            f"{self.attention.diagonality:.2f} of 1, entropy {self.attention.entropy:.2f} of 1. If it stays so, add a "
            "ctc head beside it, or guided_attention: {weight: 1.0} to the head, or begin with shorter utterances"
        ]


class _Sums:
    """What is added up over the batches of a split."""

    def __init__(self, model: Model) -> None:
        self.heads: list[Any] = list(model.heads)
        self.kinds = [head.kind for head in self.heads]
        self.weights = model.head_weights
        self.values: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        others = ["tokens", "blank", "frames", "diagonality", "entropy", "shown"]
        return [*(f"loss {kind}" for kind in self.kinds), *others]

    def add(self, batch: Batch, encodings: Tensor, lengths: Tensor, *, shown: Collection[int]) -> None:
        """`shown`: the indices of the utterances whose attention is looked at."""
        given = encodings, lengths, batch.tokens, batch.token_lengths
        losses = torch.stack([head.loss(*given) for head in self.heads])
        finite = losses.isfinite().all(dim=0)  # an utterance whose tokens do not fit its frames has no loss
        for kind, each in zip(self.kinds, losses[:, finite].double().sum(dim=1).tolist(), strict=True):
            self.values[f"loss {kind}"] += each
        self.values["tokens"] += int(batch.token_lengths[finite].sum())
        for head in self.heads:
            if isinstance(head, CTCHead):
                blank = (head(encodings).argmax(dim=-1) == BLANK_ID) & valid_frames(lengths, encodings.shape[1])
                self.values.update(blank=int(blank.sum()), frames=int(lengths.sum()))
            elif isinstance(head, AttentionHead):
                rows = [row for row, index in enumerate(batch.indices) if index in shown]
                self._add_shape(head, *(values[rows] for values in given))

    def _add_shape(self, head: AttentionHead, *given: Tensor) -> None:
        """Of utterances that are long enough to have a diagonal."""
        given = tuple(values[given[3] >= SHORTEST_WATCHED] for values in given)
        if len(given[0]):
            weights, steps = head(*given).weights.mean(dim=1), given[3] + 1
            self.values["diagonality"] += float(diagonality(weights, steps).sum())  # type: ignore
            self.values["entropy"] += float(entropy(weights, steps, given[1]).sum())  # type: ignore
            self.values["shown"] += len(weights)

    def figures(self, processes: Processes) -> dict[str, Any]:
        """The parts of a DevScore, over all processes."""
        sums = dict(zip(self.names, processes.sum([float(self.values[name]) for name in self.names]), strict=True))
        losses = {kind: sums[f"loss {kind}"] / max(1.0, sums["tokens"]) for kind in self.kinds}
        shape = (
            AttentionShape(*(sums[name] / sums["shown"] for name in ("diagonality", "entropy")))
            if sums["shown"]
            else None
        )
        return {
            "losses": losses,
            "loss": sum(weight * losses[kind] for weight, kind in zip(self.weights, self.kinds, strict=True)),
            "blank_share": sums["blank"] / max(1.0, sums["frames"]) if "ctc" in self.kinds else None,
            "attention": shape,
        }


@torch.inference_mode()
def validate(model: Model, batches: Iterable[Batch], *, experiment: Experiment, processes: Processes) -> DevScore:
    """Decode this process's share of the dev batches; everybody gets the score of all of them."""
    tokenizer = experiment.tokenizer
    decode = open_decoding(experiment.config.decoding, tokenizer, device=processes.device)
    was_training = model.training
    model.eval()
    transcripts: dict[int, str] = {}
    sums, shown = _Sums(model), set(_spread_out(len(experiment.dev), NUM_WATCHED))
    for batch in batches:
        moved = batch.to(processes.device)
        encodings, lengths = model.encode(moved.features, moved.feature_lengths)
        hypotheses: list[Hypothesis] = decode(choose_heads(decode, model.heads), encodings, lengths)
        transcripts |= {i: tokenizer.decode(found.tokens) for i, found in zip(batch.indices, hypotheses, strict=True)}
        sums.add(moved, encodings, lengths, shown=shown)
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


def shown_utterances(experiment: Experiment, model: Model, score: DevScore) -> list[DevUtterance]:
    """The same few dev utterances each time, spread over the split, for the tracker."""
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
            log_mel=dev.log_mels(index, None).numpy(),
            explanation=_draw(experiment, model, index) if place in explained else None,
        )
        for place, index in enumerate(indices)
    ]


def _draw(experiment: Experiment, model: Model, index: int) -> bytes:
    """How the model hears what was said: the reference, so that the pictures of all epochs can be compared."""
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
    """At most so many indices, the same each time, evenly over all."""
    return sorted({round(place) for place in np.linspace(0, size - 1, min(number, size))})


def say_error_rates(figures: Mapping[str, Any]) -> str:
    return f"dev WER {figures['wer']:.2%}, CER {figures['cer']:.2%}"
