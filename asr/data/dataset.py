"""Each source is a manifest and, if its log-mels are stored, their shards; a dataset puts several under one index."""

import copy
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from asr.audio.reading import read_stretch
from asr.data.augment import MOVING, AugmentationConfig, Draws
from asr.data.examples import Example
from asr.data.features import FeatureConfig, LogMel, normalize
from asr.data.listed_twice import stretch_keys
from asr.data.manifest import Manifest, Utterance
from asr.data.shards import FeatureShards
from asr.data.statistics import FeatureStatistics
from asr.section import Section
from asr.text import Tokenizer


class SourceConfig(Section):
    """One corpus of the training mix."""

    manifest: str = Field(description="JSON lines of utterances")
    shards: str | None = Field(None, description="folder of stored log-mels of that manifest; none: read the audio")
    root: str | None = Field(
        None, description="folder that the manifest's recordings must be in, wherever links lead; none: anywhere"
    )
    weight: float = Field(1.0, gt=0.0, description="how often an epoch visits each utterance; 0.5: half of them")
    without_speech: bool = Field(False, description="noises, of which nothing is to be written; each has an empty text")

    def files(self) -> dict[str, Path]:
        """Returns what must be there, by its key."""
        return {"manifest": Path(self.manifest)} | ({"shards": Path(self.shards)} if self.shards else {})

    def digest(self) -> str:
        """SHA-256 of the manifest, in hex."""
        return open_manifest(self.manifest, self.root).digest

    def texts(self) -> Iterator[str]:
        return open_manifest(self.manifest, self.root).texts()


class DataConfig(Section):
    train: tuple[SourceConfig, ...] = Field(min_length=1, description="what an epoch is made of")
    dev: SourceConfig = Field(description="scored after each epoch; chooses the weights")
    prepare: str | None = Field(None, description="the command that makes the manifests, said when they are missing")
    batch_seconds: float = Field(120.0, gt=0.0, description="padded audio in one optimizer step, over all processes")
    num_workers: int = Field(1, ge=0, description="processes that read audio ahead of the model; 0: none")
    max_duration: float = Field(30.0, gt=0.0, description="longer utterances are left out and counted, in seconds")


def open_manifest(path: str, root: str | None = None) -> Manifest:
    """Returns a manifest, checked once in a process for as long as its file stays the same."""
    status = Path(path).stat()
    return _read_manifest(path, status.st_mtime_ns, status.st_size, root)


@functools.lru_cache(maxsize=16)
def _read_manifest(path: str, mtime_ns: int, size: int, root: str | None) -> Manifest:
    return Manifest.read(path, root=root)


class Source:
    """A manifest and, where its log-mels are stored, their shards."""

    def __init__(self, config: SourceConfig, features: FeatureConfig) -> None:
        self.manifest = open_manifest(config.manifest, config.root)
        self.shards = FeatureShards(Path(config.shards), features) if config.shards else None
        self.weight, self.without_speech = config.weight, config.without_speech


class Dataset:
    """The utterances of several sources under one index, as features and tokens; `augment` only in training."""

    def __init__(
        self,
        sources: Sequence[SourceConfig],
        *,
        features: FeatureConfig,
        tokenizer: Tokenizer,
        statistics: FeatureStatistics | None = None,
        augment: Sequence[AugmentationConfig] = (),
        seed: int = 0,
    ) -> None:
        self.sources = [Source(source, features) for source in sources]
        self.features, self.tokenizer, self.statistics, self.seed = features, tokenizer, statistics, seed
        self.log_mel = LogMel(features)
        self.min_frames: np.ndarray | None = None
        self.num_views = 1
        self.on_samples = [(step.build(features), step.kind in MOVING) for step in augment if step.domain == "samples"]
        self.on_features = [step.build(features) for step in augment if step.domain == "features"]
        self.ends = np.cumsum([len(source.manifest) for source in self.sources])
        self.durations = np.concatenate([source.manifest.durations for source in self.sources])
        self.weights = np.concatenate(
            [np.full(len(source.manifest), source.weight, np.float32) for source in self.sources]
        )

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _locate(self, index: int) -> tuple[Source, int]:
        """Returns the source of an index, and the position in its manifest."""
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[number], index - (int(self.ends[number - 1]) if number else 0)

    @property
    def sizes(self) -> np.ndarray:
        """Returns seconds of each, by which they are put into batches."""
        return self.durations

    def texts(self) -> Iterator[str]:
        """Yields all transcripts, in the order of the index."""
        return itertools.chain.from_iterable(source.manifest.texts() for source in self.sources)

    def stretch_keys(self) -> Int64[np.ndarray, " utterance"]:
        """Returns a number for each stretch of a recording, in the order of the index."""
        return np.concatenate([stretch_keys(source.manifest) for source in self.sources])

    def utterance(self, index: int) -> Utterance:
        source, position = self._locate(index)
        return source.manifest[position]

    def tokens(self, index: int) -> list[int]:
        return self.tokenizer.encode(self.utterance(index).text)

    def is_without_speech(self, index: int) -> bool:
        """Returns whether an utterance is there to learn that nothing is said in it."""
        return self._locate(index)[0].without_speech

    def num_frames(self, index: int) -> int:
        """Frames of log-mel of an utterance, from its duration."""
        return self.log_mel.num_frames(round(float(self.durations[index]) * self.features.sample_rate))

    def samples(self, index: int) -> Float[Tensor, " sample"]:
        return self._read(self.utterance(index))

    def _read(self, utterance: Utterance) -> Float[Tensor, " sample"]:
        return torch.from_numpy(read_stretch(utterance.stretch, sample_rate=self.features.sample_rate))

    def log_mels(self, index: int) -> Float[Tensor, "time mel"]:
        """Un-normalised log-mels, from the shards or from the audio, not augmented."""
        source, position = self._locate(index)
        return self._log_mels(self._recorded(source, source.manifest[position]), None)

    def _recorded(self, source: Source, utterance: Utterance) -> Float[Tensor, "..."]:
        """The samples of an utterance [sample], or where its log-mels are stored these [time, mel]."""
        return self._read(utterance) if source.shards is None else source.shards.features(utterance.id)

    def _log_mels(self, recorded: Float[Tensor, "..."], draws: Draws | None) -> Float[Tensor, "time mel"]:
        if recorded.ndim == 2:
            return recorded
        if draws is not None:
            for augment, is_moving in self.on_samples:
                recorded = augment(recorded, draws.moving if is_moving else draws.others)
        return self.log_mel(recorded)

    def holding(self, min_frames: np.ndarray, *, num_views: int = 1) -> "Dataset":
        """The same utterances, each of at least so many frames of log-mel where it can: [utterance]."""
        fitted = copy.copy(self)
        fitted.min_frames, fitted.num_views = min_frames, num_views
        return fitted

    def example(self, index: int, epoch: int | None = None) -> Example:
        """One utterance; with an epoch, augmented by a generator of the seed, the epoch and the index."""
        generator = None if epoch is None else torch.Generator().manual_seed(mix_seed(self.seed, epoch, index))
        return self._examples(index, [generator and Draws(generator, generator)])[0]

    def views(self, index: int, epoch: int) -> list[Example]:
        """The utterance augmented in `num_views` ways, with its words at the same times in each."""
        if self.num_views == 1:
            return [self.example(index, epoch)]

        def generator(number: int) -> torch.Generator:
            return torch.Generator().manual_seed(mix_seed(self.seed, epoch, index, number))

        return self._examples(index, [Draws(generator(0), generator(1 + view)) for view in range(self.num_views)])

    def _examples(self, index: int, draws: Sequence[Draws | None]) -> list[Example]:
        """The utterance, read once, as each of the draws makes it.

        A fast copy that has fewer frames than are to be held could not hold its tokens; the plain one is used.
        """
        source, position = self._locate(index)
        utterance = source.manifest[position]
        recorded, tokens = self._recorded(source, utterance), self.tokenizer.encode(utterance.text)
        examples = []
        for each in draws:
            log_mels = self._log_mels(recorded, each)
            if each is not None and self.min_frames is not None and len(log_mels) < self.min_frames[index]:
                log_mels = self._log_mels(recorded, None)
            values = normalize(log_mels, config=self.features, statistics=self.statistics)
            if each is not None:
                for augment in self.on_features:
                    values = augment(values, each.others)
            examples.append(Example(utterance.id, index, values, tokens, utterance.duration))
        return examples


def mix_seed(*numbers: int) -> int:
    """Independent seeds from small neighbouring numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
