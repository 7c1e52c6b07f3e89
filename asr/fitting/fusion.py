"""Finds the weights of shallow fusion that give the fewest word errors on a dev split."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor

from asr.data.manifest import Manifest
from asr.decoding import DecodingConfig, choose_heads
from asr.files.yaml import write_yaml
from asr.metrics import ErrorCounts, count_character_errors, count_word_errors, total
from asr.recognizer import Recognizer
from asr.runs.checkpoint import write_text
from asr.runs.language_model import decoding_name, load_asked_model

BATCH_SIZE = 32
STEPS = {"weight": 0.4, "token_bonus": 0.8, "word_bonus": 0.8}  # of the first pattern
NUM_HALVINGS = 3


class FusionTuningError(ValueError):
    """A decoding without weights to tune."""


@dataclass(frozen=True)
class FusionTrial:
    """Weights, and what they gave on the dev split."""

    weights: dict[str, float]
    words: ErrorCounts
    characters: ErrorCounts

    @property
    def rank(self) -> tuple[float, float]:
        return self.words.rate, self.characters.rate


@dataclass(frozen=True)
class Encoded:
    """A batch of dev utterances as the decoding sees them."""

    indices: list[int]
    encodings: Float[Tensor, "batch time encoding"]
    lengths: Int[Tensor, " batch"]


def tune_fusion(
    recognizer: Recognizer, decoding: DecodingConfig, manifest: Manifest, *, report: Callable[[FusionTrial], None]
) -> tuple[DecodingConfig, list[FusionTrial]]:
    """Returns the decoding with the best weights found, and everything tried; each trial is reported when it is done.

    Pattern search (Hooke and Jeeves 1961): each weight is moved a step up and down; where nothing is better, the
    steps are halved. Utterances are encoded once. Raises FusionTuningError for a decoding without a language model.
    """
    fusion = getattr(decoding, "fusion", None)
    if fusion is None or fusion.language_model is None:
        raise FusionTuningError(
            f"--tune-fusion: {decoding.kind} without a language model; expected --decoding ctc_beam, say, and "
            "--language-model LM_RUN"
        )
    batches = list(encode(recognizer, manifest))
    references = [utterance.text for utterance in manifest]
    model = load_asked_model(decoding, recognizer.tokenizer, device=next(recognizer.model.parameters()).device)

    def attempt(weights: dict[str, float]) -> FusionTrial:
        chosen = with_weights(decoding, weights).build(recognizer.tokenizer, model)
        texts = decode(recognizer, chosen, batches, number=len(references))
        trial = FusionTrial(
            weights, total(count_word_errors(references, texts)), total(count_character_errors(references, texts))
        )
        report(trial)
        return trial

    names = [name for name in STEPS if name in type(fusion).model_fields]
    trials = search_pattern(attempt, start={name: getattr(fusion, name) for name in names})
    return with_weights(decoding, min(trials, key=lambda trial: trial.rank).weights), trials


def search_pattern(attempt: Callable[[dict[str, float]], FusionTrial], *, start: dict[str, float]) -> list[FusionTrial]:
    """Returns all trials, in the order in which they were made;
    no weights are tried twice, and `weight` never below 0.
    """
    tried: dict[tuple[float, ...], FusionTrial] = {}

    def once(weights: dict[str, float]) -> FusionTrial:
        key = tuple(weights.values())
        if key not in tried:
            tried[key] = attempt(weights)
        return tried[key]

    best, scale = once(start), 1.0
    for _ in range(NUM_HALVINGS):
        improved = True
        while improved:
            improved = False
            for name in start:
                for sign in (1.0, -1.0):
                    moved = round(best.weights[name] + sign * scale * STEPS[name], 4)
                    if name == "weight" and moved < 0:
                        continue
                    trial = once({**best.weights, name: moved})
                    if trial.rank < best.rank:
                        best, improved = trial, True
                        break
        scale /= 2
    return list(tried.values())


def tune_in_run(recognizer: Recognizer, decoding: DecodingConfig, manifest: Manifest, *, run: Path) -> DecodingConfig:
    """Finds the weights of the fusion on the manifest and keeps them in the run folder; returns their decoding."""
    console = Console()

    def report(trial: FusionTrial) -> None:
        weights = ", ".join(f"{name} {value:g}" for name, value in trial.weights.items())
        console.print(f"{weights}: WER {trial.words.rate:.2%}, CER {trial.characters.rate:.2%}", highlight=False)

    tuned, trials = tune_fusion(recognizer, decoding, manifest, report=report)
    path = run / "decodings" / f"{decoding_name(tuned)}.yaml"
    write_decoding(path, tuned)
    console.print(f"the best of {len(trials)}, for --decoding: {path}", soft_wrap=True, highlight=False, markup=False)
    return tuned


def with_weights(decoding: DecodingConfig, weights: dict[str, float]) -> DecodingConfig:
    """Returns the same decoding with other weights of its fusion."""
    fusion: Any = decoding.fusion  # pyright: ignore[reportAttributeAccessIssue]
    return decoding.model_copy(update={"fusion": fusion.model_copy(update=weights)})


def write_decoding(path: Path, decoding: DecodingConfig) -> None:
    """Writes a file for --decoding."""
    write_text(path, write_yaml(decoding.model_dump(mode="json")))


@torch.inference_mode()
def encode(recognizer: Recognizer, manifest: Manifest) -> Iterator[Encoded]:
    """Yields the manifest's utterances, encoded in batches of like length. Raises AudioError for one that cannot be
    read.
    """
    utterances = list(manifest)
    order = sorted(range(len(utterances)), key=lambda index: utterances[index].duration)
    for first in range(0, len(order), BATCH_SIZE):
        indices = order[first : first + BATCH_SIZE]
        chosen = [utterances[index] for index in indices]
        log_mels = [recognizer.stretch_log_mels(item.stretch) for item in chosen]
        heard = recognizer.listen(log_mels)
        yield Encoded(indices, heard.encodings, heard.encoding_lengths)


@torch.inference_mode()
def decode(recognizer: Recognizer, decoding: Any, batches: Sequence[Encoded], *, number: int) -> list[str]:
    """Returns the transcripts of all utterances, in the order of the manifest."""
    heads, texts = choose_heads(decoding, recognizer.model.heads), [""] * number
    for batch in batches:
        for index, hypothesis in zip(batch.indices, decoding(heads, batch.encodings, batch.lengths), strict=True):
            texts[index] = " ".join(recognizer.tokenizer.decode(hypothesis.tokens).split())
    return texts
