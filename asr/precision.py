"""Fewer bits for the arithmetic of a trained model: bfloat16 by autocast, or products of 8-bit integers."""

from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from asr.cells import Cell
from asr.distributed import autocast as autocast_of

Precision = Literal["fp32", "bf16", "int8"]
AnyModule = TypeVar("AnyModule", bound=nn.Module)

LARGEST = 127  # of 8 bits, without -128: the range is the same on both sides


class PrecisionError(ValueError):
    """A model that cannot compute in the precision asked for."""


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which the model computes so; 8 bits are the model's own affair."""
    return autocast_of("bf16" if precision == "bf16" else "fp32", device)


class Int8Linear(nn.Module):
    """W x + b by integers: each row of W and each x scaled to -127..127 by its own largest value and rounded.

    Products and sums of integers are exact, so a row's result does not depend on what is computed beside it. Sources:
    "dynamic quantization", symmetric and for each row, as Jacob et al. 2018 (arXiv:1712.05877) have it for each layer.
    """

    weight: Int8[Tensor, "inner output"]  # turned round, as the product wants it
    scales: Float[Tensor, " output"]
    bias: Float[Tensor, " output"]

    def __init__(self, weight: Float[Tensor, "output inner"], bias: Float[Tensor, " output"] | None) -> None:
        super().__init__()
        quantized, scales = _quantize_rows(weight.detach())
        self.register_buffer("weight", quantized.t().contiguous())
        self.register_buffer("scales", scales)
        self.register_buffer("bias", torch.zeros_like(scales) if bias is None else bias.detach().clone())

    def forward(self, inputs: Float[Tensor, "*rows inner"]) -> Float[Tensor, "*rows output"]:
        rows, scales = _quantize_rows(inputs.reshape(-1, inputs.shape[-1]).float())
        sums = torch._int_mm(rows, self.weight).float()
        return sums.mul_(scales[:, None]).mul_(self.scales).add_(self.bias).view(*inputs.shape[:-1], sums.shape[1])


def _quantize_rows(rows: Float[Tensor, "row inner"]) -> tuple[Int8[Tensor, "row inner"], Float[Tensor, " row"]]:
    """Integers, and what one of them stands for in each row."""
    scales = rows.abs().amax(dim=1).clamp_(min=1e-30) / LARGEST
    return (rows / scales[:, None]).round_().to(torch.int8), scales


def quantize(model: AnyModule) -> AnyModule:
    """The model, or a part, with its products over whole utterances in 8 bits: linear layers, and the inputs of cells.

    What a cell does step by step stays in float32, where rounding would pile up over an utterance, and so do
    convolutions. The model itself is changed, and can be trained no more. Raises PrecisionError on a GPU, whose
    8-bit products want other shapes.
    """
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise PrecisionError(f"precision: int8 on {device}; expected a CPU; on a GPU use bf16")
    for module in list(model.modules()):
        if isinstance(module, Cell) and type(module).input_gates is Cell.input_gates:
            module.input_product = Int8Linear(module.input_weight, module.bias)
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child.weight, child.bias))
    return model
