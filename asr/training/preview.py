"""Says what a training is about to do before its first step; a dry run says the shapes of everything too."""

import numpy as np
import torch

from asr.data.batches import Batch, StepDataset
from asr.evaluation.reference_form import REMEDIES, Kind, find_form_faults
from asr.process.distributed import Processes
from asr.text import UNKNOWN_ID, Tokenizer
from asr.training.experiment import RecognizerExperiment
from asr.training.memory import multiply_adds, try_worst_batch, worst_batch

NUM_NAMED = 5
SAME_FORM = "prepare dev as the training data was prepared, or each of these words counts as an error"
DEV_REMEDIES: dict[Kind, str] = {
    kind: REMEDIES[kind] for kind in ("digits", "other characters")
}  # of others than an evaluation has
NUM_COUNTED = 200  # utterances, to know how many tokens a second has


def describe(experiment: RecognizerExperiment, processes: Processes) -> list[str]:
    """Returns the lines a training starts with; the worst batch is tried here, before any step is spent."""
    config, model = experiment.config, experiment.model.to(processes.device)
    batch = worst_batch(experiment, accumulation=config.train.accumulation, world_size=processes.world_size)
    memory = try_worst_batch(
        model,
        batch.to(processes.device).inputs,
        size=f"{len(batch.ids)} utterances x {int(batch.feature_lengths.max())} frames",
        limited_by="data.batch_seconds",
        precision=config.train.precision,
    )
    return [
        *_data_lines(experiment),
        f"model: {model.num_parameters:,} parameters, {_multiply_adds_a_second(experiment) / 1e6:,.0f} million "
        f"multiply-adds a second of audio; {experiment.tokenizer.vocabulary_size} tokens",
        f"{memory} on {processes.device}, {config.train.precision}",
    ]


def shapes(experiment: RecognizerExperiment, processes: Processes) -> list[str]:
    """Returns the shapes of the first batch, for a dry run."""
    steps = StepDataset(experiment.train, experiment.plan)
    return _shape_lines(experiment, steps[0, 0].batches[0].to(processes.device))


def _data_lines(experiment: RecognizerExperiment) -> list[str]:
    train, plan, dropped = experiment.train, experiment.plan, experiment.dropped
    hours, dev_hours = train.durations[plan.usable].sum() / 3600, experiment.dev.durations.sum() / 3600
    lines = [
        f"data: {len(plan.usable):,} utterances, {hours:.2f} h to train on in {len(plan.epoch(0)):,} batches of up to "
        f"{plan.limit:g} s; {len(experiment.dev):,} utterances, {dev_hours:.2f} h of dev"
    ]
    if dropped:
        lines.append(f"left out of training: {len(dropped)} utterances (all of them in dropped.jsonl)")
        lines += [f"  {item.id}: {item.reason}" for item in dropped[:NUM_NAMED]]
    keys = train.stretch_keys()[plan.usable]
    if num_shared := int(np.isin(experiment.dev.stretch_keys(), keys).sum()):
        lines.append(f"warning: {num_shared:,} utterances of dev are trained on too: its figures flatter the model")
    return lines + unwritten_lines(experiment.tokenizer, list(experiment.dev.texts()))


def unwritten_lines(tokenizer: Tokenizer, dev_texts: list[str]) -> list[str]:
    """Warns of what the dev transcripts hold and no transcript of this recogniser's can: characters, then sounds."""
    faults = find_form_faults(tokenizer, dev_texts)
    lines = [f"warning: dev has {fault.found}: {DEV_REMEDIES.get(fault.kind, SAME_FORM)}" for fault in faults]
    words = sorted({word for text in dev_texts for word in text.split()})
    strange = [
        word for word in words if set(word) <= tokenizer.written_characters and UNKNOWN_ID in tokenizer.encode(word)
    ]
    if strange:
        more = ", ..." if len(strange) > NUM_NAMED else ""
        lines.append(
            f"warning: dev has words with sounds that the training lacks ({', '.join(strange[:NUM_NAMED])}{more}): "
            "only a training with such words can write them"
        )
    return lines


def _multiply_adds_a_second(experiment: RecognizerExperiment) -> float:
    """Counts multiply-adds over ten seconds of audio, so that edges do not count."""
    config, device = experiment.config.features, next(experiment.model.parameters()).device
    num_frames = experiment.train.log_mel.num_frames(10 * config.sample_rate)
    features = torch.zeros(1, num_frames, config.num_mels, device=device)
    lengths = torch.tensor([num_frames], device=device)
    return multiply_adds(experiment.model, features, lengths, num_tokens=_tokens_in_ten_seconds(experiment)) / 10


def _tokens_in_ten_seconds(experiment: RecognizerExperiment) -> int:
    """Counts the tokens of speech as it is in the training data, by its first utterances."""
    train, indices = experiment.train, experiment.plan.usable[:NUM_COUNTED]
    number = sum(len(train.tokens(int(index))) for index in indices)
    return round(10 * number / max(1e-3, float(train.durations[indices].sum())))


def _shape_lines(experiment: RecognizerExperiment, batch: Batch) -> list[str]:
    with torch.inference_mode():
        encodings, lengths = experiment.model.encode(batch.features, batch.feature_lengths)
    shapes = {
        "features [batch, time, mel]": batch.features,
        "tokens [batch, token]": batch.tokens,
        "encodings [batch, time, encoding]": encodings,
    }
    lines = [f"  {name:55} {' x '.join(map(str, value.shape))}" for name, value in shapes.items()]
    longest = f"  {'lengths of its longest utterance, before and after':55} "
    return ["the first batch:", *lines, f"{longest}{int(batch.feature_lengths.max())} -> {int(lengths.max())}"]
