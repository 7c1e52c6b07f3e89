"""The parts of a trained run, read from its folder and checked to belong together."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.config.reading import check_section
from asr.config.recognizer import Config, load_config
from asr.data.features import FeatureConfig
from asr.data.statistics import FeatureStatistics
from asr.decoding import DecodingConfig
from asr.files.digest import file_digest
from asr.files.packaged import locate, shipped_models
from asr.files.tensors import read_shapes, read_tensors, shape_differences
from asr.model.acoustic import Model
from asr.runs.folder import STATISTICS_KEY, RunFolder, flatten
from asr.text import Tokenizer, load_tokenizer

COPY_AGAIN = "it is damaged or of another run: copy the whole run folder again, or train it again"


class RecognizerError(ValueError):
    """A run that cannot be used, or a recording given in a form that is not understood."""


@dataclass(frozen=True)
class RunParts:
    """Holds what a run folder has for a recogniser."""

    folder: RunFolder
    config: Config
    model: Model  # on the CPU, in evaluation mode
    model_digest: str  # SHA-256 of its weights
    tokenizer: Tokenizer
    statistics: FeatureStatistics | None  # of globally normalised features only

    @property
    def features(self) -> FeatureConfig:
        return self.config.features


def open_run(run: str | Path) -> tuple[RunFolder, Config]:
    """Returns a run folder and its configuration, without the model. Raises RecognizerError where there is none."""
    folder = RunFolder(locate(run))
    if not folder.config_path.is_file():
        raise RecognizerError(
            f"{folder.path}: no config.yaml in it; expected a run folder written by asr.train{_or_shipped(str(run))}"
        )
    return folder, load_config(folder.config_path)


def _or_shipped(name: str) -> str:
    """Returns what else a name could be, for an error: one of the shipped models, or the nearest of them."""
    shipped = shipped_models()
    if not shipped or len(Path(name).parts) != 1:
        return ""
    near = difflib.get_close_matches(name, shipped, n=1)
    return f"; did you mean {near[0]!r}?" if near else f", or the name of a shipped model: {', '.join(shipped)}"


def load_run(run: str | Path, *, decoding: DecodingConfig | None = None) -> RunParts:
    """Read a run folder, with this decoding in the place of its own where one is given.

    Raises RecognizerError with the difference where the parts of the folder do not belong together: other weights,
    another tokenizer, other feature settings or statistics than run.json says, or weights of another shape than
    config.yaml describes; and what reading its parts raises.
    """
    folder, config = open_run(run)
    record = folder.read_record()
    if decoding is not None:
        values = {**config.to_dict(), "decoding": decoding.model_dump(mode="json")}
        config = check_section(values, Config, where=str(folder.config_path))
    tokenizer = load_tokenizer(folder.tokenizer_path)
    _check_digest(folder.tokenizer_path, tokenizer.digest, record.get("tokenizer"))
    _check_features(folder, config, record.get("features"))
    is_global = config.features.normalization == "global"
    return RunParts(
        folder=folder,
        config=config,
        model=_load_model(folder, config, tokenizer, record),
        model_digest=str(record.get("model")),
        tokenizer=tokenizer,
        statistics=_load_statistics(folder, record) if is_global else None,
    )


def _load_statistics(folder: RunFolder, record: dict[str, Any]) -> FeatureStatistics:
    statistics = FeatureStatistics.load(folder.statistics_path)
    if STATISTICS_KEY in record:  # the first runs were trained before it was written down
        _check_digest(folder.statistics_path, file_digest(folder.statistics_path), record[STATISTICS_KEY])
    return statistics


def _load_model(folder: RunFolder, config: Config, tokenizer: Tokenizer, record: dict[str, Any]) -> Model:
    path = folder.model_path
    if not path.is_file():
        raise RecognizerError(f"{path}: no such file; the training has not finished its first epoch yet")
    _check_digest(path, file_digest(path), record.get("model"))
    with torch.device("meta"):  # without memory: a file that fits is as large as the model, so nothing larger is made
        outline = config.build_model(tokenizer.vocabulary_size).state_dict()
    expected = {name: tuple(value.shape) for name, value in outline.items()}
    if differences := shape_differences(read_shapes(path, remedy=COPY_AGAIN), expected):
        raise RecognizerError(f"{path}: not the weights of the model in config.yaml:\n{differences}")
    weights = read_tensors(path, like=outline, remedy=COPY_AGAIN)
    with torch.random.fork_rng(devices=[]):  # the weights it draws are replaced: leave the caller's generator alone
        model = config.build_model(tokenizer.vocabulary_size)
    model.load_state_dict(weights)
    return model.eval()


def _check_features(folder: RunFolder, config: Config, recorded: dict[str, Any] | None) -> None:
    """The weights fit only the features that they were trained on."""
    if recorded is not None:  # settings that came later were as their defaults are
        recorded = {**FeatureConfig().model_dump(mode="json"), **recorded}
    differences = _differences(flatten(config.features.model_dump(mode="json")), flatten(recorded or {}))
    if differences:
        raise RecognizerError(
            f"{folder.config_path}: its features are not those of the training, as {folder.record_path.name} says:\n"
            f"{differences}\nput the old settings back, or train again"
        )


def _check_digest(path: Path, found: str, recorded: Any) -> None:
    if found != recorded:
        raise RecognizerError(
            f"{path}: its SHA-256 is {found}; expected {recorded} as run.json says. "
            "It is damaged or of another run: copy the whole run folder again"
        )


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Returns one line for each key whose value is another, or is on one side only; empty where all agree."""
    missing = "nothing"
    return "\n".join(
        f"  {key}: found {found.get(key, missing)}; expected {expected.get(key, missing)}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key, missing) != expected.get(key, missing)
    )
