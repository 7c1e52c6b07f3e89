"""Neural voices as ONNX files: run by onnxruntime on one thread, so that the same sentence gives the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.voices import SynthesisError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_model(model: Path | bytes, where: str) -> InferenceSession:
    """Returns the model of a file, or of a file's bytes. Raises SynthesisError where it is none."""
    try:
        import onnxruntime
        import onnxruntime.capi.onnxruntime_pybind11_state as faults
    except ImportError as error:
        raise SynthesisError(
            f"{where}: the package onnxruntime is not installed; pip install 'earshot[voices]', or do without this "
            f"engine"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    onnxruntime.set_seed(0)  # of a model's own noise, which is drawn from here on, sentence by sentence
    wrong = (faults.Fail, faults.InvalidArgument, faults.InvalidGraph, faults.InvalidProtobuf, faults.NoSuchFile)
    try:
        content = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (*wrong, faults.RuntimeException, faults.NotImplemented) as error:
        raise SynthesisError(
            f"{where}: not a model that onnxruntime can run ({str(error)[:200]}); expected an ONNX file; get it again"
        ) from error


def run_model(session: InferenceSession, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the samples that a model gives first, in a row."""
    return np.asarray(session.run(None, dict(inputs))[0], np.float32).ravel()
