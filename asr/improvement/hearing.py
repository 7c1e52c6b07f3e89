"""Lets a model judge the transcripts of a manifest: the loss of what is written beside that of what it hears."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from asr.audio.reading import AudioError, read_stretch
from asr.data.cutting import cut_longest_first
from asr.data.manifest import Utterance
from asr.decoding.alignment import align_tokens
from asr.improvement.sound import Acoustics, measure_sound
from asr.metrics import ErrorCounts, count_character_errors
from asr.recognition.listening import evaluating
from asr.recognizer import Recognizer
from asr.text import BLANK_ID, Tokenizer

BATCH_SECONDS = 240.0  # of padded audio at once


class ImprovementError(ValueError):
    """A run or data that nothing can be said of."""


@dataclass(frozen=True)
class Judged:
    """An utterance, its sound, and what the model makes of its transcript."""

    utterance: Utterance
    manifest: str  # that lists it
    acoustics: Acoustics
    heard: str  # the best path of CTC, as text
    num_tokens: int  # of the transcript
    loss: float  # of the transcript, natural logarithm; infinite where its tokens do not fit
    heard_loss: float  # of what is heard
    alignment: float  # mean log-posterior of the transcript's tokens where they fit best
    errors: ErrorCounts  # characters of what is heard against the transcript

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as JSON types; an infinite loss is null."""
        return {
            "id": self.utterance.id,
            "manifest": self.manifest,
            "heard": self.heard,
            "num_tokens": self.num_tokens,
            "loss": self.loss if math.isfinite(self.loss) else None,
            "heard_loss": self.heard_loss,
        }


@dataclass(frozen=True)
class Unread:
    """An utterance whose recording could not be read."""

    id: str
    error: str


@dataclass(frozen=True)
class Listed:
    """An utterance and the manifest that lists it."""

    utterance: Utterance
    manifest: str


def judge_transcripts(recognizer: Recognizer, listed: Sequence[Listed]) -> tuple[list[Judged], list[Unread]]:
    """Returns each utterance with the model's judgement, in the order given, and those that cannot be read.

    Raises ImprovementError where the model has no head with scores of each frame.
    """
    if not recognizer.model.scores_frames:
        raise ImprovementError(
            "the model has no CTC head, whose loss judges a transcript; add {kind: ctc, weight: 0.3} to heads and train"
        )
    found: dict[int, Judged] = {}
    unread: dict[int, Unread] = {}
    batches = cut_longest_first([each.utterance.duration for each in listed], most=BATCH_SECONDS, size=32)
    for batch in _shown(list(batches)):
        read: dict[int, np.ndarray] = {}
        for index in batch:
            try:
                read[index] = read_stretch(
                    listed[index].utterance.stretch, sample_rate=recognizer.feature_config.sample_rate
                )
            except AudioError as error:
                unread[index] = Unread(listed[index].utterance.id, str(error))
        if read:
            found |= zip(read, _judge(recognizer, [listed[index] for index in read], list(read.values())), strict=True)
    return [found[index] for index in sorted(found)], [unread[index] for index in sorted(unread)]


def _shown(batches: list[list[int]]) -> Iterator[list[int]]:
    console = Console(stderr=True)
    yield from track(batches, description="judging transcripts", console=console, transient=True)


@torch.inference_mode()
def _judge(recognizer: Recognizer, listed: Sequence[Listed], recordings: Sequence[np.ndarray]) -> list[Judged]:
    rate, tokenizer = recognizer.feature_config.sample_rate, recognizer.tokenizer
    with evaluating(recognizer.model):
        heard = recognizer.listen([recognizer.log_mels(samples, sample_rate=rate) for samples in recordings])
    judged = []
    for each, samples, scores in zip(listed, recordings, heard.scores, strict=True):
        tokens, best = tokenizer.encode(each.utterance.text), _best_path(scores)
        spans = align_tokens(scores, tokens)
        text = " ".join(tokenizer.decode(best).split())
        judged.append(
            Judged(
                utterance=each.utterance,
                manifest=each.manifest,
                acoustics=measure_sound(samples, sample_rate=rate),
                heard=text,
                num_tokens=len(tokens),
                loss=ctc_loss(scores, tokens),
                heard_loss=ctc_loss(scores, _tidy(best, tokenizer)),
                alignment=float(np.mean([max(span.log_posterior, -30.0) for span in spans])) if spans else 0.0,
                errors=count_character_errors([each.utterance.text], [text])[0],
            )
        )
    return judged


def _best_path(scores: Float[Tensor, "time vocabulary"]) -> list[int]:
    """Returns the tokens of the most probable label of each frame, repetitions and blanks removed."""
    return [token for token in torch.unique_consecutive(scores.argmax(dim=1)).tolist() if token != BLANK_ID]


def _tidy(tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Returns tokens with single spaces between words and none around them, as transcripts are written."""
    tidy: list[int] = []
    for token in tokens:
        if tokenizer.decode([token]).strip() or (tidy and tokenizer.decode([tidy[-1]]).strip()):
            tidy.append(token)
    return tidy[:-1] if tidy and not tokenizer.decode(tidy[-1:]).strip() else tidy


def ctc_loss(scores: Float[Tensor, "time vocabulary"], tokens: Sequence[int]) -> float:
    """Returns minus the log-probability of the tokens over all alignments; infinite where they do not fit."""
    if not tokens:
        return -float(scores[:, BLANK_ID].sum())
    loss = functional.ctc_loss(
        scores[:, None].float(),
        torch.tensor([list(tokens)]),
        torch.tensor([len(scores)]),
        torch.tensor([len(tokens)]),
        blank=BLANK_ID,
        reduction="none",
    )
    return float(loss[0])
