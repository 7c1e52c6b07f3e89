"""Fewer bits for a model's arithmetic: bfloat16 by autocast, or in a trained one products of 8-bit integers."""

from pathlib import Path
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from asr.config.language_model import load_experiment
from asr.config.recognizer import TrainingConfig
from asr.distributed import Processes
from asr.model.cells import Cell
from asr.model.scan import processor
from asr.model.scan.cpu.build import notice
from asr.model.scan.halves import without_halves
from asr.runs.folder import RunFolder

Precision = Literal["fp32", "bf16", "int8"]
AnyModule = TypeVar("AnyModule", bound=nn.Module)

LARGEST = 127  # of 8 bits, without -128: the range is the same on both sides
EXACT_TERMS = 2**24 // LARGEST**2  # so many products of them add up to what float32 still holds exactly


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
    """Whether the device has products of bfloat16 of its own, so that they save time."""
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
        sums = multiply_bytes(rows, self.weight)
        return sums.mul_(scales[:, None]).mul_(self.scales).add_(self.bias).view(*inputs.shape[:-1], sums.shape[1])


def multiply_bytes(
    rows: Int8[Tensor, "row inner"], columns: Int8[Tensor, "inner column"]
) -> Float[Tensor, "row column"]:
    """The product of integers of -127..127, exactly.

    A processor without VNNI adds such products up in 16 bits, which overflow. There the product is that of float32,
    in pieces whose sums it holds exactly, and one notice says so.
    """
    if processor.has_bytes():
        return torch._int_mm(rows, columns).float()
    notice(
        f"precision int8: this processor ({processor.name()}) has no products of 8 bits (VNNI); they are computed in "
        "float32, which is no faster than fp32"
    )
    pieces = zip(rows.split(EXACT_TERMS, dim=1), columns.split(EXACT_TERMS), strict=True)
    first, *others = (left.float() @ right.float() for left, right in pieces)
    return sum(others, start=first)


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
