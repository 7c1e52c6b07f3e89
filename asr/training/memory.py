"""Measures what a training will need before its first step: parameters, multiply-adds, the worst batch's memory."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asr.data.batches import Batch, collate
from asr.data.examples import Example
from asr.model.acoustic import Model
from asr.model.cells import Cell
from asr.recognition.precision import autocast
from asr.text import UNKNOWN_ID
from asr.training.experiment import RecognizerExperiment

try:
    import resource
except ImportError:  # Windows counts elsewhere
    resource = None

GIBIBYTE = 2**30


@dataclass(frozen=True)
class MemoryPlan:
    """The largest batch, and what computing it took."""

    size: str  # for a user: 12 utterances x 700 frames
    peak_bytes: int | None  # of the device: allocated on CUDA, resident in the process on a CPU; None: not known

    def __str__(self) -> str:
        peak = "unknown" if self.peak_bytes is None else f"{self.peak_bytes / GIBIBYTE:.2f} GiB"
        return f"worst batch: {self.size}, peak memory {peak}"


def worst_batch(experiment: RecognizerExperiment, *, accumulation: int, world_size: int) -> Batch:
    """Returns the largest part of a step that one process computes, with silence for features."""
    indices = experiment.plan.worst()[:: accumulation * world_size]
    silences = [_silence(experiment, int(index)) for index in indices]
    return collate(silences * experiment.model.num_views, num_views=experiment.model.num_views)


def _silence(experiment: RecognizerExperiment, index: int) -> Example:
    """Returns an utterance of the training data as long as it is, with its tokens, and silence for features."""
    train = experiment.train
    return Example(
        id=train.utterance(index).id,
        index=index,
        features=torch.zeros(train.num_frames(index), experiment.config.features.num_mels),
        tokens=train.tokens(index),
        audio_seconds=float(train.durations[index]),
    )


def try_worst_batch(
    model: nn.Module, inputs: Sequence[Any], *, size: str, limited_by: str, precision: str
) -> MemoryPlan:
    """Computes one forward and backward pass over the inputs of the worst batch; its gradients are dropped.

    Raises ValueError with the keys to change where the memory does not suffice: `limited_by` names that of the batch's
    size.
    """
    device = inputs[0].device
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with autocast(precision, device):
            losses = model(*inputs)
        losses.sum().backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(
            f"{limited_by}: the worst batch ({size}) does not fit into the memory of {device}; lower {limited_by} or "
            f"raise train.accumulation ({error})"
        ) from None
    finally:
        model.zero_grad(set_to_none=True)
    peak = torch.cuda.max_memory_allocated(device) if on_cuda else _peak_resident_bytes()
    return MemoryPlan(size, peak)


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """On a CPU torch says it by a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _peak_resident_bytes() -> int | None:
    """Returns None on a system that does not say."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes, Linux in KiB


def multiply_adds(model: Model, features: Tensor, lengths: Tensor, *, num_tokens: int = 0) -> int:
    """Multiply-adds of one encoding with all heads' losses: each weight, as often as it is used.

    A matrix of a linear or a recurrent layer is used once a frame of that layer's output (and once a band, where it
    convolves over bands), a convolution's kernel once an output position. An attention decoder writes `num_tokens`
    for each utterance, and <eos>.
    """
    counted = 0

    def count(module: nn.Module, inputs: tuple, output) -> None:
        nonlocal counted
        kernel = (3, 4) if isinstance(module, nn.Conv1d | nn.Conv2d) else (2,)
        weights = sum(value.numel() for value in module.parameters(recurse=False) if value.dim() in kernel)
        if not weights or isinstance(module, nn.Embedding):
            return  # what only puts its parts together, and a row looked up
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            positions = first.numel() // module.out_channels
        elif isinstance(module, Cell):
            positions = first.numel() // module.output_size * module.num_bands
        else:
            positions = first.numel() // first.shape[-1]
        counted += weights * positions

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with torch.inference_mode():
            encodings, encoded = model.encode(features, lengths)
            tokens = torch.full((len(features), num_tokens), UNKNOWN_ID, device=features.device)
            token_lengths = torch.full_like(lengths, num_tokens)
            for head in model.heads:
                head.loss(encodings, encoded, tokens, token_lengths)
    finally:
        for hook in hooks:
            hook.remove()
    return counted
