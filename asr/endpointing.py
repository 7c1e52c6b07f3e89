"""Where a recording's speech begins and ends, by what the model itself writes."""

import math

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from asr.section import Section
from asr.tokenizer import BLANK_ID


class EndpointingConfig(Section):
    """Each recording is heard twice: the second time from its first sound to its last.

    Features that are normalised over an utterance depend on the silence or the clatter around the speech, of which
    recordings of commands are mostly made. The first look only finds the speech, and what is heard in the second is
    normalised over it alone: a detector of endpoints that needs no training of its own.
    """

    margin: float = Field(0.3, ge=0.0, le=10.0, description="seconds kept before the first sound and after the last")

    def endpoints(
        self,
        scores: Float[Tensor, "time vocabulary"],
        *,
        num_frames: int,
        frames_per_encoding: float,
        frames_per_second: float,
    ) -> tuple[int, int]:
        """The first frame of the speech and the one after its last; all frames where nothing is heard.

        `scores` are a CTC head's; speech is where their best path is not blank.
        """
        spoken = (scores.argmax(dim=1) != BLANK_ID).nonzero().flatten().tolist()
        if not spoken:
            return 0, num_frames
        margin = self.margin * frames_per_second
        first = math.floor(spoken[0] * frames_per_encoding - margin)
        last = math.ceil((spoken[-1] + 1) * frames_per_encoding + margin)
        return max(0, first), min(num_frames, last)
