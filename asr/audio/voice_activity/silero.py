"""Silero VAD: a small network that tells speech from music, barking and clatter (extra `vad`).

Its package brings the model as ONNX, which onnxruntime runs without unpickling anything, many frames in one call:
inputs `input` [frame, 64 + 512 samples], `h` and `c` [1, 1, 128]; outputs `speech_probs`, `hn`, `cn`.
https://github.com/snakers4/silero-vad, MIT licence
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
from jaxtyping import Bool, Float, Float32
from pydantic import Field

from asr.section import Section

MODEL = "data/silero_vad_16k_sequence.onnx"  # of the package
SAMPLE_RATE = 16_000  # hertz
FRAME, CONTEXT, STATE = 512, 64, 128  # samples of a frame, samples before it that it sees, units


class VoiceActivityError(ValueError):
    """A detector that is not installed."""


class SileroConfig(Section):
    kind: Literal["silero"] = "silero"
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a frame is speech")

    def build(self, sample_rate: int) -> SileroDetector:
        """Raises VoiceActivityError where the extra is not installed."""
        return SileroDetector(self, sample_rate)


class SileroDetector:
    """Frames of 32 ms that the network finds more probable than the threshold; it remembers what went before."""

    def __init__(self, config: SileroConfig, sample_rate: int) -> None:
        self._threshold, self._session = config.threshold, _open_session()
        self._resampler = None
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")
        self.hop = FRAME * sample_rate / SAMPLE_RATE
        self._samples = np.zeros(CONTEXT, np.float32)  # the context, and what fills no frame yet
        self._hidden = self._cell = np.zeros((1, 1, STATE), np.float32)

    def push(self, samples: Float[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]:
        return self._listen(self._resampled(samples.astype(np.float32, copy=False), is_last=False))

    def finish(self) -> Bool[np.ndarray, " frame"]:
        told = self._listen(self._resampled(np.zeros(0, np.float32), is_last=True))
        missing = -(len(self._samples) - CONTEXT) % FRAME
        return np.concatenate((told, self._listen(np.zeros(missing, np.float32))))

    def _resampled(self, samples: Float32[np.ndarray, " sample"], *, is_last: bool) -> Float32[np.ndarray, " _"]:
        return samples if self._resampler is None else self._resampler.resample_chunk(samples, last=is_last)

    def _listen(self, samples: Float32[np.ndarray, " sample"]) -> Bool[np.ndarray, " frame"]:
        self._samples = np.concatenate((self._samples, samples))
        num_frames = (len(self._samples) - CONTEXT) // FRAME
        if not num_frames:
            return np.zeros(0, dtype=bool)
        frames = np.lib.stride_tricks.sliding_window_view(self._samples, CONTEXT + FRAME)[::FRAME][:num_frames]
        inputs = {"input": np.ascontiguousarray(frames), "h": self._hidden, "c": self._cell}
        chances, self._hidden, self._cell = self._session.run(["speech_probs", "hn", "cn"], inputs)
        self._samples = self._samples[num_frames * FRAME :]
        return chances.reshape(-1) >= self._threshold


def _open_session() -> Any:
    package = importlib.util.find_spec("silero_vad")  # found, not imported: that would bring all of PyTorch's hub
    try:
        import onnxruntime
    except ImportError:
        package = None
    if package is None or package.origin is None:
        raise VoiceActivityError(
            "voice activity: silero needs silero-vad and onnxruntime; pip install 'earshot[vad]', or kind: energy"
        )
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    model = Path(package.origin).with_name("data") / Path(MODEL).name
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
