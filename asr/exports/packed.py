"""A run folder made small: what hearing needs of it, with the weights in half precision."""

import shutil
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from asr.files.digest import file_digest
from asr.runs.checkpoint import write_text
from asr.runs.folder import STATISTICS_KEY, RunFolder
from asr.runs.recognizer import RunParts, load_run
from asr.understanding.autoencoder import FILE_NAME as AUTOENCODER

WeightPrecision = Literal["fp16", "fp32"]


class PackingError(ValueError):
    """A run that cannot be packed as asked."""


def pack_run(run: Path, target: Path, *, precision: WeightPrecision) -> RunFolder:
    """Write what a recogniser reads of a run folder to a new one: settings, weights, tokenizer, statistics, card.

    Checkpoints, logs and the wandb run stay behind, and so do label priors and thresholds: they are of the weights
    as they were, and to be measured again of those that are written. Raises PackingError where `target` holds
    something already, or a weight is too large for half precision; and what reading a run raises.
    """
    if target.exists() and any(target.iterdir()):
        raise PackingError(f"{target}: not empty; expected a new folder for the packed run")
    parts = load_run(run)
    packed = RunFolder(target)
    target.mkdir(parents=True, exist_ok=True)
    write_text(packed.config_path, parts.config.to_yaml())
    parts.tokenizer.save(packed.tokenizer_path)
    record = parts.folder.read_record()
    kept = {key: value for key, value in record.items() if key not in ("model", STATISTICS_KEY)}
    packed.write_record({**kept, "packed_from": record["model"]})
    if parts.statistics is not None:
        parts.statistics.save(packed.statistics_path)
        packed.write_record({STATISTICS_KEY: file_digest(packed.statistics_path)})
    if (run / AUTOENCODER).is_file():  # it hears log-mels, not the model
        shutil.copyfile(run / AUTOENCODER, target / AUTOENCODER)
    packed.write_model(_weights(parts, precision))
    if parts.folder.card_path.is_file():
        card = parts.folder.card_path.read_text(encoding="utf-8")
        write_text(packed.card_path, card.replace(str(run), str(target)))
    return packed


def _weights(parts: RunParts, precision: WeightPrecision) -> dict[str, Tensor]:
    """Raises PackingError, naming the first weight that half precision has no number for."""
    weights = parts.model.state_dict()
    if precision == "fp32":
        return weights
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in halved.items():
        if not bool(torch.isfinite(value).all()):
            largest = float(weights[name].abs().max())
            raise PackingError(
                f"{parts.folder.model_path}: {name}: {largest:g} is more than half precision holds (65504); "
                "expected smaller weights; use --precision fp32"
            )
    return halved
