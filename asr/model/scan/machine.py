"""Answers what a choice asks of the machine that this process runs on."""

import torch

from asr.model.scan import processor
from asr.model.scan.choose import Case, Choice, Problem, choose
from asr.model.scan.cpu.build import notice, try_kernel
from asr.model.scan.gpu.triton import find_trouble, most_utterances, num_processors
from asr.model.scan.halves import without_halves
from asr.model.scan.step import StepForm, trace


class Here:
    """Answers for this machine, as an `asr.model.scan.choose.Machine`."""

    def name(self) -> str:
        return processor.name()

    def lacks_halves(self) -> str:
        return "" if processor.has_halves() else without_halves()

    def lacks_kernel(self, form: StepForm, kind: torch.dtype, *, zoneout: bool) -> Problem | None:
        return try_kernel(trace(form, zoneout=zoneout), kind).problem

    def lacks_triton(self, device: torch.device) -> str:
        return find_trouble(device)

    def most_utterances(self, units: int, directions: int, device: torch.device) -> int:
        return most_utterances(units, directions, num_processors(device))


HERE = Here()


def choose_here(case: Case) -> Choice:
    """Returns what runs a layer on this machine; what is missing for something faster is said once."""
    choice = choose(case, HERE)
    if choice.notice:
        notice(choice.notice)
    return choice
