"""Finds where a recording's speech begins and ends, by what the model itself writes."""

import math

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from asr.section import Section
from asr.text import BLANK_ID


class EndpointingConfig(Section):
    """Each recording is heard twice: the second time from its first sound to its last.

    Features that are normalised over an utterance depend on the silence or the clatter around the speech, of which
    recordings of commands are mostly made. The first look only finds the speech, and what is heard in the second is
    normalised over it alone: a detector of endpoints that needs no training of its own.
    """

    margin: float = Field(0.3, ge=0.0, le=10.0, description="seconds kept before the first sound and after the last")
    first_look: float = Field(
        0.0, ge=0.0, lt=1.0, description="weight of the first look's log-probabilities beside those of the second"
    )

    def endpoints(
        self,
        scores: Float[Tensor, "time vocabulary"],
        *,
        num_frames: int,
        frames_per_encoding: float,
        frames_per_second: float,
    ) -> tuple[int, int]:
        """Returns the first frame of the speech and the one after its last; all frames where nothing is heard.

        `scores` are a CTC head's; speech is where their best path is not blank. Where both looks count, the first frame
        is one with which an encoding begins, so that they have their encodings at the same frames.
        """
        spoken = (scores.argmax(dim=1) != BLANK_ID).nonzero().flatten().tolist()
        if not spoken:
            return 0, num_frames
        margin = self.margin * frames_per_second
        step = max(1, round(frames_per_encoding)) if self.first_look > 0.0 else 1
        first = math.floor(spoken[0] * frames_per_encoding - margin) // step * step
        last = math.ceil((spoken[-1] + 1) * frames_per_encoding + margin)
        return max(0, first), min(num_frames, last)

    def combined(
        self, first: Float[Tensor, "whole vocabulary"], second: Float[Tensor, "time vocabulary"], *, start: int
    ) -> Float[Tensor, "time vocabulary"]:
        """Log-probabilities of both looks together, where the second begins with encoding `start` of the first.

        The mean of the logarithms: two opinions from features normalised in two ways, as an ensemble has them.
        """
        known = first[start : start + len(second)]
        if self.first_look == 0.0 or len(known) < len(second):
            return second
        return (self.first_look * known + (1.0 - self.first_look) * second).log_softmax(dim=1)
