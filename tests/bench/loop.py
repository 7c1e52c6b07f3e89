"""Training steps a second of the program over those of the same model and optimizer on batches already in memory.

    python -m tests.bench.loop conf/speechocean762_bilstm_ctc.yaml [key=value ...]

1.00 means that reading, features, augmentation, checks, logging and checkpoints cost nothing beside forward pass,
backward pass, clipping and update. The scoring of dev is left out. Both take turns, some steps at a time, so that what
else the machine does tells on both; before each turn of the program its loader's head start is used up.
"""

import argparse
import resource
import signal
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

import asr.training.loop
from asr.config.recognizer import load_config
from asr.data.batches import StepBatches
from asr.data.workers import PREFETCHED
from asr.process.distributed import start_processes
from asr.recognition.precision import settle_precision
from asr.runs.folder import RunFolder
from asr.training.experiment import data_digests
from asr.training.loop import compute_step, run_epochs
from asr.training.setup import Training, start_training
from asr.training.task import open_task


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=6, help="in a turn")
    parser.add_argument("--turns", type=int, default=10, help="of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            *options.overrides,
            f"run_dir={folder}/run",
            "train.device=cpu",
            "train.evaluate_every_epochs=10000",
        ]
        training = start(load_config(options.config, overrides))
        turns = Turns(num_steps=options.steps, num_turns=options.turns)
        asr.training.loop.compute_step = turns.after_compute_step
        run_epochs(training)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the loader's processes have ended
        milliseconds = 1000 * (used.ru_utime + used.ru_stime) / training.progress.step
        print(f"the loader's processes took {milliseconds:.1f} ms of processor time a step", flush=True)
        training.tracker.finish(0)


def start(config) -> Training:
    torch.set_num_threads(1)
    processes = start_processes("cpu")
    config, _ = settle_precision(config, processes)
    run = RunFolder(Path(config.run_dir))
    run.claim(config, data_digests(config))
    return start_training(open_task(config, run, processes), run, processes, checkpoint=None)


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


@dataclass
class Turns:
    """Goes between the loop and its steps, and lets the bare model have every second turn."""

    num_steps: int
    num_turns: int
    kept: list[StepBatches] = field(default_factory=list)
    to_skip: int = 6  # the first steps of all warm up
    started: Clock | None = None
    ratios: list[Clock] = field(default_factory=list)  # the program's steps a second over the bare model's

    def after_compute_step(self, training: Training, step: StepBatches) -> None:
        """Ends a turn at this point of the loop, so that a turn holds all of it as often as it holds steps."""
        compute_step(training, step)
        if self.to_skip:
            self.to_skip -= 1
            self.started = Clock.now()
            return
        self.kept.append(step)
        if len(self.kept) == self.num_steps:
            assert self.started is not None
            self._take_other_turn(training, Clock.now().since(self.started))
            self.kept, self.to_skip = [], PREFETCHED * training.config.data.num_workers + 1
            if len(self.ratios) == self.num_turns:
                training.interruption.signal = signal.SIGTERM

    def _take_other_turn(self, training: Training, program: Clock) -> None:
        started = Clock.now()
        for step in self.kept:
            bare_step(training, step)
        bare = Clock.now().since(started)
        self.ratios.append(Clock(bare.wall / program.wall, bare.processor / program.processor))
        wall, processor = (
            [getattr(ratio, name) for ratio in self.ratios] for name in ("wall", "processor")
        )  # fmt: skip
        print(
            f"{self.num_steps / program.wall:.2f} steps a second in the program, {self.num_steps / bare.wall:.2f} "
            f"from memory; so far the median ratio is {statistics.median(wall):.3f}, by this thread's processor time "
            f"{statistics.median(processor):.3f}",
            flush=True,
        )


def bare_step(training: Training, step: StepBatches) -> None:
    """Forward, backward, clip, update."""
    learner = training.learner
    learner.optimizer.zero_grad(set_to_none=True)
    for batch in step.batches:
        with training.autocast():
            losses = training.stepper(*batch.inputs)
        (losses.sum() / step.num_tokens).backward()
    torch.nn.utils.clip_grad_norm_(learner.model.parameters(), training.config.optim.clip_norm)
    learner.optimizer.step()


if __name__ == "__main__":
    main()
