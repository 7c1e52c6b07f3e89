"""Too little memory: the worst batch tried before the first step, the keys to change, and recordings on a GPU."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr.training.memory import MemoryPlan, try_worst_batch
from asr.transcription.run import add_decoding
from asr.transcription.worker import Transcriber, make_transcriber


class Hungry(nn.Module):
    """A model that asks for more memory than any machine has, or for little."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__()
        self.num_bytes = num_bytes
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, features: Tensor, *lengths_and_tokens: Tensor) -> Tensor:
        return self.weight * torch.empty(self.num_bytes, dtype=torch.uint8).sum() + features.sum()


def try_batch(model: nn.Module, *, limited_by: str = "data.batch_seconds") -> MemoryPlan:
    inputs = torch.zeros(2, 50, 4), torch.tensor([50, 40]), torch.tensor([[5], [6]]), torch.tensor([1, 1])
    return try_worst_batch(model, inputs, size="2 utterances x 50 frames", limited_by=limited_by, precision="fp32")


def test_the_worst_batch_is_tried_and_leaves_no_gradient() -> None:
    model = Hungry(8)
    plan = try_batch(model)
    assert model.weight.grad is None
    assert plan.peak_bytes is not None
    assert plan.peak_bytes > 2**20
    assert str(plan).startswith("worst batch: 2 utterances x 50 frames, peak memory ")


def test_a_batch_that_does_not_fit_is_refused_with_the_keys_to_change() -> None:
    with pytest.raises(
        ValueError,
        match=r"data\.batch_seconds: the worst batch \(2 utterances x 50 frames\) does not fit into the memory of cpu; "
        r"lower data\.batch_seconds or raise train\.accumulation",
    ):
        try_batch(Hungry(2**60))
    with pytest.raises(ValueError, match=r"^data\.batch_tokens: .*; lower data\.batch_tokens or"):
        try_batch(Hungry(2**60), limited_by="data.batch_tokens")


def test_what_is_no_lack_of_memory_is_not_called_so() -> None:
    with pytest.raises(RuntimeError, match="negative dimension -1"):
        try_batch(Hungry(-1))


def test_a_batch_of_recordings_that_does_not_fit_a_gpu_is_a_lack_of_memory() -> None:
    def transcripts(_: Sequence[np.ndarray]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")

    transcriber = object.__new__(Transcriber)  # without loading a run
    transcriber.recognizer = SimpleNamespace(transcripts=transcripts)  # type: ignore[assignment]
    with pytest.raises(MemoryError, match=r"CUDA out of memory\. Tried to allocate 2 GiB$"):
        transcriber.transcripts([np.zeros(400, np.float32)])


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    config: Any = SimpleNamespace(device="cuda")
    with pytest.raises(ValueError, match="device: 'cuda', but there is no CUDA device here"):
        make_transcriber(config, 0, num_workers=1)


def test_a_language_model_needs_a_decoding() -> None:
    with pytest.raises(ValueError, match="--language-model: of which decoding"):
        add_decoding({"language_model": "runs/lm"})
