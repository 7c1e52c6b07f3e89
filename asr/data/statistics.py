"""Statistics of the features of a training split, which the normalisation `global` needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from asr.files.replacing import replacing
from asr.files.tensors import read_shapes, read_tensors


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and standard deviation of each mel over all frames of a training split."""

    mean: Float[Tensor, " mel"]
    std: Float[Tensor, " mel"]

    @classmethod
    def from_features(cls, features: Iterable[Float[Tensor, "frame mel"]]) -> FeatureStatistics:
        """Statistics of un-normalised features, summed in float64; ValueError where there is no frame at all."""
        num_frames = 0
        total = total_square = torch.zeros((), dtype=torch.float64)
        for frames in features:
            frames = frames.to("cpu", torch.float64)
            num_frames += frames.shape[0]
            total = total + frames.sum(dim=0)
            total_square = total_square + frames.square().sum(dim=0)
        if num_frames == 0:
            raise ValueError("feature statistics: no frames; expected the features of at least one utterance")
        mean = total / num_frames
        variance = (total_square / num_frames - mean.square()).clamp(min=0.0)
        return cls(mean.float(), variance.sqrt().float())

    def save(self, path: Path | str) -> None:
        """Write both vectors to a safetensors file, whole or not at all."""
        with replacing(path) as beside:
            save_file({"mean": self.mean.contiguous(), "std": self.std.contiguous()}, beside)

    @classmethod
    def load(cls, path: Path | str) -> FeatureStatistics:
        """Read what `save` wrote; ValueError where the file is something else, FileNotFoundError where it is not."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; expected the feature statistics of a training split")
        remedy = "expected feature statistics; copy the whole run folder again, or train it again"
        shapes = read_shapes(path, remedy=remedy)
        if set(shapes) != {"mean", "std"}:
            raise ValueError(f"{path}: holds {sorted(shapes)[:9]}; expected feature statistics, ['mean', 'std']")
        if shapes["mean"] != shapes["std"] or len(shapes["mean"]) != 1:
            raise ValueError(
                f"{path}: mean is {shapes['mean']} and std {shapes['std']}; expected a number of each for each mel; "
                f"{remedy}"
            )
        tensors = read_tensors(path, like={name: torch.zeros(shape) for name, shape in shapes.items()}, remedy=remedy)
        if bool((tensors["std"] < 0).any()):
            raise ValueError(f"{path}: a standard deviation below 0; {remedy}")
        return cls(tensors["mean"], tensors["std"])
