"""The operators of PyTorch that its documentation does not promise, each asked for by its name and in this file only.

A version of PyTorch may rename them. tests/test_operators.py runs before all other tests and calls each of them, so
that what fails first then names the operator.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

# Products by oneDNN; many weighted means in one call; an LSTM layer; weights of 8 bits for FBGEMM, and their products.
ONEDNN_PRODUCT = "torch.ops.mkldnn._linear_pointwise"
LERP_OF_MANY = "torch._foreach_lerp_"
LSTM_LAYER = "torch.lstm"
PACK_BYTES = "torch.ops.quantized.linear_prepack"
BYTES_PRODUCT = "torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32"


class OperatorError(RuntimeError):
    """This version of PyTorch lacks an operator."""


@cache
def find_operator(name: str) -> Callable[..., Any]:
    """Returns an operator by its whole name; raises OperatorError with that name where PyTorch has it not."""
    found: Any = torch
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            raise OperatorError(
                f"{name}: not in PyTorch {torch.__version__}; expected PyTorch 2.11: install that, or say in "
                "asr/operators/private.py what takes its place"
            ) from None
    return found
