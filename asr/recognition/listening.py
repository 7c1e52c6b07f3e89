"""Turns log-mels into what a decoding reads, in one pass or, with endpointing, in two."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asr.decoding.endpointing import EndpointingConfig
from asr.model.acoustic import Model
from asr.recognition.precision import Precision, autocast
from asr.text import BLANK_ID


@dataclass(frozen=True)
class Heard:
    """A batch of utterances, each from its first frame that counts on."""

    features: list[Float[Tensor, "_ mel"]]  # of each utterance, as they were encoded
    first_frames: list[int]  # at which they begin in the recordings
    padded: Float[Tensor, "batch time mel"]
    lengths: Int[Tensor, " batch"]
    encodings: Float[Tensor, "batch subsampled encoding"]
    encoding_lengths: Int[Tensor, " batch"]
    scores: list[Float[Tensor, "_ vocabulary"]]  # log-probabilities by the CTC head; without one, none of no tokens

    def spoken_until(self, row: int, *, frames_per_encoding: float) -> float | None:
        """Returns the frame of an utterance at which its last token ends; None where the CTC head wrote none."""
        scores = self.scores[row]
        spoken = (scores.argmax(dim=1) != BLANK_ID).nonzero() if scores.numel() else scores
        return self.first_frames[row] + (float(spoken[-1]) + 1) * frames_per_encoding if len(spoken) else None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for the time of the block."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
def listen(
    model: Model,
    log_mels: Sequence[Float[Tensor, "_ mel"]],
    *,
    normalized: Callable[[Tensor], Tensor],
    frames_per_second: float,
    endpointing: EndpointingConfig | None = None,
    precision: Precision = "fp32",
) -> Heard:
    """Normalise and encode as one batch, on the model's device; with `endpointing`, then once more the speech alone."""
    heard = _encode(model, list(map(normalized, log_mels)), [0] * len(log_mels), precision)
    if endpointing is None:
        return heard
    first_frames, speech = [], []
    for frames, scores in zip(log_mels, heard.scores, strict=True):
        first, last = endpointing.endpoints(
            scores,
            num_frames=len(frames),
            frames_per_encoding=len(frames) / max(1, len(scores)),
            frames_per_second=frames_per_second,
        )
        first_frames.append(first)
        speech.append(normalized(frames[first:last]))
    again = _encode(model, speech, first_frames, precision)
    looks = zip(log_mels, heard.scores, again.scores, first_frames, strict=True)
    scores = [
        endpointing.combined(before, after, start=round(first * len(before) / max(1, len(frames))))
        for frames, before, after, first in looks
    ]
    return replace(again, scores=scores)


def _encode(
    model: Model, features: Sequence[Float[Tensor, "_ mel"]], first_frames: list[int], precision: Precision
) -> Heard:
    device = next(model.parameters()).device
    lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int64, device=device)
    padded = nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(device)
    with autocast(precision, device):
        encodings, encoding_lengths = model.encode(padded, lengths)
    encodings = encodings.float()
    scores = _scores(model, encodings, encoding_lengths)
    return Heard(list(features), first_frames, padded, lengths, encodings, encoding_lengths, scores)


def _scores(
    model: Model, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
) -> list[Float[Tensor, "_ vocabulary"]]:
    found = model.frame_scores(encodings)
    log_probs = encodings.new_zeros(*encodings.shape[:2], 0).cpu() if found is None else found.cpu()
    return [log_probs[row, :length] for row, length in enumerate(lengths.tolist())]
