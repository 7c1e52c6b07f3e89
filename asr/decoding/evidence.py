"""Says how much of speech a recording must show before words are written of it."""

from collections.abc import Sequence

from pydantic import Field

from asr.section import Section


class EvidenceConfig(Section):
    """Says what a free transcript needs; commands have a rejection of their own.

    A model that was trained on speech alone writes a word of nearly every sound. Noises to learn silence from
    (`without_speech`) are the cure; this is what can be had of a model as it is.
    """

    shortest: float = Field(
        0.06, ge=0.0, le=1.0, description="seconds; a shorter recording is a click, of which no words are written"
    )
    surest_word: float = Field(
        0.0, ge=0.0, lt=1.0, description="no words where the confidence of each is below this; 0: whatever is found"
    )

    def is_enough(self, *, seconds: float, confidences: Sequence[float]) -> bool:
        """Returns whether words found with these confidences in a recording of so many seconds are written."""
        return seconds >= self.shortest and max(confidences, default=0.0) >= self.surest_word
