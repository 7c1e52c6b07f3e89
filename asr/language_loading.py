"""A trained language model, ready to be asked by a search: of a run folder, or of a file of n-grams."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from asr.checkpoint import file_digest
from asr.config import Config
from asr.decoding import DecodingConfig
from asr.decoding.scorer import Scorer
from asr.language_config import LanguageModelConfig, NGramConfig, load_experiment
from asr.language_models.kenlm import KenLMScorer
from asr.language_models.ngram import NGramScorer
from asr.language_models.table import read_arpa
from asr.run import RunFolder
from asr.tokenizer import Tokenizer, load_tokenizer

ARPA_SUFFIXES = (".arpa", ".arpa.gz")
ARPA_FILE = "model.arpa"


class LanguageModelError(ValueError):
    """A language model that cannot be used with this recogniser."""


def open_decoding(config: DecodingConfig, tokenizer: Tokenizer, *, device: str | torch.device = "cpu") -> Any:
    """A decoding, ready to use, with the language model that its configuration names.

    Raises LanguageModelError where that is of another tokenizer or cannot be used so, and what reading it raises.
    """
    fusion = getattr(config, "fusion", None)
    if fusion is None or fusion.language_model is None:
        return config.build(tokenizer)
    return config.build(tokenizer, load_language_model(Path(fusion.language_model), tokenizer, device=device))


def load_language_model(path: Path, tokenizer: Tokenizer, *, device: str | torch.device = "cpu") -> Scorer:
    """The language model of a run folder or an n-gram file, over the tokens of this tokenizer."""
    if not path.exists():
        raise LanguageModelError(
            f"{path}: no such file; expected a run folder of a language model (python -m asr.train conf/lm_lstm.yaml), "
            "an ARPA file or a KenLM binary"
        )
    if not path.is_dir():
        return _load_file(path, tokenizer)
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        raise LanguageModelError(f"{path}: no config.yaml in it; expected the run folder of a language model")
    config = load_experiment(folder.config_path)
    if isinstance(config, Config):
        raise LanguageModelError(f"{path}: a recogniser; expected a language model, such as conf/lm_lstm.yaml trains")
    if isinstance(config, NGramConfig) and config.unit == "word":
        raise LanguageModelError(f"{path}: n-grams of words; here expected a model of tokens (unit: token)")
    _check_tokenizer(folder, tokenizer)
    if isinstance(config, NGramConfig):
        return NGramScorer(read_arpa(folder.path / ARPA_FILE), tokenizer)
    return _load_recurrent(folder, config, tokenizer).to(device)


def _load_file(path: Path, tokenizer: Tokenizer) -> Scorer:
    """By KenLM where it is installed; the built-in reader holds the whole table in memory."""
    if path.name.endswith(ARPA_SUFFIXES) and importlib.util.find_spec("kenlm") is None:
        return NGramScorer(read_arpa(path), tokenizer)
    return KenLMScorer(path, tokenizer)


def _check_tokenizer(folder: RunFolder, tokenizer: Tokenizer) -> None:
    found = load_tokenizer(folder.tokenizer_path).digest
    if found != tokenizer.digest:
        raise LanguageModelError(
            f"{folder.path}: a language model with another tokenizer (digest {found[:12]}; the recogniser's is "
            f"{tokenizer.digest[:12]}); train one with the recogniser's: tokenizer: {{kind: run, run: RUN}}"
        )


def _load_recurrent(folder: RunFolder, config: LanguageModelConfig, tokenizer: Tokenizer) -> Any:
    path = folder.model_path
    if not path.is_file():
        raise LanguageModelError(f"{path}: no such file; the training has not finished its first epoch yet")
    if (found := file_digest(path)) != (expected := folder.read_record().get("model")):
        raise LanguageModelError(
            f"{path}: its SHA-256 is {found}; expected {expected} as run.json says; copy the whole run folder again"
        )
    with torch.random.fork_rng(devices=[]):  # the weights it draws are replaced: leave the caller's generator alone
        model = config.model.build(tokenizer.vocabulary_size)
    model.load_state_dict(load_file(path))
    return model.eval()
