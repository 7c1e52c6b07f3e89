"""Fewer bits for a model's arithmetic: bfloat16 by autocast, or in a trained one products of 8-bit integers."""

from pathlib import Path
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from asr.config.language_model import load_experiment
from asr.config.recognizer import TrainingConfig
from asr.model.cells.cell import Cell, RecurrentBytes
from asr.model.cells.lstm import LSTM
from asr.model.layers.recurrent import RecurrentLayer
from asr.model.scan import processor
from asr.model.scan.choose import MANY_STEPS
from asr.model.scan.cpu.build import notice
from asr.model.scan.halves import without_halves
from asr.operators.private import BYTES_PRODUCT, PACK_BYTES, find_operator
from asr.process.distributed import Processes
from asr.runs.folder import RunFolder

Precision = Literal["fp32", "bf16", "int8"]
AnyModule = TypeVar("AnyModule", bound=nn.Module)

LARGEST = 127  # of 8 bits, without -128: the range is the same on both sides
LARGEST_OF_INPUTS = 63  # of 7 bits


class PrecisionError(ValueError):
    """A model that cannot compute in the precision asked for."""


AnyTraining = TypeVar("AnyTraining", bound=TrainingConfig)
# The types that autocast is asked for; of int8 the model itself knows (see `quantize`).
TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": None}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Returns the block in which a model computes in "fp32", "bf16", "fp16" or "int8"; weights stay in float32.

    A CPU without products of bfloat16 would take 2 to 10 times as long for them as for those of float32, so there
    everything is computed in float32, and one notice says so.
    """
    dtype = TYPES[precision]
    if dtype == torch.bfloat16 and device.type == "cpu" and not processor.has_halves():
        notice(f"precision bf16: {without_halves()}; it computes in float32, which is as fast as fp32")
        dtype = None
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def multiplies_halves(device: torch.device) -> bool:
    """Returns whether the device has products of bfloat16 of its own, so that they save time."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and processor.has_halves()


def settle_precision(config: AnyTraining, processes: Processes) -> tuple[AnyTraining, str]:
    """Returns the configuration with a precision in the place of "auto", and a line that says which, and why.

    A run goes on in the precision in which it was begun, on whatever machine. A new one takes bf16 where every process
    has products of bfloat16, else fp32. Raises PrecisionError for fp16 without CUDA.
    """
    asked, begun = config.train.precision, processes.gather(_begun_in(config))[0]
    has_halves = all(processes.gather(multiplies_halves(processes.device)))
    where = name_device(processes.device)
    settled = asked if asked != "auto" else begun or ("bf16" if has_halves else "fp32")
    if settled == "fp16" and processes.device.type != "cuda":
        raise PrecisionError(
            f"train.precision: 'fp16' on {where}; expected a GPU with CUDA: go on with {config.run_dir} on one, or "
            "begin another run with train.precision=auto (run_dir=...)"
        )
    if asked != "auto":
        reason = "as the configuration says"
    elif begun is not None:
        reason = "in which this run was begun"
    else:
        reason = f"auto: {where} {'multiplies' if has_halves else 'does not multiply'} bfloat16"
    train = config.train.model_copy(update={"precision": settled})
    return config.model_copy(update={"train": train}), f"precision: {settled}, {reason}"


def _begun_in(config: TrainingConfig) -> str | None:
    """Returns the precision of what was learnt in the run folder, None where that is nothing yet."""
    run = RunFolder(Path(config.run_dir))
    if not run.config_path.exists() or not run.has_learnt():
        return None
    train = getattr(load_experiment(run.config_path), "train", None)  # a model of n-grams has none
    return None if train is None or train.precision == "auto" else train.precision


def name_device(device: torch.device) -> str:
    """Returns the device with its kind, such as "cpu (AVX2)" or "cuda (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"{device.type} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({processor.name()})" if device.type == "cpu" else device.type


class Int8Linear(nn.Module):
    """W x + b by integers: each row of W and each x scaled by its own largest value and rounded.

    W has 8 bits, -127..127, and x has 7, -63..63, because two products of theirs then fit the 16 bits in which AVX2
    without VNNI adds them: products and sums are exact, so a row's result does not depend on what is computed beside
    it, nor on the processor. Multiplied by FBGEMM (Khudia et al. 2021, arXiv:2101.05615). Sources: "dynamic
    quantization", symmetric and for each row, as Jacob et al. 2018 (arXiv:1712.05877) have it for each layer.
    """

    bias: Float[Tensor, " output"]

    def __init__(self, weight: Float[Tensor, "output inner"], bias: Float[Tensor, " output"] | None) -> None:
        super().__init__()
        self.weight = _pack(*quantize_rows(weight.detach()))
        self.register_buffer("bias", weight.new_zeros(len(weight)) if bias is None else bias.detach().clone())

    def forward(self, inputs: Float[Tensor, "*rows inner"]) -> Float[Tensor, "*rows output"]:
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        if len(rows) == 0:
            return inputs.new_zeros(*inputs.shape[:-1], len(self.bias))
        scales = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-30) / LARGEST_OF_INPUTS
        sums = find_operator(BYTES_PRODUCT)(rows / scales, 1.0, LARGEST_OF_INPUTS + 1, self.weight)
        return torch.addcmul(self.bias, sums, scales, out=sums).view(*inputs.shape[:-1], -1)


def _pack(integers: Int8[Tensor, "output inner"], scales: Float[Tensor, " output"]) -> torch.ScriptObject:
    """Weights as FBGEMM takes them; it is chosen by a setting of PyTorch's, which is left as it was."""
    nothing = torch.zeros(len(scales), dtype=torch.int64)
    numbers = integers.float() * scales[:, None]
    quantized = torch.quantize_per_channel(numbers, scales.double(), nothing, 0, torch.qint8)
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        return find_operator(PACK_BYTES)(quantized, None)
    finally:
        torch.backends.quantized.engine = engine


def quantize_rows(rows: Float[Tensor, "row inner"]) -> tuple[Int8[Tensor, "row inner"], Float[Tensor, " row"]]:
    """Integers of -127..127, and what one of them stands for in each row."""
    scales = rows.abs().amax(dim=1).clamp_(min=1e-30) / LARGEST
    return (rows / scales[:, None]).round_().to(torch.int8), scales


def quantize(model: AnyModule) -> AnyModule:
    """Returns the model, or a part, with its products in 8 bits: linear layers, and in cells those of inputs and of
    outputs.

    Sums, what a cell carries from step to step, what is normalised, and convolutions stay in float32. So does all that
    a head computes token by token, and a layer that would be no faster. The model itself is changed, and can be trained
    no more. A processor without fast products of 8 bits changes nothing, and one notice says so. Raises PrecisionError
    on a GPU, whose 8-bit products want other shapes.
    """
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise PrecisionError(f"precision: int8 on {device}; expected a CPU; on a GPU use bf16")
    if not processor.multiplies_bytes():
        notice(
            f"precision int8: this processor ({processor.name()}) has no fast products of 8 bits (AVX2); "
            "it computes in float32, which is as fast as fp32"
        )
        return model
    model.requires_grad_(False)
    # Of a head without scores for frames, each of which comes token by token.
    kept = {part for each in model.modules() if not getattr(each, "scores_frames", True) for part in each.modules()}
    for module in [part for part in model.modules() if part not in kept]:
        if isinstance(module, Cell):
            _quantize_cell(module)
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and child not in kept:
                setattr(module, name, Int8Linear(child.weight, child.bias))
    for module in model.modules():
        if isinstance(module, RecurrentLayer) and module.backwards is not None:
            _join_products(module.forwards, module.backwards)
    return model


def _quantize_cell(cell: Cell) -> None:
    """Both products of a cell in 8 bits, as far as that is faster than what computes it in float32."""
    if cell.is_bounded():
        cell.recurrent_bytes = RecurrentBytes(*quantize_rows(cell.recurrent_weight.detach()))
        if cell.choose(1, MANY_STEPS).precision != torch.int8:
            cell.recurrent_bytes = None
    if cell.recurrent_bytes is None and isinstance(cell, LSTM):
        notice("precision int8: no compiled kernel for LSTM layers; they compute in float32, by PyTorch's own")
    elif type(cell).input_gates is Cell.input_gates:
        cell.input_product = Int8Linear(cell.input_weight, cell.bias)


def _join_products(forwards: Cell, backwards: Cell) -> None:
    """Makes one product with the inputs for both directions, where each has one."""
    if forwards.input_product is not None and backwards.input_product is not None:
        weights = torch.cat((forwards.input_weight, backwards.input_weight))
        forwards.product_of_both = Int8Linear(weights, torch.cat((forwards.bias, backwards.bias)))
