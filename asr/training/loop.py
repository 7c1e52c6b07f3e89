"""The training loop. Reading order: `train`, `run_to_end`, `run_epochs`, `compute_step`, `finish_epoch`, `finish`."""

import contextlib
import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from asr.config.language_model import LanguageModelConfig
from asr.config.recognizer import Config
from asr.data.batches import Batch, DevDataset, StepBatches
from asr.data.dataset import mix_seed
from asr.data.workers import open_loader
from asr.files.tensors import read_tensors
from asr.optim import average_weights, set_learning_rate
from asr.process.distributed import Processes, set_num_threads
from asr.process.runtime import EXIT_OK, STOPPED_BY_SIGNAL
from asr.recognition.precision import name_device, settle_precision
from asr.runs.checkpoint import CheckpointError, load_newest_checkpoint, write_tensors
from asr.runs.folder import RunFolder
from asr.tracking.trackers import finishing_after_failure
from asr.training.experiment import data_digests, write_dropped
from asr.training.interruption import Interrupted
from asr.training.progress import Stopwatch, drop_weights_of_other_epochs, rank
from asr.training.setup import Training, start_lines, start_training
from asr.training.steps import TrainingError, arriving, naming_lack_of_memory, open_steps, say_dead_worker
from asr.training.task import Score, open_task


def train(config: Config | LanguageModelConfig, processes: Processes) -> int:
    """Train from the start or from the newest checkpoint, to the end or until a signal; give the exit code."""
    set_num_threads(config.train.num_threads)
    run = RunFolder(Path(config.run_dir))
    config, precision_line = settle_precision(config, processes)
    with run.claim(config, data_digests(config)) if processes.is_first else contextlib.nullcontext():
        task = open_task(config, run, processes)
        checkpoint, notes = load_newest_checkpoint(run.checkpoints_path) if processes.is_first else (None, [])
        training = start_training(task, run, processes, checkpoint=processes.gather(checkpoint)[0])
        if processes.is_first:
            write_dropped(run, task.experiment.dropped)
            record_precision(training)
            described = (*task.describe(processes), *start_lines(training))
            print(*notes, precision_line, *described, sep="\n", flush=True)
        with training.interruption.answering(), finishing_after_failure(training.tracker):
            code = run_to_end(training)
            training.tracker.finish(code)
            if training.interruption.signal is not None and processes.is_first:
                asked, step = training.interruption.signal, training.progress.step
                print(f"stopped by signal {asked} at step {step}; rerun to go on", flush=True)
        return code


def record_precision(training: Training) -> None:
    """RUN/run.json says in which precision the run computes, and on what kinds of processors it did."""
    before = training.run.read_record().get("computed_on", [])
    now = name_device(training.processes.device)
    kinds = before if now in before else [*before, now]
    training.run.write_record({"precision": training.config.train.precision, "computed_on": kinds})


def run_to_end(training: Training) -> int:
    """Train, and finish; whatever ends it before, all that was learnt is saved first. Gives the exit code."""
    interruption = training.interruption
    try:
        run_epochs(training)
        if interruption.signal is None:
            return finish(training)
    except (CheckpointError, KeyboardInterrupt):
        raise  # it cannot be saved, or nobody wants to wait for it
    except Interrupted:
        save_alone(training)
        if interruption.signal is None:
            raise TrainingError(say_dead_worker(training, interruption.dead_worker)) from None
    except BaseException:
        save_alone(training)
        raise
    assert interruption.signal is not None
    return STOPPED_BY_SIGNAL + interruption.signal


def run_epochs(training: Training) -> None:
    """Makes one optimizer step after the other; after each epoch it scores dev, and in between it saves checkpoints."""
    config, progress = training.config.train, training.progress
    if progress.position and is_end_of_epoch(training):  # it was stopped before the epoch was scored
        finish_epoch(training)
        save(training)
    if is_over(training):
        return
    watch = Stopwatch()
    with training.workers.reading(open_steps(training)) as batches:
        for step in watch.waiting(arriving(training, batches)):
            compute_step(training, step)
            watch.audio_seconds += sum(batch.audio_seconds for batch in step.batches) * training.processes.world_size
            progress.step += 1
            progress.position += 1
            if progress.step % config.log_every_steps == 0:
                log_interval(training, watch)
            if is_end_of_epoch(training):
                finish_epoch(training)
                save(training)
                watch.restart()
                if is_over(training):
                    return
            elif progress.step % config.checkpoint_every_steps == 0:
                save(training)
            if training.asked_to_stop():
                save(training)
                return


def compute_step(training: Training, step: StepBatches) -> None:
    """Forward, backward, clip, update: the gradient of the mean loss of a token over all processes.

    A step whose loss or gradient is not finite changes nothing; its utterances are named, and so many in a row
    stop the training.
    """
    config, progress, learner = training.config, training.progress, training.learner
    num_batches = len(training.experiment.plan.epoch(step.epoch))
    share = (step.epoch + step.position / num_batches) / config.train.max_epochs
    factor = config.optim.schedule.factor(progress.step, share)
    set_learning_rate(learner.optimizer, config.optim.learning_rate * factor)
    # Dropout draws from torch's own generator; seeding it for each step makes a resumed step the same step.
    torch.manual_seed(mix_seed(config.seed, progress.step, training.processes.rank))

    with training.interruption.giving_up(), naming_lack_of_memory(training, step):
        losses, norm = compute_gradients(training, step)
        totals = torch.cat(losses, dim=1).sum(dim=1)  # of each head
        totals = training.processes.sum([0.0] * len(totals) if step.is_idle else totals.tolist())
        is_finite = bool(norm.isfinite()) and all(abs(total) < float("inf") for total in totals)
    with training.updating():
        if is_finite:
            learner.scaler.step(learner.optimizer)
            if learner.average is not None:
                learner.average.update(learner.model, progress.step)
            progress.count_step(losses=totals, num_tokens=step.num_tokens, norm=float(norm))
        else:
            _skip_step(training, step, losses)
        learner.scaler.update()


def compute_gradients(training: Training, step: StepBatches) -> tuple[list[Tensor], Tensor]:
    """Put a step's gradients, clipped, into the model's parameters; give each batch's losses and the norm before."""
    learner = training.learner
    learner.optimizer.zero_grad(set_to_none=True)
    scale = 0.0 if step.is_idle else training.processes.world_size / step.num_tokens  # the group takes the mean
    losses = []
    for number, batch in enumerate(step.batches):
        with training.syncing_gradients(number == len(step.batches) - 1):
            batch_losses = _losses(training, batch)
            learner.scaler.scale(batch_losses.sum() * scale).backward()
        losses.append(batch_losses.detach().double())
    learner.scaler.unscale_(learner.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), training.config.optim.clip_norm)
    return losses, norm.double()


def _losses(training: Training, batch: Batch) -> Float[Tensor, "head batch"]:
    with training.autocast():
        return training.stepper(*batch.to(training.processes.device).inputs)


def _skip_step(training: Training, step: StepBatches, losses: list[Tensor]) -> None:
    """Name the utterances of a step without a finite gradient; raise after too many in a row."""
    ids = [identity for batch in step.batches for identity in batch.ids]
    finite = [flag for part in losses for flag in part.isfinite().all(dim=0).tolist()]
    guilty = [identity for identity, is_finite in zip(ids, finite, strict=True) if not is_finite]
    everybodys = [part for part in training.processes.gather(guilty) if part] or training.processes.gather(ids)
    named = sorted({identity for part in everybodys for identity in part})
    training.progress.bad_steps += 1
    shown = ", ".join(named[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")
    message = f"step {training.progress.step}: the loss or its gradient is not finite; utterances: {shown}"
    if training.progress.bad_steps >= training.config.train.max_bad_steps:
        raise TrainingError(
            f"{message}; {training.progress.bad_steps} steps in a row, so the training stops. The last checkpoint is "
            "whole. Look at these utterances, or train with another run_dir and a lower optim.learning_rate or "
            "train.precision=fp32"
        )
    if training.processes.is_first:
        print(f"{message}; the step is skipped", file=sys.stderr, flush=True)


def log_interval(training: Training, watch: Stopwatch) -> None:
    """Writes one line of the log: means since the last one."""
    means = training.progress.take_interval(training.experiment.losses)
    if training.processes.is_first:
        rate = training.learner.optimizer.param_groups[0]["lr"]
        where = {"train/epoch": training.progress.epoch, "train/learning_rate": rate}
        training.tracker.log({**where, **means, **watch.speed()}, step=training.progress.step)
    watch.restart()


def finish_epoch(training: Training) -> None:
    """Turn to the next epoch; where this one is scored, keep its weights if they are among the best."""
    config, progress = training.config.train, training.progress
    epoch = progress.epoch
    is_last = epoch + 1 == config.max_epochs or progress.step == config.max_steps
    if (epoch + 1) % config.evaluate_every_epochs and not is_last:
        progress.epoch, progress.position = epoch + 1, 0
        return
    with training.interruption.giving_up():
        score = score_dev(training)
        is_first = training.processes.is_first
        rows = training.task.shown(training.scoring_model, score) if is_first else []
    with training.updating():
        progress.epoch, progress.position = epoch + 1, 0
        progress.scores.append({"epoch": epoch, **score.figures})
        if is_first:
            _keep_if_among_best(training, epoch)
            first = next(iter(score.figures))
            best = {f"dev/best_{first}": progress.best_scores(1)[0][first]}
            training.tracker.log({"train/epoch": progress.epoch, **score.logged(), **best}, step=progress.step)
            for remark in score.remarks(progress.epoch):
                print(remark, file=sys.stderr, flush=True)
            training.tracker.log_utterances(rows, step=progress.step)


def _keep_if_among_best(training: Training, epoch: int) -> None:
    run, best = training.run, training.progress.best_scores(training.config.train.average_best)
    if any(kept["epoch"] == epoch for kept in best):
        weights = training.scoring_model.state_dict()
        run.best_path(epoch).parent.mkdir(exist_ok=True)
        write_tensors(run.best_path(epoch), weights)
        drop_weights_of_other_epochs(run, [kept["epoch"] for kept in best])
        if best[0]["epoch"] == epoch:
            run.write_model(weights)


def score_dev(training: Training) -> Score:
    """Returns the dev score of the weights as they are now, or of their moving average."""
    processes = training.processes
    if training.learner.average is not None:
        training.scoring_model.load_state_dict(training.learner.average.weights)
    share = DevDataset(
        training.experiment.dev,
        limit=training.experiment.plan.limit,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    loader = open_loader(share, num_workers=min(training.config.data.num_workers, len(share)))
    with training.workers.reading(loader) as read, training.autocast():
        batches = arriving(training, read)
        return training.task.score(training.scoring_model, batches, processes)


def _best_weights(run: RunFolder, epoch: int) -> dict[str, Tensor]:
    return read_tensors(run.best_path(epoch), remedy="train on from an earlier checkpoint, or train again")


def finish(training: Training) -> int:
    """Average the weights of the best epochs, keep that where dev agrees, write the model card; the exit code."""
    progress, run = training.progress, training.run
    training.is_whole = False  # from here on the weights are others than the last step's, which are saved
    best = progress.best_scores(training.config.train.average_best)
    averaged = average_weights(_best_weights(run, score["epoch"]) for score in best)
    if training.learner.average is not None:
        training.learner.average.weights = averaged
    training.scoring_model.load_state_dict(averaged)
    with training.interruption.giving_up():
        score = score_dev(training)
    figures, chosen = score.figures, f"the mean of the {len(best)} best epochs"
    if rank(figures) > rank(best[0]):
        averaged = _best_weights(run, best[0]["epoch"])
        figures, chosen = best[0], f"those of epoch {best[0]['epoch'] + 1}"
    if training.processes.is_first:
        run.write_model(averaged)
        run.write_record({"steps": progress.step, "dev": figures, "weights": chosen})
        training.task.write_card(run, figures=figures, weights=chosen)
        final = {f"final/dev_{name}": figures[name] for name in score.figures if name != "loss"}
        training.tracker.log(final, step=progress.step)
        print(f"done: {progress.step} steps; {training.task.say(figures)} with {chosen}")
        print(f"the run is in {run.path}", flush=True)
    return EXIT_OK


def is_over(training: Training) -> bool:
    config, progress = training.config.train, training.progress
    patience = config.early_stopping_epochs
    return (
        progress.epoch >= config.max_epochs
        or (config.max_steps is not None and progress.step >= config.max_steps)
        or (patience is not None and progress.epochs_since_best >= patience)
    )


def is_end_of_epoch(training: Training) -> bool:
    """Returns whether all steps of the epoch are done, or all that train.max_steps allows."""
    progress = training.progress
    num_steps = len(training.experiment.plan.epoch(progress.epoch))
    return progress.position == num_steps or progress.step == training.config.train.max_steps


def save(training: Training) -> None:
    """Saves a checkpoint of everything that learns; the first process writes, the others wait for it."""
    save_alone(training)
    training.processes.wait()


def save_alone(training: Training) -> None:
    """Does the same by the first process without the others, unless it is there, or what learns is amid an update."""
    progress = training.progress
    place = progress.step, progress.epoch, progress.position
    if training.processes.is_first and training.is_whole and progress.step and training.saved_at != place:
        training.learner.save(training.run, progress)
        training.saved_at = place
