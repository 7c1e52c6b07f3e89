"""Labels that a head has no output for, found before they do harm."""

import torch
from jaxtyping import Int
from torch import Tensor

from asr.model.layers.uncompiled import uncompiled
from asr.text import NUM_SPECIAL, UNKNOWN_ID


class LabelError(ValueError):
    """A label that the head has no output for."""


@uncompiled  # it looks at values, which a compiled graph cannot
def check_labels(
    head: str, tokens: Int[Tensor, "batch token"], token_lengths: Int[Tensor, " batch"], *, vocabulary_size: int
) -> None:
    """Raise LabelError for a label that is no token of a transcript; `head` is named in the message."""
    spoken = torch.arange(tokens.shape[1], device=tokens.device)[None, :] < token_lengths[:, None]
    allowed = (tokens == UNKNOWN_ID) | ((tokens >= NUM_SPECIAL) & (tokens < vocabulary_size))
    refused = spoken & ~allowed
    if bool(refused.any()):
        row, column = refused.nonzero()[0].tolist()
        raise LabelError(
            f"{head}: utterance {row} of the batch has label {int(tokens[row, column])} at position {column}; "
            f"labels are {UNKNOWN_ID} (unknown) and {NUM_SPECIAL} to {vocabulary_size - 1}: "
            "train the tokenizer and the model with the same vocabulary"
        )
