"""Multiplies matrices in single precision at the speed of oneDNN, and makes a linear layer of that.

`F.linear` takes Intel's MKL for float32, which leaves half the speed of other makers' processors with AVX-512 unused;
oneDNN does not. For other types, on other devices and where PyTorch lacks oneDNN, these are `F.linear`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.amp.autocast_mode import custom_bwd, custom_fwd
from torch.nn import functional as F

from asr.model.scan.halves import multiplies_halves
from asr.operators.private import ONEDNN_PRODUCT, find_operator


def has_onednn(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def product(
    left: Float[Tensor, "row inner"], right: Float[Tensor, "column inner"], bias: Tensor | None = None
) -> Tensor:
    """Returns left @ right.T (+ bias), in float32 by oneDNN."""
    if not has_onednn(left) or left.numel() == 0:
        return F.linear(left, right, bias)
    return find_operator(ONEDNN_PRODUCT)(left.contiguous(), right.contiguous(), bias, "none", [], "")


def outer_product(
    left: Float[Tensor, "row column"], right: Float[Tensor, "row inner"]
) -> Float[Tensor, "column inner"]:
    """Returns left.T @ right: the gradient of a linear layer's weight, from its outputs' gradients and its inputs."""
    if not has_onednn(left) or left.numel() == 0:
        return left.T @ right
    return product(left.T.contiguous(), right.T.contiguous())


class Linear(torch.autograd.Function):
    """Computes `F.linear` on [row, feature] by `product`; under autocast it stays in float32."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_inputs = product(gradient, weight.T) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return of_inputs, outer_product(gradient, inputs), of_bias


# oneDNN compiles a product for each number of rows, in 1 to 5 ms, and that number is new in every batch. Cut into these
# pieces, the same few products come again.
ROWS_OF_PIECE, ROWS_OF_REST = 512, 128


def in_pieces(num_rows: int) -> int:
    """Returns how many of the rows fill whole pieces."""
    return num_rows - num_rows % ROWS_OF_PIECE


def padded_rows(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "padded_row column"]:
    """Adds rows of zeros up to a multiple of ROWS_OF_REST."""
    return F.pad(matrix, (0, 0, 0, -len(matrix) % ROWS_OF_REST))


def half_product(left: Float[Tensor, "row inner"], right: Float[Tensor, "inner column"]) -> Float[Tensor, "row column"]:
    """Returns left @ right of bfloat16 numbers."""
    whole = in_pieces(len(left))
    if whole in (0, len(left)):
        return left @ right
    result = left.new_empty(len(left), right.shape[1])
    torch.mm(left[:whole], right, out=result[:whole])
    result[whole:] = (padded_rows(left[whole:]) @ right)[: len(left) - whole]
    return result


def half_outer_product(
    left: Float[Tensor, "row column"], right: Float[Tensor, "row inner"]
) -> Float[Tensor, "column inner"]:
    """Returns left.T @ right of bfloat16 numbers, in float32; oneDNN is faster with the wider one on the right."""
    if left.shape[1] > right.shape[1]:
        return half_outer_product(right, left).T.contiguous()
    whole = in_pieces(len(left))
    total = (left[:whole].T @ right[:whole]).float()
    if whole < len(left):
        total += padded_rows(left[whole:]).T @ padded_rows(right[whole:])
    return total


class HalfLinear(torch.autograd.Function):
    """Computes `F.linear` on [row, feature] in bfloat16, its gradients too."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        halves, weight = inputs.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(halves, weight)
        ctx.kind = inputs.dtype
        outputs = half_product(halves, weight.T)
        return outputs if bias is None else outputs.add_(bias.to(torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_inputs = half_product(gradient, weight).to(ctx.kind) if ctx.needs_input_grad[0] else None
        of_bias = None
        if ctx.needs_input_grad[2]:  # a product, because a sum over rows takes twice as long
            of_bias = half_outer_product(gradient.new_ones(len(gradient), 1), gradient)[0]
        return of_inputs, half_outer_product(gradient, inputs), of_bias


def linear(inputs: Float[Tensor, "*rows feature"], weight: Tensor, bias: Tensor | None) -> Tensor:
    """Computes `F.linear`: by oneDNN where that is faster, in bfloat16 where autocast asks and the processor can."""
    if inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        if weight.dtype == torch.float32 and multiplies_halves(weight):
            return HalfLinear.apply(inputs.flatten(0, -2), weight, bias).unflatten(0, inputs.shape[:-1])
        inputs = inputs.to(weight.dtype)
    if not has_onednn(inputs):
        return F.linear(inputs, weight, bias)
    return Linear.apply(inputs.flatten(0, -2), weight, bias).unflatten(0, inputs.shape[:-1])


class Projection(nn.Linear):
    """Is an `nn.Linear` by `linear`; torch.compile makes its own of it."""

    def forward(self, inputs: Float[Tensor, "*rows feature"]) -> Float[Tensor, "*rows output"]:
        return super().forward(inputs) if torch.compiler.is_compiling() else linear(inputs, self.weight, self.bias)
