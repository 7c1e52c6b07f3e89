"""Measures how often a CTC head says each label whatever the sound, and frees scores of that habit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import safe_open
from safetensors.torch import save_file

from asr.files.replacing import replacing
from asr.files.tensors import TensorsError, read_shapes, read_tensors
from asr.runs.folder import RunFolder

SMALLEST = 1e-8  # a label that is never said would else weigh without bound


class LabelPriorsError(ValueError):
    """Label priors that cannot be read or measured."""


@dataclass(frozen=True)
class LabelPriors:
    """Log-probabilities of the labels over frames of speech, and how far scores are divided by them.

    A CTC head gives p(label | sound); a search over a grammar wants p(sound | label), which is that over p(label), up
    to a factor of the frame's own. Blanks rule most frames, so without the division a sentence with fewer tokens wins
    whenever the model is unsure. Source: Miao, Gowayyed & Metze 2015, "EESEN", section 3.3 (arXiv:1507.08240).
    """

    log_probs: Float32[np.ndarray, " vocabulary"]
    weight: float  # power of the division: 0 leaves the scores as they are

    def scale(self, scores: Float32[np.ndarray, "time vocabulary"]) -> Float32[np.ndarray, "time vocabulary"]:
        """Log-probabilities again: each frame's scores less the weighted priors, normalised."""
        scaled = torch.from_numpy(scores - np.float32(self.weight) * self.log_probs)
        return scaled.log_softmax(-1).numpy()

    def save(self, path: Path, *, model: str) -> None:
        """Write them, with the digest of the weights whose habits they are."""
        tensors = {"log_probs": torch.from_numpy(self.log_probs), "weight": torch.tensor(self.weight)}
        with replacing(path) as beside:
            save_file(tensors, beside, metadata={"model": model})

    @classmethod
    def load(cls, path: Path, *, model: str) -> LabelPriors:
        """Raises LabelPriorsError for a damaged file or one of other weights."""
        remedy = "measure them again by python -m asr.commands priors"
        try:
            size = read_shapes(path, remedy=remedy).get("log_probs", (0,))[:1]
            like = {"log_probs": torch.zeros(size, device="meta"), "weight": torch.zeros((), device="meta")}
            tensors = read_tensors(path, like=like, remedy=remedy)
        except TensorsError as error:
            raise LabelPriorsError(f"{path}: damaged ({str(error).removeprefix(f'{path}: ')})") from None
        with safe_open(path, "pt") as file:
            measured = (file.metadata() or {}).get("model")
        priors = cls(tensors["log_probs"].float().numpy(), float(tensors["weight"]))
        if measured != model:
            raise LabelPriorsError(f"{path}: label priors of other weights than the run's model.safetensors; {remedy}")
        return priors


def measure_priors(scores: Iterable[Float32[np.ndarray, "_ vocabulary"]], *, weight: float) -> LabelPriors:
    """The mean of the posteriors over all frames; raises LabelPriorsError where there are none."""
    total, num_frames = np.float64(0.0), 0
    for utterance in scores:
        total = total + np.exp(utterance, dtype=np.float64).sum(axis=0)
        num_frames += len(utterance)
    if num_frames == 0:
        raise LabelPriorsError("label priors: no frames; expected a manifest of recordings of speech")
    return LabelPriors(np.log(np.maximum(total / num_frames, SMALLEST)).astype(np.float32), weight)


def load_priors(folder: RunFolder) -> LabelPriors | None:
    """The priors of the labels that are kept in a run folder, None without; LabelPriorsError if of other weights."""
    if not folder.label_priors_path.exists():
        return None
    return LabelPriors.load(folder.label_priors_path, model=str(folder.read_record().get("model")))
