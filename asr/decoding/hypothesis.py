"""Defines the hypothesis that every decoding gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence that a decoding found for one utterance."""

    tokens: tuple[int, ...]  # token ids without blanks
    frames: tuple[int, ...]  # the encoding at which each token starts
    score: float  # natural-log probability of the path (greedy) or the tokens (beam)
    log_probs: tuple[float, ...] = ()  # of each token after those before it, by an attention decoder; of CTC none
