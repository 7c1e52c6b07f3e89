"""The database of a study: opened, known again, and its faults said in a line."""

import contextlib
import json
import sqlite3
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
from filelock import FileLock
from sqlalchemy.engine import make_url  # pyright: ignore[reportMissingImports]
from sqlalchemy.exc import SQLAlchemyError  # pyright: ignore[reportMissingImports]

from asr.config.recognizer import Config
from asr.runs.checkpoint import write_text
from asr.runs.folder import EPOCHS_KEY, FREE_KEYS, flatten
from asr.training.experiment import data_digests
from asr.tuning.space import TuningSpace, label

EXPERIMENT = "experiment"  # an attribute of the study: what it is about, by key
DATABASE = "study.db"
SECONDS_TO_WAIT = 60.0  # for another process that writes into the SQLite file

HINTS = {  # what to do, by a word of what a database said
    "locked": "wait for, or end, the program that holds it",
    "full": "make room on its disk",
    "disk I/O error": "make room on its disk, or look whether it is sound",
}


class TuneError(ValueError):
    """A study that cannot be run as asked."""


@dataclass(frozen=True)
class Place:
    """Says where a study is kept, and which of its trials lie here."""

    folder: Path
    url: str
    name: str

    @property
    def is_own(self) -> bool:
        """Returns whether only this folder's calls use the database."""
        return self.url == own_url(self.folder)

    @property
    def lock(self) -> FileLock:
        """Returns the lock under which trials are begun, which only one process of this folder does at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".study.lock", thread_local=False)

    def identity(self) -> str:
        """Returns what names this folder in the database, for ever."""
        path = self.folder / "place.txt"
        with self.lock:
            if not path.exists():
                write_text(path, uuid.uuid4().hex + "\n")
        return path.read_text(encoding="utf-8").strip()


def own_url(folder: Path) -> str:
    return f"sqlite:///{folder / DATABASE}"


@contextlib.contextmanager
def saying_storage_faults(url: str) -> Iterator[None]:
    """Raises TuneError for what a database refuses: it is locked, full, not there, or no database."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, sqlite3.Error, ImportError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        hint = next(
            (hint for word, hint in HINTS.items() if word in str(cause)),
            "expected a database that can be read and written, such as sqlite:///runs/study.db",
        )
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise TuneError(
            f"{hide_password(url)}: {reason}; {hint}. All finished trials are kept; rerun to go on"
        ) from error


def hide_password(url: str) -> str:
    """Returns a database's URL as it may be shown."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "--storage"


def open_study(place: Place, space: TuningSpace, config: Config) -> optuna.Study:
    """Returns the study of that name, made where there is none.

    Raises TuneError where the database cannot be used, or has a study of another configuration, space or data.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place.folder.mkdir(parents=True, exist_ok=True)
    options = {"connect_args": {"timeout": SECONDS_TO_WAIT}} if place.url.startswith("sqlite") else {}
    with saying_storage_faults(place.url), place.lock:
        storage = optuna.storages.RDBStorage(place.url, engine_kwargs=options)
        study = optuna.create_study(
            storage=storage,
            study_name=place.name,
            directions=[optuna.study.StudyDirection.MINIMIZE] * len(space.objectives),
            load_if_exists=True,
        )
        now, before = describe_experiment(space, config), study.user_attrs.get(EXPERIMENT)
        if before is None:
            study.set_user_attr(EXPERIMENT, now)
    if before is not None and before != now:
        changed = [
            f"  {key}: was {before.get(key)!r}, is now {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        raise TuneError(
            f"{place.folder}: found a study of something else:\n" + "\n".join(changed) + "\n"
            "expected the same configuration, space and data; give this one its own --output-dir (and --study)"
        )
    return study


def describe_experiment(space: TuningSpace, config: Config) -> dict[str, Any]:
    """Returns, by key, all that makes the figures of two trials comparable."""
    values = flatten(config.to_dict())
    free = tuple(f"{key}." for key in FREE_KEYS if key != EPOCHS_KEY)
    kept = {key: value for key, value in values.items() if not f"{key}.".startswith(free)}
    tried = {
        f"space.{key}": json.dumps(dimension.model_dump(mode="json"), sort_keys=True)
        for key, dimension in space.space.items()
    }
    described = {**kept, **tried, **data_digests(config), "objectives": ", ".join(space.objectives)}
    described |= {"grid": True} if space.sampler == "grid" else {}
    return json.loads(json.dumps(described))


def make_sampler(space: TuningSpace, *, number: int) -> optuna.samplers.BaseSampler:
    """Returns the sampler of one trial. Its seed is the study's and the trial's number, so that neither a restart nor
    another worker repeats what was tried.
    """
    if space.sampler == "cmaes" and find_spec("cmaes") is None:
        raise TuneError("sampler: found 'cmaes' without its package; expected it, by  pip install 'earshot[tune]'")
    seed = (space.seed * 1_000_003 + number) % 2**31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if space.sampler == "tpe":
            # Keys are looked at together, those of a condition in a group of their own; trials that still run count as
            # bad, so that workers spread.
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=space.startup_trials,
                multivariate=True,
                group=True,
                constant_liar=True,
            )
        if space.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(
                seed=seed,
                n_startup_trials=space.startup_trials,
                independent_sampler=optuna.samplers.RandomSampler(seed),
                warn_independent_sampling=False,
            )
    return optuna.samplers.RandomSampler(seed)  # of grid too, whose trials are all waiting already


def make_pruner(space: TuningSpace, config: Config) -> optuna.pruners.BasePruner:
    """Returns what decides after an epoch whether a trial goes on."""
    if space.pruning == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=space.warmup_epochs + 1)
    if space.pruning == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=config.train.max_epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()


def enqueue_grid(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    """Lets every point of a grid wait for its turn; those that are there already are left."""
    known = {_key_of(trial.system_attrs.get("fixed_params", {})) for trial in study.get_trials(deepcopy=False)}
    for point in points:
        labels = {key: label(value) for key, value in point.items()}
        if _key_of(labels) not in known:
            study.enqueue_trial(labels)


def _key_of(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
