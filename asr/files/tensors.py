"""Safetensors files of strangers: what they hold is known before any of it is in memory, and every weight is finite."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

LARGEST_HEADER = 16 << 20  # bytes; a tensor takes a hundred
FLOATING = frozenset({"F64", "F32", "F16", "BF16"})
Result = TypeVar("Result")


class TensorsError(ValueError):
    """A safetensors file that cannot be used; the message starts with its path."""


def read_shapes(path: Path, *, remedy: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each tensor in a file, read from its header alone.

    Raises TensorsError where it is no safetensors file, or one cut short; FileNotFoundError where there is none.
    """
    return _opened(path, lambda file: {name: _shape(file, name) for name in file.keys()}, remedy)  # noqa: SIM118


def read_tensors(
    path: Path, *, remedy: str, like: Mapping[str, Tensor] | None = None, is_finite: bool = True
) -> dict[str, Tensor]:
    """Returns the tensors of a file.

    With `like` (as `torch.device("meta")` gives, without memory) there must be tensors of these names and shapes and
    no others, numbers with a point where those are; that is compared before anything is read. Raises TensorsError, also
    where a number is not finite.
    """
    if like is not None:
        _opened(path, lambda file: _compare(path, file, like, remedy), remedy)
    tensors = _opened(path, lambda file: {name: file.get_tensor(name) for name in file.keys()}, remedy)  # noqa: SIM118
    if is_finite:
        check_finite(path, tensors, remedy=remedy)
    return tensors


def check_finite(path: Path, tensors: Mapping[str, Tensor], *, remedy: str) -> None:
    """Raises TensorsError that names the first tensor with a NaN or an infinity."""
    for name, value in tensors.items():
        # A sum is infinite or NaN if a term is, and five times as fast; it may overflow without one.
        if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
            continue
        if not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise TensorsError(
                f"{path}: {name}: {count:,} of {value.numel():,} numbers are NaN or infinite; expected finite ones; "
                f"{remedy}"
            )


def shape_differences(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], *, at_most: int = 20
) -> str:
    """Returns one line for each tensor that is of another shape, or on one side only; empty where all agree."""
    nothing = "nothing"
    lines = [
        f"  {name[:200]}: found {found.get(name, nothing)}; expected {expected.get(name, nothing)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    more = [f"  and {len(lines) - at_most} more"] if len(lines) > at_most else []
    return "\n".join(lines[:at_most] + more)


def _opened(path: Path, read: Callable[[safe_open], Result], remedy: str) -> Result:
    _check_header_size(path, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except SafetensorError as error:
        raise TensorsError(
            f"{path}: not a whole safetensors file of {path.stat().st_size:,} bytes ({error}); {remedy}"
        ) from None


def _check_header_size(path: Path, remedy: str) -> None:
    """The header is JSON, which takes many times its size in memory."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_HEADER:
        raise TensorsError(
            f"{path}: a header of {size:,} bytes; expected a safetensors file with one of at most "
            f"{LARGEST_HEADER >> 20} MiB; {remedy}"
        )


def _shape(file: safe_open, name: str) -> tuple[int, ...]:
    return tuple(file.get_slice(name).get_shape())


def _compare(path: Path, file: safe_open, like: Mapping[str, Tensor], remedy: str) -> None:
    found = {name: _shape(file, name) for name in file.keys()}  # noqa: SIM118
    if differences := shape_differences(found, {name: tuple(value.shape) for name, value in like.items()}):
        raise TensorsError(f"{path}: not the tensors that belong here:\n{differences}\n{remedy}")
    for name, value in like.items():
        kind = file.get_slice(name).get_dtype()
        if value.is_floating_point() != (kind in FLOATING):
            raise TensorsError(f"{path}: {name}: numbers of type {kind}; expected {value.dtype}; {remedy}")
