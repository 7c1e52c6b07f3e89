"""Says what every head answers: its loss, and for itself what a training, a decoding or an explanation asks of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class ForcedSteps:
    """Holds what a decoder makes of a given transcript, <eos> included: one step more than tokens."""

    log_probs: Float[Tensor, "batch step vocabulary"]
    weights: Float[Tensor, "batch head step time"]


@dataclass(frozen=True)
class DevFigures:
    """Holds what a head says of itself after a dev split."""

    values: Mapping[str, float] = field(default_factory=dict)  # by the name that the log has for each, after "dev/"
    warning: str | None = None  # what a user should be told if the figures are still so after some epochs


class Head(nn.Module, ABC):
    """Encodings to a loss, and to whatever else the head has; what it lacks is None, no figures, or one frame.

    Nobody outside model/heads and decoding asks which head it is: a new one is a file with its config and a name in
    the union.
    """

    kind: ClassVar[str]  # as in its config
    scores_frames: ClassVar[bool] = False  # whether `frame_scores` gives some
    num_views: int = 1  # of each utterance in a step of a training, augmented each in its own way: 1 or 2
    intermediate_layers: tuple[int, ...] = ()  # of the encoder, from 1, whose outputs have this head's loss too
    intermediate_share: float = 0.0  # of the mean of their losses in the head's loss in a training

    @abstractmethod
    def loss(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Returns each utterance's own loss; padding changes nothing."""

    def loss_in_training(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        *,
        below: Mapping[int, Tensor],
        num_views: int,
    ) -> Float[Tensor, " batch"]:
        """The loss, with those of `intermediate_layers` by their outputs `below`, and what two views add to it."""
        loss = self.loss(encodings, lengths, tokens, token_lengths)
        if self.intermediate_layers:
            outputs = [below[number] for number in self.intermediate_layers]
            others = torch.stack([self.loss(each, lengths, tokens, token_lengths) for each in outputs])
            loss = torch.lerp(loss, others.mean(dim=0), self.intermediate_share)
        return loss + self.disagreement(encodings, lengths) if num_views == 2 else loss

    def disagreement(
        self, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns what is added to each loss in a training for what the two views of an utterance make of it.

        The first half of the batch are the first views, the second half the second ones, in the same order.
        """
        return encodings.new_zeros(len(encodings))

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """Returns the fewest encodings that these tokens have a finite loss with."""
        return 1

    def frame_scores(
        self, encodings: Float[Tensor, "batch time encoding"]
    ) -> Float[Tensor, "batch time vocabulary"] | None:
        """Log-probabilities of the tokens and blank in each frame by itself, or None of a head without such."""
        return None

    def forced_steps(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
    ) -> ForcedSteps | None:
        """Returns the steps of a decoder that is led through given transcripts, or None of a head that writes none."""
        return None

    def dev_sums(
        self,
        encodings: Float[Tensor, "batch time encoding"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        *,
        watched: Sequence[int],
    ) -> dict[str, float]:
        """Returns what is to be added up over the batches of a dev split.

        `watched` are the rows of a few utterances, the same in each epoch, for what is too dear to measure of all.
        """
        return {}

    def dev_figures(self, sums: Mapping[str, float]) -> DevFigures:
        """Figures of a dev split from its sums; of a sum that no batch had, there is no key."""
        return DevFigures()
