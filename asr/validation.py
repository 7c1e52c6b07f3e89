"""The score of a model on the dev split, while it trains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asr.data import Batch
from asr.decoding.hypothesis import Hypothesis
from asr.distributed import Processes
from asr.encoders.masking import valid_frames
from asr.experiment import Experiment
from asr.language_loading import open_decoding
from asr.media import DevUtterance
from asr.metrics import ErrorCounts, align, count_character_errors, count_word_errors, total
from asr.model import Model
from asr.tokenizer import BLANK_ID


@dataclass(frozen=True)
class DevScore:
    words: ErrorCounts
    characters: ErrorCounts
    loss: float  # natural-log loss of a token
    blank_share: float  # of the frames whose most likely label is blank
    transcripts: dict[int, str]  # by index in the dev dataset

    @property
    def figures(self) -> dict[str, float]:
        """Smaller is better: the WER decides, then the CER, then the loss."""
        return {"wer": self.words.rate, "cer": self.characters.rate, "loss": self.loss}

    def logged(self) -> dict[str, float]:
        return {
            "dev/wer": self.words.rate,
            "dev/cer": self.characters.rate,
            "dev/loss": self.loss,
            "dev/blank_share": self.blank_share,
        }


@torch.inference_mode()
def validate(model: Model, batches: Iterable[Batch], *, experiment: Experiment, processes: Processes) -> DevScore:
    """Decode this process's share of the dev batches with the first head; everybody gets the score of all of them."""
    tokenizer = experiment.tokenizer
    decode = open_decoding(experiment.config.decoding, tokenizer, device=processes.device)
    was_training = model.training
    model.eval()
    transcripts: dict[int, str] = {}
    sums = [0.0, 0.0, 0.0, 0.0]  # loss, tokens, blank frames, frames
    for batch in batches:
        moved = batch.to(processes.device)
        encodings, lengths = model.encode(moved.features, moved.feature_lengths)
        head: Any = model.heads[0]
        hypotheses: list[Hypothesis] = decode(head, encodings, lengths)
        transcripts |= {i: tokenizer.decode(found.tokens) for i, found in zip(batch.indices, hypotheses, strict=True)}
        losses = head.loss(encodings, lengths, moved.tokens, moved.token_lengths)  # type: ignore[operator]
        blank = (head(encodings).argmax(dim=-1) == BLANK_ID) & valid_frames(lengths, encodings.shape[1])
        finite = losses.isfinite()  # an utterance whose tokens do not fit its frames has none
        sums[0] += float(losses[finite].double().sum())
        sums[1] += float(moved.token_lengths[finite].sum())
        sums[2] += float(blank.sum())
        sums[3] += float(lengths.sum())
    model.train(was_training)
    loss, tokens, blanks, frames = processes.sum(sums)
    everything = {index: text for part in processes.gather(transcripts) for index, text in part.items()}
    order = sorted(everything)
    spoken, found = [experiment.dev.utterance(index).text for index in order], [everything[index] for index in order]
    return DevScore(
        words=total(count_word_errors(spoken, found)),
        characters=total(count_character_errors(spoken, found)),
        loss=loss / max(1.0, tokens),
        blank_share=blanks / max(1.0, frames),
        transcripts={index: everything[index] for index in order},
    )


def shown_utterances(experiment: Experiment, score: DevScore, number: int) -> list[DevUtterance]:
    """The same few dev utterances each time, spread over the split, for the tracker's table."""
    dev = experiment.dev
    chosen = sorted({round(place) for place in np.linspace(0, len(dev) - 1, min(number, len(dev)))})
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
        )
        for index in chosen
    ]


def say_error_rates(figures: Mapping[str, Any]) -> str:
    return f"dev WER {figures['wer']:.2%}, CER {figures['cer']:.2%}"
