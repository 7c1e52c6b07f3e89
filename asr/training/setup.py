"""Sets up what the training loop works with: fresh, from a checkpoint, or from another run's weights."""

import contextlib
import copy
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr.config.language_model import LanguageModelConfig, load_experiment
from asr.config.recognizer import Config
from asr.data.workers import DataWorkers
from asr.files.packaged import locate
from asr.files.tensors import read_tensors
from asr.model.layers.chosen import sum_up
from asr.model.layers.uncompiled import leave_alone
from asr.model.scan import processor
from asr.optim import ExponentialAverage
from asr.process.distributed import Processes
from asr.recognition.precision import autocast
from asr.runs.checkpoint import Checkpoint
from asr.runs.folder import RAISED_KEY, RunFolder
from asr.text import load_tokenizer
from asr.tracking.trackers import Tracker, TrackerGroup, open_tracker
from asr.training.experiment import Experiment
from asr.training.interruption import Interruption
from asr.training.progress import Learner, Progress
from asr.training.task import Task
from asr.training.transfer import Transfer, renumber_heads, transfer_weights


@dataclass
class Training:
    task: Task
    config: Config | LanguageModelConfig
    processes: Processes
    run: RunFolder
    learner: Learner
    stepper: nn.Module  # the model, compiled or distributed where asked for
    scoring_model: nn.Module  # what dev is scored with: the model, or a copy that holds the averaged weights
    tracker: Tracker
    progress: Progress
    transfer: Transfer | None  # what was taken from another run
    interruption: Interruption  # what asks it to stop
    is_whole: bool = True  # whether what learns is as a step left it, not amid an update
    saved_at: tuple[int, int, int] | None = None  # step, epoch and position of the newest checkpoint of this process

    @property
    def experiment(self) -> Experiment:
        return self.task.experiment

    @property
    def workers(self) -> DataWorkers:
        return self.interruption.workers

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Encloses a change of what learns, or of the files beside it, that is to be seen as a whole or not at all."""
        self.is_whole = False
        yield
        self.is_whole = True

    def autocast(self) -> torch.autocast:
        return autocast(self.config.train.precision, self.processes.device)

    def syncing_gradients(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients in the last backward pass of a step only."""
        if isinstance(self.stepper, DistributedDataParallel) and not is_last:
            return self.stepper.no_sync()
        return contextlib.nullcontext()

    def asked_to_stop(self) -> bool:
        """Returns whether any process got a signal; all of them then stop after the same step."""
        (asked,) = self.processes.sum([float(self.interruption.signal is not None)])
        if asked and self.interruption.signal is None:
            self.interruption.signal = signal.SIGTERM
        return bool(asked)


def start_training(task: Task, run: RunFolder, processes: Processes, *, checkpoint: Checkpoint | None) -> Training:
    """Returns everything on its device, with the weights and moments of the checkpoint where there is one."""
    experiment = task.experiment
    config, model = experiment.config, experiment.model
    transfer = None
    if config.init_from and checkpoint is None:
        transfer = _take_weights(experiment, RunFolder(locate(config.init_from)))
    model.to(processes.device).train()
    learner = Learner(
        model=model,
        optimizer=config.optim.build(model),
        scaler=torch.amp.GradScaler(
            processes.device.type, init_scale=2.0**12, enabled=config.train.precision == "fp16"
        ),
        average=ExponentialAverage(model, config.train.ema_decay) if config.train.ema_decay else None,
    )
    progress = learner.restore(checkpoint) if checkpoint else Progress()
    stepper: nn.Module = _compile(model) if config.train.compile else model
    if processes.world_size > 1:
        stepper = DistributedDataParallel(stepper)
    return Training(
        task=task,
        config=config,
        processes=processes,
        run=run,
        learner=learner,
        stepper=stepper,
        scoring_model=copy.deepcopy(model) if learner.average else model,
        tracker=open_tracker(
            config.tracking, run.path, config.to_dict(), progress.step, total_steps=_num_steps(experiment, progress)
        )
        if processes.is_first
        else TrackerGroup([]),
        progress=progress,
        transfer=transfer,
        interruption=Interruption(DataWorkers(), may_leave=processes.world_size == 1),
    )


def _num_steps(experiment: Experiment, progress: Progress) -> int:
    """Steps of the whole training, about: an epoch's batches are drawn anew, and may be some more or fewer."""
    train = experiment.config.train
    num_batches = len(experiment.plan.epoch(min(progress.epoch, train.max_epochs - 1)))
    total = progress.step + num_batches * (train.max_epochs - progress.epoch) - progress.position
    return min(total, train.max_steps or total)


def _compile(model: nn.Module) -> nn.Module:
    """Returns the model compiled;
    a part that cannot be compiled for lengths that vary runs as it is, with a warning.
    """
    leave_alone()
    torch._dynamo.config.suppress_errors = True  # type: ignore[attr-defined]
    # Its code of 512 bits writes beside its tensors on a processor with AMX (torch 2.11); code of 256 bits does not.
    options = {"cpp.simdlen": 256} if processor.vectors() == "AVX512" else None
    return torch.compile(model, dynamic=True, options=options)  # type: ignore[return-value]


def _take_weights(experiment: Experiment, source: RunFolder) -> Transfer:
    before, now = (tuple(head.kind for head in getattr(config, "heads", ())) for config in (
        load_experiment(source.config_path), experiment.config))  # fmt: skip
    return transfer_weights(
        experiment.model,
        renumber_heads(read_tensors(source.model_path, remedy="copy the whole run folder again"), before, now),
        pieces=experiment.tokenizer.pieces,
        pieces_before=load_tokenizer(source.tokenizer_path).pieces,
    )


def start_lines(training: Training) -> list[str]:
    """Returns what runs the layers, where the weights come from, and what was changed since a run began."""
    progress = training.progress
    with autocast(training.config.train.precision, training.processes.device):
        lines = [sum_up(training.experiment.model)]
    if training.transfer is not None:
        lines.append(f"init_from {training.config.init_from}: {training.transfer}")
    if progress.step:
        lines.append(f"resuming at step {progress.step} (epoch {progress.epoch + 1}, batch {progress.position + 1})")
    lines += [_say_raised(training, *raised) for raised in training.run.read_record().get(RAISED_KEY, [])[-1:]]
    patience = training.config.train.early_stopping_epochs
    if (
        patience is not None
        and progress.epochs_since_best >= patience
        and progress.epoch < training.config.train.max_epochs
    ):
        lines.append(
            f"it has ended: {patience} epochs without a better score; raise train.early_stopping_epochs to go on"
        )
    return lines


def _say_raised(training: Training, before: int, now: int) -> str:
    """The schedule of a run that was made longer is that of a run that was so long from the start."""
    progress, schedule = training.progress, training.config.optim.schedule
    num_batches = len(training.experiment.plan.epoch(progress.epoch))
    epochs = progress.epoch + progress.position / num_batches
    old, new = (schedule.factor(progress.step, epochs / number) for number in (before, now))
    return (
        f"train.max_epochs was raised from {before} to {now}: the learning rate goes on as that of a training of {now} "
        f"epochs, here {new:.1%} of its peak (of {before}: {old:.1%})"
    )
