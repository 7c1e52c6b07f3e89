"""Training steps a second of the program over those of the same model and optimizer on batches already in memory.

    python -m tests.bench.loop conf/speechocean762_bilstm_ctc.yaml [key=value ...]

1.00 means that reading, features, augmentation, logging and checks cost nothing beside the model.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from asr.config import load_config
from asr.data import StepDataset, StepOrder, open_loader
from asr.distributed import start_processes
from asr.experiment import data_digests
from asr.loop import compute_step
from asr.run import RunFolder
from asr.task import TASKS
from asr.training import Training, start_training

NUM_WARM_UP = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*options.overrides, f"run_dir={folder}/run", "tracking.trackers=[jsonl]", "train.device=cpu"]
        training = start(load_config(options.config, overrides))
        for _ in range(options.rounds):
            measure(training, options.steps)


def start(config) -> Training:
    torch.set_num_threads(1)
    processes = start_processes("cpu")
    run = RunFolder(Path(config.run_dir))
    run.claim(config, data_digests(config))
    task = TASKS[config.kind]
    return start_training(task, task.open(config, run, processes), run, processes, checkpoint=None)


@dataclass(frozen=True)
class Clock:
    """Seconds by the wall, and of this thread's processor: the second is steady on a busy machine, but sees no waiting
    for data and nothing of what the loader's processes take from this one."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> "Clock":
        return cls(time.perf_counter(), time.thread_time())

    def since(self, earlier: "Clock") -> "Clock":
        return Clock(self.wall - earlier.wall, self.processor - earlier.processor)


def measure(training: Training, num_steps: int) -> None:
    """The same steps, first through the loader, then from memory; the loader keeps its workers in both."""
    steps = StepDataset(training.experiment.train, training.experiment.plan, min_frames=training.experiment.min_frames)
    order = StepOrder(training.experiment.plan, epoch=0, position=0, num_epochs=1000)
    kept, started = [], Clock.now()
    for number, step in enumerate(open_loader(steps, order, num_workers=training.config.data.num_workers)):
        if number == NUM_WARM_UP:
            started = Clock.now()
        compute_step(training, step)
        training.progress.step += 1
        if number >= NUM_WARM_UP:
            kept.append(step)
        if len(kept) == num_steps:
            break
    program = Clock.now().since(started)
    started = Clock.now()
    for step in kept:
        compute_step(training, step)
        training.progress.step += 1
    resident = Clock.now().since(started)
    print(
        f"{num_steps / program.wall:.2f} steps a second in the program, {num_steps / resident.wall:.2f} from memory: "
        f"{resident.wall / program.wall:.3f}; by this thread's processor time "
        f"{resident.processor / program.processor:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
