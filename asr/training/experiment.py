"""A configuration made concrete: data, tokenizer, model and batches, the same in a training and its dry run."""

import contextlib
import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr.config.language_model import AnyConfig, LanguageModelConfig
from asr.config.recognizer import Config, TrainingConfig
from asr.data.batches import BatchPlan
from asr.data.dataset import Dataset, SourceConfig
from asr.data.examples import Examples
from asr.data.features import unnormalized
from asr.data.listed_twice import find_contradicted, say_contradiction
from asr.data.statistics import FeatureStatistics
from asr.files.digest import file_digest
from asr.files.packaged import locate
from asr.language_models.recurrent import RecurrentLanguageModel
from asr.model.acoustic import Model
from asr.process.distributed import Processes
from asr.runs.checkpoint import write_text
from asr.runs.folder import STATISTICS_KEY, RunFolder
from asr.text import Tokenizer, load_tokenizer

NUM_STATISTICS_UTTERANCES = 2000  # spread evenly over the training data; more change mean and deviation by < 1 %


class DataError(ValueError):
    """Data that a training cannot start on."""


@dataclass(frozen=True)
class DroppedUtterance:
    """An utterance left out of training."""

    id: str
    reason: str


@dataclass(frozen=True)
class Experiment(ABC):
    """Holds what is trained, on what, as far as the loop must know: a recogniser's, or a language model's."""

    config: Config | LanguageModelConfig
    tokenizer: Tokenizer
    train: Examples
    dev: Examples
    model: Model | RecurrentLanguageModel
    plan: BatchPlan
    dropped: list[DroppedUtterance]

    @property
    @abstractmethod
    def losses(self) -> list[tuple[str, float]]:
        """Returns the name and the weight of each loss that the model gives, in its order."""


@dataclass(frozen=True)
class RecognizerExperiment(Experiment):
    config: Config
    train: Dataset
    dev: Dataset
    model: Model
    statistics: FeatureStatistics | None

    @property
    def losses(self) -> list[tuple[str, float]]:
        return [(head.kind, head.weight) for head in self.config.heads]


def check_prepared(config: AnyConfig) -> None:
    """Raise DataError with the command that prepares the data, when a file or a folder of it is not there."""
    named = [(f"data.train.{number}", source) for number, source in enumerate(config.data.train)]
    for key, source in [*named, ("data.dev", config.data.dev)]:
        for name, path in source.files().items():
            if not path.exists():
                remedy = f"prepare it with\n  {config.data.prepare}" if config.data.prepare else "prepare it first"
                raise DataError(f"{key}.{name}: {path}: no such file; {remedy}")


def check_source(config: TrainingConfig) -> None:
    """Raise DataError where the run whose weights are to be taken is not there, unless they were taken already."""
    source, is_new = config.init_from, not RunFolder(Path(config.run_dir)).checkpoints_path.exists()
    if source and is_new and not RunFolder(locate(source)).model_path.exists():
        raise DataError(f"init_from: {source}: no trained run; train it first, or start from nothing (init_from=null)")


def data_digests(config: AnyConfig) -> dict[str, str]:
    """SHA-256 of every manifest or text, by its key; what a resumed run must find unchanged."""
    sources = {f"data.train.{number}": source for number, source in enumerate(config.data.train)}
    return {key: source.digest() for key, source in {**sources, "data.dev": config.data.dev}.items()}


def train_tokenizer(config: AnyConfig) -> Tokenizer:
    """Returns the tokenizer of the training transcripts."""
    assert config.tokenizer is not None
    return config.tokenizer.train(text for source in config.data.train for text in source.texts())


def prepare_tokenizer(config: AnyConfig, run: RunFolder, processes: Processes) -> Tokenizer:
    """Returns the run's tokenizer: made once by the first process, read by all, checked on resume."""
    if processes.is_first and not (run.tokenizer_path.exists() and "tokenizer" in run.read_record()):
        train_tokenizer(config).save(run.tokenizer_path)
        run.write_record({"tokenizer": load_tokenizer(run.tokenizer_path).digest})
    processes.wait()
    tokenizer, record = load_tokenizer(run.tokenizer_path), run.read_record()
    _check_unchanged("the tokenizer is", run.tokenizer_path, tokenizer.digest, record["tokenizer"])
    return tokenizer


def prepare_statistics(
    config: Config, tokenizer: Tokenizer, run: RunFolder, processes: Processes
) -> FeatureStatistics | None:
    """Returns the run's feature statistics, where its normalisation needs them: made, read and checked as its
    tokenizer.
    """
    if config.features.normalization != "global":
        return None
    if processes.is_first and not (run.statistics_path.exists() and STATISTICS_KEY in run.read_record()):
        measure_statistics(config, tokenizer).save(run.statistics_path)
        run.write_record({STATISTICS_KEY: file_digest(run.statistics_path)})
    processes.wait()
    digest, record = file_digest(run.statistics_path), run.read_record()
    _check_unchanged("the feature statistics are", run.statistics_path, digest, record[STATISTICS_KEY])
    return FeatureStatistics.load(run.statistics_path)


def open_experiment(config: Config, run: RunFolder, processes: Processes) -> RecognizerExperiment:
    """Returns everything a training needs, with the run's tokenizer and statistics."""
    tokenizer = prepare_tokenizer(config, run, processes)
    return build_experiment(config, tokenizer, prepare_statistics(config, tokenizer, run, processes))


def try_experiment(config: Config) -> RecognizerExperiment:
    """Returns the same without a run folder, for a dry run."""
    tokenizer = train_tokenizer(config)
    statistics = measure_statistics(config, tokenizer) if config.features.normalization == "global" else None
    return build_experiment(config, tokenizer, statistics)


def _check_unchanged(what: str, path: Path, found: str, recorded: str) -> None:
    if found != recorded:
        raise DataError(
            f"{path}: {what} another than this run began with (digest {found[:12]}, run.json says {recorded[:12]}); "
            "put the old one back, or start a new run"
        )


def build_experiment(
    config: Config, tokenizer: Tokenizer, statistics: FeatureStatistics | None
) -> RecognizerExperiment:
    """Returns everything a training needs; raises DataError where too little is left to train on."""

    def dataset(sources: tuple[SourceConfig, ...], *, is_training: bool) -> Dataset:
        return Dataset(
            sources,
            features=config.features,
            tokenizer=tokenizer,
            statistics=statistics,
            augment=config.augment if is_training else (),
            seed=config.seed,
        )

    train = dataset(config.data.train, is_training=True)
    dev = dataset((config.data.dev,), is_training=False)
    with seeded(config.seed):
        model = config.build_model(tokenizer.vocabulary_size)
    min_frames, dropped = find_unfit(train, model, max_duration=config.data.max_duration)
    usable = np.flatnonzero(min_frames >= 0)
    if not len(usable):
        raise DataError(
            f"data.train: none of the {len(train)} utterances can be trained on; the first: {dropped[0].id}: "
            f"{dropped[0].reason}"
        )
    plan = BatchPlan(
        train.sizes,
        limit=config.data.batch_seconds,
        seed=config.seed,
        weights=train.weights,
        usable=usable,
    )
    return RecognizerExperiment(
        config=config,
        tokenizer=tokenizer,
        statistics=statistics,
        train=train.holding(min_frames, num_views=model.num_views),
        dev=dev,
        model=model,
        plan=plan,
        dropped=dropped,
    )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's own generator set to a seed inside the block, as its layers' initialisation and dropout need."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def measure_statistics(config: Config, tokenizer: Tokenizer) -> FeatureStatistics:
    """Mean and deviation of the un-normalised features of utterances spread evenly over the training data."""
    dataset = Dataset(config.data.train, features=config.features, tokenizer=tokenizer, seed=config.seed)
    number = min(len(dataset), NUM_STATISTICS_UTTERANCES)
    chosen = np.linspace(0, len(dataset) - 1, number).round().astype(int)
    return FeatureStatistics.from_features(
        unnormalized(dataset.log_mels(int(index)), config=config.features) for index in chosen
    )


def find_unfit(dataset: Dataset, model: Model, *, max_duration: float) -> tuple[np.ndarray, list[DroppedUtterance]]:
    """Returns for each utterance the fewest log-mel frames its tokens fit in, -1 where it is left out; and those, with
    why.

    CTC gives an utterance whose tokens do not fit its encodings a probability of zero: an infinite loss. Such
    utterances are found here and named, not silently zeroed in the loss. An attention decoder needs one encoding.
    """
    needed = np.zeros(len(dataset), np.int64)
    dropped = []
    contradicted = find_contradicted(dataset.stretch_keys(), dataset.utterance)
    enough = _frames_for_encodings(model)
    for index, (text, duration) in enumerate(zip(dataset.texts(), dataset.durations.tolist(), strict=True)):
        tokens = dataset.tokenizer.encode(text)
        frames = dataset.num_frames(index)
        needed[index] = enough(max(1, *(head.frames_needed(tokens) for head in model.heads)))
        reason = None
        if index in contradicted:
            reason = say_contradiction(contradicted[index])
        elif not tokens and not dataset.is_without_speech(index):
            reason = "the transcript is empty"
        elif tokens and dataset.is_without_speech(index):
            reason = f"its source is without_speech, but its transcript is {text!r}"
        elif duration > max_duration:
            reason = f"{duration:.1f} s is longer than data.max_duration ({max_duration:g} s)"
        elif frames < needed[index]:
            reason = f"its {len(tokens)} tokens need {needed[index]} frames of log-mel; it has {frames}"
        if reason is not None:
            needed[index] = -1
            dropped.append(DroppedUtterance(dataset.utterance(index).id, reason))
    return needed, dropped


def _frames_for_encodings(model: Model) -> Callable[[int], int]:
    """Returns the fewest frames of log-mel that give so many encodings, by search over the encoder's own arithmetic."""
    table = np.zeros(1, np.int64)  # the encodings that 0, 1, 2 ... frames give

    @functools.cache
    def fewest_frames(num_encodings: int) -> int:
        nonlocal table
        while table[-1] < num_encodings:
            table = model.encoder.output_lengths(torch.arange(64 + 2 * len(table))).numpy()  # type: ignore[operator]
        return int(np.searchsorted(table, num_encodings))

    return fewest_frames


def write_dropped(run: RunFolder, dropped: list[DroppedUtterance]) -> None:
    """RUN/dropped.jsonl: every utterance left out, with its reason."""
    lines = [json.dumps({"id": item.id, "reason": item.reason}, ensure_ascii=False) for item in dropped]
    write_text(run.path / "dropped.jsonl", "".join(f"{line}\n" for line in lines))
