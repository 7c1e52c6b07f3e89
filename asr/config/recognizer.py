"""The configuration of a recogniser: the tree of all sections, and what is checked across them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from asr.config.reading import ConfigError, load_section, read_values
from asr.data.augment import AugmentationConfig
from asr.data.dataset import DataConfig
from asr.data.features import FeatureConfig
from asr.decoding import DecodingConfig, decodings_for
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.endpointing import EndpointingConfig
from asr.decoding.evidence import EvidenceConfig
from asr.files.yaml import write_yaml
from asr.model.acoustic import Model, check_intermediate_layers
from asr.model.encoders import EncoderConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads import HeadConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.model.heads.head import Head
from asr.optim import OptimConfig
from asr.section import Section
from asr.text import NUM_SPECIAL, CharTokenizerConfig, TokenizerConfig
from asr.tracking.config import TrackingConfig


class TrainConfig(Section):
    """The loop itself."""

    max_epochs: int = Field(50, ge=1, description="passes over the training data; the schedule ends with the last")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps all the same, for trials")
    accumulation: int = Field(1, ge=1, description="a step's batch is computed in so many parts, to save memory")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="of the forward pass; auto: bf16 where the device multiplies that, else fp32; fp16: CUDA only",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where there is one")
    num_threads: int = Field(1, ge=1, description="CPU threads of the model in each process")
    compile: bool = Field(False, description="torch.compile the model")
    ema_decay: float | None = Field(None, gt=0.0, lt=1.0, description="of a moving average of the weights, if any")
    average_best: int = Field(5, ge=1, description="the final weights are the mean of so many best epochs")
    early_stopping_epochs: int | None = Field(None, ge=1, description="stop after so many epochs without a better WER")
    evaluate_every_epochs: int = Field(1, ge=1, description="score dev each so many epochs, and after the last")
    checkpoint_every_steps: int = Field(500, ge=1, description="beside one after each epoch")
    log_every_steps: int = Field(10, ge=1, description="losses are logged as means over so many steps")
    max_bad_steps: int = Field(5, ge=1, description="stop after so many steps in a row without a finite gradient")


class TrainingConfig(Section):
    """Holds what every training has, of a recogniser or of a language model; `kind` says which."""

    run_dir: str = Field(description="the folder that the run writes into")
    seed: int = Field(0, ge=0, description="of the weights, the batches, the augmentation and the dropout")
    optim: OptimConfig = Field(OptimConfig(), description="how the weights are changed")
    train: TrainConfig = Field(TrainConfig(), description="how long a training runs, where, and what it keeps")
    tracking: TrackingConfig = Field(TrackingConfig(), description="where figures go")
    init_from: str | None = Field(None, description="a run whose weights to start from")

    @model_validator(mode="after")
    def check_precision(self) -> "TrainingConfig":
        if self.train.precision == "fp16" and self.train.device == "cpu":
            raise ValueError("train.precision: 'fp16' needs CUDA; on a CPU use 'bf16' or 'fp32'")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns every key with its value, as JSON types."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return write_yaml(self.to_dict())


class Config(TrainingConfig):
    """One experiment: what conf/*.yaml holds and what a run folder's config.yaml records in full."""

    kind: Literal["recognizer"] = "recognizer"
    data: DataConfig = Field(description="what is learnt from, and what the weights are chosen by")
    features: FeatureConfig = Field(FeatureConfig(), description="samples to log-mels")
    augment: tuple[AugmentationConfig, ...] = Field((), description="applied in this order, in training only")
    tokenizer: TokenizerConfig = Field(CharTokenizerConfig(), description="transcripts to tokens")
    encoder: EncoderConfig = Field(RecurrentEncoderConfig(), description="log-mels to encodings")
    heads: tuple[HeadConfig, ...] = Field(
        (CTCHeadConfig(),), min_length=1, description="encodings to losses and scores; one or more"
    )
    decoding: DecodingConfig = Field(CTCGreedyConfig(), description="scores to transcripts")
    evidence: EvidenceConfig = Field(EvidenceConfig(), description="of a trained model: what words need to be written")
    endpointing: EndpointingConfig | None = Field(None, description="of a trained model: hear only the speech, if set")

    def build_model(self, vocabulary_size: int) -> Model:
        """Returns the acoustic model with weights drawn by torch's generator."""
        return Model(
            num_mels=self.features.num_mels, encoder=self.encoder, heads=self.heads, vocabulary_size=vocabulary_size
        )

    @model_validator(mode="after")
    def check_across_sections(self) -> "Config":
        stored = [f"data.train.{number}.shards" for number, source in enumerate(self.data.train) if source.shards]
        on_samples = [step.kind for step in self.augment if step.domain == "samples"]
        if stored and on_samples:
            raise ValueError(
                f"augment: {on_samples[0]!r} changes the samples, but {stored[0]} gives stored log-mels; "
                "remove the shards to read the audio, or keep only augmentations of features"
            )
        return self

    @model_validator(mode="after")
    def check_encoder(self) -> "Config":
        if getattr(self.encoder, "streaming", False) and self.features.normalization == "utterance":
            raise ValueError(
                "features.normalization: 'utterance' needs the end of an utterance before its first frame, but "
                "encoder.streaming is true; use 'global'"
            )
        self._sketched_heads()
        return self

    def _sketched_heads(self) -> list[Head]:
        """Returns the heads without memory or numbers: only to see whether the widths of all layers fit together."""
        with torch.device("meta"):
            try:
                encoder = self.encoder.build(self.features.num_mels)
            except ValueError as error:
                raise ValueError(f"encoder: {error}") from None
            heads = []
            for number, head in enumerate(self.heads):
                try:
                    heads.append(head.build(encoder.output_size, vocabulary_size=NUM_SPECIAL))
                except ValueError as error:
                    raise ValueError(f"heads.{number}.{error}") from None
            check_intermediate_layers(encoder, heads)
            return heads

    @model_validator(mode="after")
    def check_heads(self) -> "Config":
        kinds = [head.kind for head in self.heads]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"heads: found {', '.join(kinds)}; expected each kind once at most")
        if self.endpointing is not None and not any(head.scores_frames for head in self._sketched_heads()):
            raise ValueError(
                f"endpointing: a CTC head finds the speech; heads has {', '.join(kinds)}: add one, or set it to null"
            )
        searched, fitting = self.decoding.searched_heads, decodings_for(kinds)
        if self.decoding.kind not in fitting:
            raise ValueError(
                f"decoding.kind: {self.decoding.kind!r} searches the scores of {' and '.join(searched)} heads; "
                f"heads has {', '.join(kinds)}: choose {' or '.join(map(repr, fitting))}"
            )
        return self


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `key.path=value` overrides, which are checked like the file.

    Raises ConfigError that lists every fault by its path, with a suggestion for each unknown key.
    """
    kind = read_values(path, overrides).get("kind", "recognizer")
    if kind != "recognizer":
        raise ConfigError(f"{path}: kind: found {kind!r}; expected the configuration of a recogniser")
    return load_section(path, Config, overrides)
