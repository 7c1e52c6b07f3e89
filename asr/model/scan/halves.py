"""Decides whether to compute in bfloat16: autocast asks for it, and the processor answers."""

import torch
from torch import Tensor

from asr.model.scan import processor
from asr.model.scan.cpu.build import notice


def asked_precision(weight: Tensor) -> torch.dtype:
    """Returns the type that autocast asks for where it is on, else the type of the weights."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def multiplies_halves(weight: Tensor) -> bool:
    """Says whether products with this weight are wanted in bfloat16 and this CPU has them; if not, a notice says so.

    A processor without them takes 2 to 10 times the time of float32 for them, so cells and linear layers keep to
    float32 there.
    """
    if weight.device.type != "cpu" or asked_precision(weight) != torch.bfloat16:
        return False
    if not processor.has_halves():
        notice(f"bfloat16: {without_halves()}; cells and linear layers compute in float32 under autocast")
        return False
    return True


def without_halves() -> str:
    return f"this processor ({processor.name()}) has no products of it (AVX512_BF16 or AMX)"
