"""Opens the steps of a training, and says what to mend where none comes or one does not fit into the memory."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from asr.data.batches import StepBatches, StepDataset, StepOrder
from asr.data.workers import Loader, WorkerDied, open_loader
from asr.training.memory import is_out_of_memory
from asr.training.setup import Training

Arriving = TypeVar("Arriving")  # the batches of a step, or one of dev


class TrainingError(ValueError):
    """A training that cannot go on."""


def open_steps(training: Training) -> Loader[StepBatches]:
    """Returns the steps that are left of the training, as far as this process computes them."""
    config, progress, plan = training.config, training.progress, training.experiment.plan
    steps = StepDataset(
        training.experiment.train,
        plan,
        accumulation=config.train.accumulation,
        rank=training.processes.rank,
        world_size=training.processes.world_size,
    )
    order = StepOrder(plan, epoch=progress.epoch, position=progress.position, num_epochs=config.train.max_epochs)
    return open_loader(steps, order, num_workers=config.data.num_workers)


def arriving(training: Training, batches: Iterator[Arriving]) -> Iterator[Arriving]:
    """Yields what a loader gives; raises TrainingError with what to mend where it cannot."""
    while True:
        try:
            with training.interruption.giving_up():
                batch = next(batches, None)
        except WorkerDied as error:
            raise TrainingError(say_dead_worker(training, str(error))) from error
        except (ValueError, OSError, MemoryError) as error:
            # A worker's error comes with its traceback in front; the last line is the error.
            raise TrainingError(
                f"{str(error).strip().splitlines()[-1]}\nThe training stopped at step {training.progress.step}; mend "
                "the recording, or prepare the corpus again without it"
            ) from error
        if batch is None:
            return
        yield batch


def say_dead_worker(training: Training, found: str | None) -> str:
    return (
        f"{found}; expected it to read until the end. The training stopped at step {training.progress.step}, and what "
        "was learnt is saved. SIGKILL is most often for want of memory: make room, or set data.num_workers=0; then "
        "rerun to go on"
    )


@contextlib.contextmanager
def naming_lack_of_memory(training: Training, step: StepBatches) -> Iterator[None]:
    """Says what to change. A later step can need more than the one tried at the start did, or others may have taken the
    memory meanwhile.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        training.learner.optimizer.zero_grad(set_to_none=True)
        largest = max(step.batches, key=lambda batch: batch.inputs[0].numel())
        length = f"{largest.inputs[0].shape[1]} {'frames' if largest.features.numel() else 'tokens'}"
        raise TrainingError(
            f"step {training.progress.step + 1}: {len(largest.ids)} utterances x {length} do not fit "
            f"into the memory of {training.processes.device} ({', '.join(largest.ids[:5])}, ...). What was "
            f"learnt until step {training.progress.step} is saved; rerun with a higher train.accumulation (it is "
            f"{training.config.train.accumulation}) to go on ({str(error).splitlines()[0]})"
        ) from error
