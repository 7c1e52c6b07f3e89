"""A range test of the learning rate (Smith 2015, arXiv:1506.01186, section 3.3): the rate rises from step to step, and
the loss shows where it begins to learn and where it breaks.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from markupsafe import Markup

from asr.config.recognizer import Config
from asr.data.batches import StepBatches
from asr.data.dataset import mix_seed
from asr.files.replacing import replacing
from asr.optim import set_learning_rate
from asr.pages.plots import PlotError
from asr.pages.render import render
from asr.process.distributed import Processes, set_num_threads, start_processes
from asr.recognition.precision import settle_precision
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.training.loop import compute_gradients
from asr.training.setup import Training, start_training
from asr.training.steps import open_steps
from asr.training.task import rehearse_task
from asr.tuning.plots import draw_learning_rates
from asr.tuning.storage import TuneError

LOWEST, HIGHEST = 1e-5, 1.0
NUM_STEPS = 100
SMOOTHING = 0.8  # of the loss from step to step
BROKEN = 4.0  # times the smallest loss so far: it has diverged
STILL_WHOLE = 0.1  # of the whole fall of the loss, by which it may be above the smallest
BELOW_THE_BREAK = 10.0  # the custom
FEWEST_STEPS = 10


@dataclass(frozen=True)
class RangeTest:
    """Holds what a range test found."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of a token, smoothed
    suggested: float


def run_range_test(config: Config, folder: Path) -> RangeTest:
    """Trains with rising rates, writes learning_rates.html and .json into the folder, and changes nothing else."""
    processes = start_processes(config.train.device)
    try:
        result = suggest_rate(list(_losses(config, processes)))
    finally:
        processes.close()
    write_text(folder / "learning_rates.json", json.dumps(asdict(result), indent=1) + "\n")
    _write_page(folder / "learning_rates.html", result)
    return result


def _losses(config: Config, processes: Processes) -> Iterator[tuple[float, float]]:
    """Yields each step's learning rate and its loss of a token, until that is not finite."""
    config, _ = settle_precision(config, processes)
    set_num_threads(config.train.num_threads)
    # As many epochs as the steps may take, whatever the configuration has; nothing is tracked.
    train = config.train.model_copy(update={"max_epochs": NUM_STEPS, "max_steps": None})
    tracking = config.tracking.model_copy(update={"trackers": ()})
    config = config.model_copy(update={"train": train, "tracking": tracking})
    with tempfile.TemporaryDirectory() as scratch:
        training = start_training(rehearse_task(config), RunFolder(Path(scratch)), processes, checkpoint=None)
        yield from _rising_steps(training)


def _rising_steps(training: Training) -> Iterator[tuple[float, float]]:
    learner = training.learner
    with training.workers.reading(open_steps(training)) as batches:
        probe = next(batches)
        for number, step in zip(range(NUM_STEPS), batches):
            rate = LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1))
            set_learning_rate(learner.optimizer, rate)
            torch.manual_seed(mix_seed(training.config.seed, number, 0))
            _, norm = compute_gradients(training, step)
            learner.scaler.step(learner.optimizer)
            learner.scaler.update()
            loss = _probe(training, probe)
            if not math.isfinite(loss) or not bool(norm.isfinite()):
                return
            yield rate, loss


@torch.inference_mode()
def _probe(training: Training, step: StepBatches) -> float:
    """Returns the loss of a token in the same batches each time, without dropout: other batches differ from each other
    by more than a step changes.
    """
    training.learner.model.eval()
    with training.autocast():
        losses = [training.stepper(*batch.to(training.processes.device).inputs).sum() for batch in step.batches]
    training.learner.model.train()
    return float(sum(losses)) / step.num_tokens


def suggest_rate(measured: Sequence[tuple[float, float]]) -> RangeTest:
    """Returns the smoothed losses until they diverge, and a tenth of the highest rate before the loss rises again.

    The smallest loss itself says little: between where the fall ends and where it breaks, chance decides where that is.
    Raises TuneError where there is no fall to see.
    """
    rates: list[float] = []
    smoothed: list[float] = []
    mean = mean_log = weight = 0.0
    for rate, loss in measured:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        # A smoothed loss is of the rates before it too: it stands at their mean.
        mean_log = SMOOTHING * mean_log + (1 - SMOOTHING) * math.log(rate)
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        corrected = mean / weight
        if smoothed and corrected > BROKEN * min(smoothed):
            break
        rates.append(math.exp(mean_log / weight))
        smoothed.append(corrected)
    if len(rates) < FEWEST_STEPS:
        raise TuneError(
            f"--lr-range: found {len(rates)} steps with a finite loss; expected {FEWEST_STEPS} or more; look at the "
            "data with --dry-run of asr.train"
        )
    best = min(range(len(rates)), key=lambda place: smoothed[place])
    if best == 0:
        raise TuneError(
            f"--lr-range: found no rate from {LOWEST:g} to {rates[-1]:g} at which the loss falls; expected one; is "
            "optim.clip_norm very small?"
        )
    whole = smoothed[best] + STILL_WHOLE * (smoothed[0] - smoothed[best])
    highest = max(place for place in range(len(rates)) if smoothed[place] <= whole)
    return RangeTest(tuple(rates), tuple(smoothed), rates[highest] / BELOW_THE_BREAK)


def _write_page(path: Path, result: RangeTest) -> None:
    notes = [
        f"Suggested: optim.learning_rate={result.suggested:.2g}, a tenth of the highest rate before the loss rises.",
        "Each step has a higher rate than the one before; the loss of a token is smoothed. It says where to look, not "
        "what is best: try a third and three times as much.",
    ]
    try:
        caption = "The loss falls while the rate teaches and rises where it breaks; the line is the suggested rate."
        plots = [(caption, Markup(draw_learning_rates(result.rates, result.losses, suggested=result.suggested)))]
    except PlotError as error:
        plots = []
        notes.append(str(error))
    page = render("tuning.html.j2", title="Learning rates", notes=notes, plots=plots)
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")
