"""The configurations of language models, and reading whichever kind of experiment a file holds."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from asr.config.reading import ConfigError, load_section, read_values
from asr.config.recognizer import Config, TrainingConfig
from asr.files.yaml import write_yaml
from asr.language_models.recurrent import RecurrentLanguageModelConfig
from asr.language_models.sentences import TextDataConfig
from asr.section import Section
from asr.text import NUM_SPECIAL, CharTokenizerConfig, TokenizerConfig


class LanguageModelConfig(TrainingConfig):
    """A recurrent language model, trained by the same loop as a recogniser."""

    kind: Literal["language_model"]
    data: TextDataConfig = Field(description="the texts that are learnt from, and the one that scores")
    tokenizer: TokenizerConfig = Field(
        CharTokenizerConfig(), description="sentences to tokens; the recogniser has to have the same"
    )
    model: RecurrentLanguageModelConfig = Field(RecurrentLanguageModelConfig(), description="the layers")

    @model_validator(mode="after")
    def check_model(self) -> "LanguageModelConfig":
        try:
            with torch.device("meta"):
                self.model.build(NUM_SPECIAL + 1)
        except ValueError as error:
            raise ValueError(f"model: {error}") from None
        return self


class NGramConfig(Section):
    """An n-gram model with interpolated modified Kneser-Ney smoothing: counted, not trained step by step."""

    kind: Literal["ngram"]
    run_dir: str = Field(description="the folder that the run writes into")
    data: TextDataConfig = Field(description="the texts that are learnt from, and the one that scores")
    unit: Literal["token", "word"] = Field("token", description="token: for ctc_beam; word: for ctc_lexicon")
    tokenizer: TokenizerConfig | None = Field(None, description="of the tokens; none for words")
    order: int = Field(6, ge=1, le=20, description="symbols in the longest n-grams")
    min_count: int = Field(1, ge=1, description="rarer words are <unk>")

    @model_validator(mode="after")
    def check_unit(self) -> "NGramConfig":
        if (self.tokenizer is None) == (self.unit == "token"):
            expected = "a tokenizer, such as {kind: run, run: RUN}" if self.unit == "token" else "no tokenizer"
            raise ValueError(f"tokenizer: with unit: {self.unit}, expected {expected}")
        if self.unit == "token" and self.min_count > 1:
            raise ValueError("min_count: for unit: word only; every token of the tokenizer is kept")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns every key with its value, as JSON types."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return write_yaml(self.to_dict())


AnyConfig = Config | LanguageModelConfig | NGramConfig
KINDS: dict[str, type[AnyConfig]] = {
    "recognizer": Config,
    "language_model": LanguageModelConfig,
    "ngram": NGramConfig,
}


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Reads the configuration of any `kind` of experiment, as the file says; without a kind, of a recogniser."""
    kind = read_values(path, overrides).get("kind", "recognizer")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(KINDS)}"
        raise ConfigError(f"{path}: kind: found {kind!r}; {hint}")
    return load_section(path, KINDS[kind], overrides)
