"""A trained language model, ready to be asked by a search: of a run folder, or of a file of n-grams."""

import importlib.util
from pathlib import Path
from typing import Any

import torch

from asr.config.language_model import LanguageModelConfig, NGramConfig, load_experiment
from asr.config.reading import check_section, read_values, read_yaml
from asr.config.recognizer import Config
from asr.decoding import DecodingConfig
from asr.decoding.ctc_lexicon import WordModel
from asr.decoding.scorer import Scorer
from asr.files.digest import file_digest
from asr.files.tensors import read_tensors
from asr.language_models.kenlm import KenLMScorer
from asr.language_models.ngram import NGramScorer
from asr.language_models.table import check_counts, read_arpa, read_words
from asr.runs.folder import RunFolder
from asr.section import Section
from asr.text import Tokenizer, load_tokenizer

ARPA_SUFFIXES = (".arpa", ".arpa.gz")
ARPA_FILE = "model.arpa"


class LanguageModelError(ValueError):
    """A language model that cannot be used with this recogniser."""


class _Chosen(Section):
    decoding: DecodingConfig


def read_decoding(given: str, *, language_model: str | None = None) -> DecodingConfig:
    """Returns what a user asks for: a kind, such as ctc_beam, a section of YAML, or a file that holds one.

    `language_model` takes the place of the section's own. Raises ConfigError with every fault, and LanguageModelError
    for a kind of decoding that asks none.
    """
    values = read_values(given) if Path(given).is_file() else read_yaml(given)
    section = {"kind": values} if isinstance(values, str) else values
    chosen = check_section({"decoding": section}, _Chosen, where=given).decoding
    if language_model is None:
        return chosen
    if "fusion" not in type(chosen).model_fields:
        raise LanguageModelError(f"{language_model}: {chosen.kind} asks no language model; expected ctc_beam, say")
    named = {**section, "fusion": {**section.get("fusion", {}), "language_model": language_model}}  # type: ignore
    return check_section({"decoding": named}, _Chosen, where=given).decoding


def open_decoding(config: DecodingConfig, tokenizer: Tokenizer, *, device: str | torch.device = "cpu") -> Any:
    """Returns a decoding, ready to use, with the language model that its configuration names.

    Raises LanguageModelError where that is of another tokenizer or cannot be used so, and what reading it raises.
    """
    return config.build(tokenizer, load_asked_model(config, tokenizer, device=device))


def load_asked_model(config: DecodingConfig, tokenizer: Tokenizer, *, device: str | torch.device = "cpu") -> Any:
    """Returns the language model that a decoding names, in the form in which it asks; None where it names none."""
    fusion = getattr(config, "fusion", None)
    if fusion is None or fusion.language_model is None:
        return None
    path = Path(fusion.language_model)
    if fusion.asks_for == "words":
        return load_word_model(path)
    return load_language_model(path, tokenizer, device=device)


def decoding_name(config: DecodingConfig) -> str:
    """Returns the name by which a decoding's files go: ctc_beam-lm_lstm."""
    fusion = getattr(config, "fusion", None)
    return (
        config.kind
        if fusion is None or not fusion.language_model
        else f"{config.kind}-{Path(fusion.language_model).name}"
    )


def load_word_model(path: Path) -> WordModel:
    """Returns the n-grams of words of a run folder or an ARPA file, for KenLM to read."""
    if path.is_dir():
        config = load_experiment(_folder(path).config_path)
        if not isinstance(config, NGramConfig) or config.unit == "token":
            raise LanguageModelError(f"{path}: no n-grams of words; expected a run of kind: ngram with unit: word")
        path = path / ARPA_FILE
    elif not path.name.endswith(ARPA_SUFFIXES):
        raise LanguageModelError(
            f"{path}: no ARPA file; its words are read from it: expected {' or '.join(ARPA_SUFFIXES)}"
        )
    return WordModel(path, read_words(path))


def load_language_model(path: Path, tokenizer: Tokenizer, *, device: str | torch.device = "cpu") -> Scorer:
    """Returns the language model of a run folder or an n-gram file, over the tokens of this tokenizer."""
    if not path.exists():
        raise LanguageModelError(
            f"{path}: no such file; expected a run folder of a language model (python -m asr.train conf/lm_lstm.yaml), "
            "an ARPA file or a KenLM binary"
        )
    if not path.is_dir():
        return _load_file(path, tokenizer)
    folder = _folder(path)
    config = load_experiment(folder.config_path)
    if isinstance(config, Config):
        raise LanguageModelError(f"{path}: a recogniser; expected a language model, such as conf/lm_lstm.yaml trains")
    if isinstance(config, NGramConfig) and config.unit == "word":
        raise LanguageModelError(f"{path}: n-grams of words; here expected a model of tokens (unit: token)")
    _check_tokenizer(folder, tokenizer)
    if isinstance(config, NGramConfig):
        return NGramScorer(read_arpa(folder.path / ARPA_FILE), tokenizer)
    return _load_recurrent(folder, config, tokenizer).to(device)


def _folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        raise LanguageModelError(f"{path}: no config.yaml in it; expected the run folder of a language model")
    return folder


def _load_file(path: Path, tokenizer: Tokenizer) -> Scorer:
    """Opens it by KenLM where it is installed; the built-in reader holds the whole table in memory."""
    if path.name.endswith(ARPA_SUFFIXES) and importlib.util.find_spec("kenlm") is None:
        return NGramScorer(read_arpa(path), tokenizer)
    if path.name.endswith(ARPA_SUFFIXES):
        check_counts(path)
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
    with torch.device("meta"):  # without memory
        outline = config.model.build(tokenizer.vocabulary_size).state_dict()
    weights = read_tensors(path, like=outline, remedy="copy the whole run folder again, or train it again")
    with torch.random.fork_rng(devices=[]):  # the weights it draws are replaced: leave the caller's generator alone
        model = config.model.build(tokenizer.vocabulary_size)
    model.load_state_dict(weights)
    return model.eval()
