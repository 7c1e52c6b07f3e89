"""Decides which code runs a recurrent layer: here alone, by a function of what is asked and of what the machine has.

A `Case` says what a layer is asked to compute, a `Machine` answers for the processor, the compiler and the GPU, and the
`Choice` comes with its reason. Nothing is computed here; asr/model/scan/run.py does what was chosen.

    builtin     PyTorch's own LSTM: oneDNN on a CPU, cuDNN on a GPU
    compiled    kernel.cpp with the cell's step, on a CPU
    triton      kernel.py with the cell's step, on a GPU
    reference   the plain loop over time in PyTorch, which serves everything and is the slowest
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch

from asr.model.scan.step import StepForm

Path = Literal["auto", "reference", "compiled", "triton"]
Runner = Literal["builtin", "compiled", "triton", "reference"]

MANY_STEPS = 16  # the compiled kernel packs its weights anew in each call, for which single steps do not pay
FEW_STEPS = 8  # on a GPU the plain loop is as fast for fewer, and needs nothing compiled
SUMMED = (torch.float32, torch.float64)  # the types of weights that the compiled kernel takes


@dataclass(frozen=True)
class Case:
    """Says what a layer is asked to compute, as far as the choice depends on it."""

    form: StepForm
    device: torch.device
    dtype: torch.dtype  # of the recurrent weights
    asked: torch.dtype  # what autocast asks for, or the weights' own
    batch: int
    steps: int
    units: int  # that recur
    bands: int = 1
    directions: int = 1  # 2: both of a layer, together where that can be
    zoneout: bool = False
    gradients: bool = False
    has_builtin: bool = False  # PyTorch has a layer of these equations and options
    has_bytes: bool = False  # the recurrent weights are there as integers of 8 bits too
    path: Path = "auto"  # what the caller wants


@dataclass(frozen=True)
class Problem:
    """Says why this machine lacks something."""

    reason: str
    is_expected: bool = False  # the processor is of that kind or the user wants it so; nobody needs to be told


@runtime_checkable
class Machine(Protocol):
    """Answers what a choice asks of a machine."""

    def name(self) -> str:
        """Names the kind of processor, for a user."""
        ...

    def lacks_halves(self) -> str:
        """Says why the CPU does not multiply bfloat16; the text is empty where it does."""
        ...

    def lacks_kernel(self, form: StepForm, kind: torch.dtype, *, zoneout: bool) -> Problem | None:
        """Says why there is no compiled kernel that multiplies that type; it is built here, if it was not before."""
        ...

    def lacks_triton(self, device: torch.device) -> str:
        """Says why Triton's kernels do not run on a GPU; the text is empty where they do."""
        ...

    def most_utterances(self, units: int, directions: int, device: torch.device) -> int:
        """Returns how many utterances one launch can take on a GPU; 0 where it has not the processors for one."""
        ...


@dataclass(frozen=True)
class Choice:
    """Says what runs a layer, and why."""

    runner: Runner
    precision: torch.dtype  # of the factors of the recurrent product
    reason: str
    at_once: bool = False  # both directions in one call
    notice: str = ""  # what a user should know once: something is missing here, and this is slower


def choose(case: Case, machine: Machine) -> Choice:
    """Returns what runs a layer fastest on a machine, or what the caller wants where it can be had."""
    if case.batch == 0 or case.steps == 0:
        return Choice("reference", case.dtype, "there is nothing to compute")
    if case.path == "reference":
        return Choice("reference", case.dtype, "it was asked for")
    if case.path == "triton":
        at_once = case.directions == 2 and not _lacks_triton(case, machine)
        return Choice("triton", case.asked, "it was asked for", at_once=at_once)
    if case.device.type == "cpu":
        return _choose_on_cpu(case, machine)
    return _choose_on_gpu(case, machine)


def _choose_on_cpu(case: Case, machine: Machine) -> Choice:
    """Asks for bytes, then PyTorch's own layer where it is the fastest, then the compiled kernel, then what is left."""
    if case.has_bytes and machine.lacks_kernel(case.form, torch.int8, zoneout=case.zoneout) is None:
        return _compiled(case, torch.int8, "its weights are integers of 8 bits")
    without_halves = machine.lacks_halves() if case.asked == torch.bfloat16 else ""
    notice = ""
    if without_halves:
        notice = f"bfloat16: {without_halves}; cells and linear layers compute in float32 under autocast"
    has_builtin = case.has_builtin and case.path == "auto"
    serves = has_builtin and (case.asked in SUMMED or (case.asked == torch.bfloat16 and not without_halves))
    in_halves = case.asked == torch.bfloat16 and case.dtype == torch.float32 and not without_halves
    trains_in_halves = in_halves and case.gradients and case.steps >= MANY_STEPS
    if serves and not trains_in_halves:
        few = " for a few steps" if case.steps < MANY_STEPS else ""
        return Choice("builtin", case.asked, f"nothing is faster here{few}", notice=notice)
    reason = "PyTorch has no layer of these equations and options"
    if case.path == "compiled":
        reason = "it was asked for"
    elif has_builtin:
        reason = f"PyTorch has no LSTM in {name_type(case.asked)} on this processor"
    if serves:
        reason = "in training it is faster than PyTorch's own layer"
    found = _find_kernel(case, machine, in_halves=in_halves)
    notice = notice or found.notice
    if serves and found.precision != torch.bfloat16:
        return Choice("builtin", case.asked, f"the compiled kernel lacks bfloat16: {found.reason}", notice=notice)
    return replace(found, reason=reason if found.runner == "compiled" else found.reason, notice=notice)


def _find_kernel(case: Case, machine: Machine, *, in_halves: bool) -> Choice:
    """Returns the compiled kernel in bfloat16 if wanted, else in the weights' own type, else the plain loop."""
    if case.dtype not in SUMMED:
        reason = f"the compiled kernel takes no weights in {name_type(case.dtype)}"
        return Choice("reference", case.dtype, reason, notice=f"{reason}; cells run in PyTorch, more slowly")
    problems = []
    for kind in (torch.bfloat16, case.dtype) if in_halves else (case.dtype,):
        problem = machine.lacks_kernel(case.form, kind, zoneout=case.zoneout)
        if problem is None:
            lacking = [p.reason for p in problems if not p.is_expected]
            notice = f"compiled cells: {lacking[0]}; cells keep to float32" if lacking else ""
            return replace(_compiled(case, kind, problems[0].reason if problems else ""), notice=notice)
        problems.append(problem)
    last = problems[-1]
    notice = "" if last.is_expected else f"compiled cells: {last.reason}; cells run in PyTorch, more slowly"
    return Choice("reference", case.dtype, last.reason, notice=notice)


def _compiled(case: Case, kind: torch.dtype, reason: str) -> Choice:
    return Choice("compiled", kind, reason, at_once=case.directions == 2)


def _choose_on_gpu(case: Case, machine: Machine) -> Choice:
    """Asks for Triton's kernels, then PyTorch's own layer, then what is left."""
    wanted = case.path == "auto"
    problem = _lacks_triton(case, machine) if wanted else "the compiled kernel is for CPUs"
    if not problem:
        return Choice("triton", case.asked, "on a GPU nothing is faster", at_once=case.directions == 2)
    if case.directions == 2:  # one by one they may be served
        return _choose_on_gpu(replace(case, directions=1), machine)
    if case.has_builtin and wanted:
        return Choice("builtin", case.asked, problem)
    is_short = case.steps < FEW_STEPS
    notice = "" if is_short else f"{problem}; on a GPU cells run in PyTorch, more slowly"
    return Choice("reference", case.dtype, problem, notice=notice)


def _lacks_triton(case: Case, machine: Machine) -> str:
    """Says why Triton's kernels are not taken; the text is empty where they are."""
    if case.device.type != "cuda":
        return f"Triton's kernels need CUDA, not {case.device.type}"
    if case.dtype != torch.float32:
        return f"Triton's kernels take no weights in {name_type(case.dtype)}"
    if case.form.projected:
        return "Triton's kernels have no projection"
    if case.bands > 1:
        return "Triton's kernels have no convolution"
    if case.steps < FEW_STEPS:
        return "a few steps pay for no kernel"
    if machine.most_utterances(case.units, case.directions, case.device) == 0:
        return f"{case.units} units in {case.directions} direction(s) need more processors than the GPU has"
    return machine.lacks_triton(case.device)


def describe(choice: Choice, machine: Machine) -> str:
    """Returns what runs a layer in words, such as "compiled kernel in bfloat16 (AVX512 with AMX)"."""
    what = {
        "builtin": "PyTorch's own layer",
        "compiled": "compiled kernel",
        "triton": "Triton kernel",
        "reference": "plain loop in PyTorch",
    }[choice.runner]
    both = ", both directions at once" if choice.at_once else ""
    where = f" ({machine.name()})" if choice.runner == "compiled" else ""
    return f"{what} in {name_type(choice.precision)}{both}{where}"


def name_type(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
