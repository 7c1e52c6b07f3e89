"""Marks what torch.compile leaves alone, without importing its compiler into programs that never compile."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_left_alone: list[Callable] = []


def uncompiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Works as `torch.compiler.disable`, which takes a second to import, from the call of `leave_alone` on."""

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return call.target(*args, **kwargs)  # type: ignore[attr-defined]

    call.target = function  # type: ignore[attr-defined]
    _left_alone.append(call)
    return call


def leave_alone() -> None:
    """Must be called before a model is compiled."""
    import torch

    for call in _left_alone:
        call.target = torch.compiler.disable(call.__wrapped__)  # type: ignore[attr-defined]
