"""Chooses where a training computes: on which device, as one process or as one of several."""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from asr.process.signals import signals_blocked


@dataclass(frozen=True)
class Processes:
    """This process among those of a training (`torchrun --nproc-per-node N -m asr.train ...`)."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Element-wise sums over all processes, in float64."""
        if self.world_size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, in the order of the ranks, at everybody."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Waits until all processes have come here."""
        if self.world_size > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world_size > 1:
            dist.destroy_process_group()


def set_num_threads(number: int) -> None:
    """Compute with so many threads; those beside this one are started here, and no signal is handled in them."""
    torch.set_num_threads(number)
    if number > 1:
        with signals_blocked():
            torch.zeros(1 << 20).add_(1.0)


def start_processes(device: str) -> Processes:
    """Join the group that torchrun describes in the environment, or be the only one.

    `device` is "auto", "cpu" or "cuda"; raises ValueError where CUDA is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device: 'cuda' was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    use_cuda = device != "cpu" and torch.cuda.is_available()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device("cuda", local_rank) if use_cuda else torch.device("cpu")
    if use_cuda:
        torch.cuda.set_device(chosen)
    if world_size > 1:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    return Processes(rank=int(os.environ.get("RANK", "0")), world_size=world_size, device=chosen)
