"""Evaluates a run on manifests: opens both, recognises and scores every utterance, and writes what was found."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from asr.data.listed_twice import find_contradicted, say_contradiction, stretch_keys
from asr.data.manifest import Manifest
from asr.decoding import DecodingConfig
from asr.evaluation.command_report import write_command_report
from asr.evaluation.console import show
from asr.evaluation.report import Evaluation, write_report
from asr.evaluation.scoring import (
    EvaluationError,
    ScoringOptions,
    calibrate_words,
    evaluated_manifest,
    recognize_manifest,
    summarize,
    write_results,
    write_utterances,
)
from asr.files.packaged import results_parent
from asr.files.replacing import absolute_path, distinct_names
from asr.process.distributed import set_num_threads
from asr.recognition.confidence import FILE_NAME, WordCalibration
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.runs.language_model import decoding_name, read_decoding
from asr.understanding.acceptance import Condition, noise_of, show_conditions, write_conditions

NUM_NAMED = 5  # recordings that are listed with different references


@dataclass(frozen=True)
class EvaluationSettings:
    """Says what is evaluated, how, and where its files go."""

    run: Path
    manifests: Sequence[Path]
    output_dir: Path | None  # None: in the run folder
    root: Path | None  # recordings outside are refused; None: none are
    commands: Path | None  # a grammar
    scoring: ScoringOptions
    decoding: str | None  # a kind, a section or its file; None: the run's own
    language_model: str | None
    tune_fusion: bool
    calibrate_confidence: bool
    batch_size: int
    device: str
    precision: Literal["fp32", "bf16", "int8"]
    num_threads: int
    audio: Literal["embed", "link", "none"]  # recordings in the report
    max_in_report: int  # utterances


@dataclass(frozen=True)
class OpenEvaluation:
    """An evaluation whose settings go together and whose run and manifests are read."""

    settings: EvaluationSettings
    recognizer: Recognizer
    decoding: DecodingConfig | None  # None: the run's own
    manifests: dict[Path, Manifest]
    names: dict[Path, str]  # of the manifests, on the console
    folders: dict[Path, Path]  # of each manifest's files


def open_evaluation(settings: EvaluationSettings) -> OpenEvaluation:
    """Reads the run and the manifests. Raises EvaluationError for settings that do not go together."""
    set_num_threads(settings.num_threads)
    decoding = _choose_decoding(settings)
    recognizer = _load(settings, decoding)
    manifests = {path: Manifest.read(path, root=settings.root) for path in settings.manifests}
    names = dict(zip(settings.manifests, distinct_names(settings.manifests)))
    return OpenEvaluation(settings, recognizer, decoding, manifests, names, _folders(settings, decoding))


def with_decoding(opened: OpenEvaluation, decoding: DecodingConfig) -> OpenEvaluation:
    """Returns the evaluation with another decoding, and what the run holds for it."""
    return replace(opened, recognizer=_load(opened.settings, decoding), decoding=decoding)


def _load(settings: EvaluationSettings, decoding: DecodingConfig | None) -> Recognizer:
    return Recognizer.load(
        settings.run,
        device=settings.device,
        commands=settings.commands,
        decoding=decoding,
        precision=settings.precision,
    )


def run(opened: OpenEvaluation) -> bool:
    """Scores each manifest, writes its files and shows its figures; returns whether everything could be scored."""
    settings, recognizer, console = opened.settings, opened.recognizer, Console()
    if settings.calibrate_confidence:
        recognizer = recognizer.with_calibration(WordCalibration())  # what is fitted is the posterior
    conditions, is_whole = [], True
    for path, manifest in opened.manifests.items():
        for line in contradictions(manifest):
            console.print(f"warning: {path}: {line}", style="yellow", markup=False, soft_wrap=True)
        evaluation, seconds = _evaluate(recognizer, manifest, path=path, settings=settings)
        if settings.calibrate_confidence:
            _calibrate(console, recognizer, evaluation, settings.run)
        _write(opened.folders[path], evaluation, settings)
        show(console, evaluation, opened.folders[path], in_full=len(opened.manifests) == 1)
        is_whole = is_whole and not evaluation.failures
        if evaluation.understanding is not None:
            conditions.append(_condition(opened.names[path], evaluation, manifest, seconds))
    if conditions:
        _compare(console, conditions, settings)
    return is_whole


def contradictions(manifest: Manifest) -> list[str]:
    """Says which utterances are of one stretch and have different references, some of them; all of them are scored."""
    found = find_contradicted(stretch_keys(manifest), manifest.__getitem__)
    lines = list(dict.fromkeys(say_contradiction(members) for members in found.values()))
    more = [f"and {len(lines) - NUM_NAMED:,} more such recordings"] if len(lines) > NUM_NAMED else []
    return [f"{line}: one of them counts as wrong" for line in lines[:NUM_NAMED]] + more


def _evaluate(
    recognizer: Recognizer, manifest: Manifest, *, path: Path, settings: EvaluationSettings
) -> tuple[Evaluation, float]:
    """Returns the figures of one manifest, and the processor's seconds of recognising it, or a GPU's by the clock."""
    clock = time.process_time if settings.device == "cpu" else time.perf_counter
    start = clock()
    scored, failures = recognize_manifest(
        recognizer, manifest, batch_size=settings.batch_size, normalize=settings.scoring.normalize
    )
    seconds = clock() - start
    evaluation = summarize(
        scored, failures, recognizer=recognizer, run=settings.run, manifest=path, options=settings.scoring
    )
    return evaluation, seconds


def _choose_decoding(settings: EvaluationSettings) -> DecodingConfig | None:
    """Returns what takes the place of the run's own. Raises EvaluationError for options that do not go together."""
    if settings.decoding is None and (settings.language_model is not None or settings.tune_fusion):
        raise EvaluationError(
            "--language-model, --tune-fusion: of which decoding? expected --decoding too, say ctc_beam"
        )
    for name in ("tune_fusion", "calibrate_confidence"):
        if getattr(settings, name) and len(settings.manifests) > 1:
            option = f"--{name.replace('_', '-')}"
            raise EvaluationError(f"{option}: {len(settings.manifests)} manifests; expected one, of a dev split")
    if settings.decoding is None:
        return None
    return read_decoding(settings.decoding, language_model=settings.language_model)


def _calibrate(console: Console, recognizer: Recognizer, evaluation: Evaluation, run: Path) -> None:
    """Fits the confidence of words on this evaluation, and keeps it in the run folder."""
    found = calibrate_words(RunFolder(run), recognizer, evaluation.utterances)
    console.print(
        f"confidence of words: {found.error_before:.1%} from the share that is right, calibrated "
        f"{found.error_after:.1%} (five folds over {found.num_words:,} words): {run / FILE_NAME}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _folders(settings: EvaluationSettings, decoding: DecodingConfig | None) -> dict[Path, Path]:
    """Returns the folder of each manifest's files. Raises EvaluationError where two would go to the same place."""
    if settings.output_dir is not None and len(settings.manifests) == 1:
        return {settings.manifests[0]: settings.output_dir}
    parent = settings.output_dir or results_parent(settings.run) / "evaluations"
    suffix = "" if decoding is None else f"-{decoding_name(decoding)}"
    suffix += "" if settings.precision == "fp32" else f"-{settings.precision}"
    names = distinct_names(settings.manifests, num_folders=1, between="-")
    folders = {path: _own_folder(parent, path, name, suffix) for path, name in zip(settings.manifests, names)}
    if len(set(folders.values())) < len(settings.manifests):
        raise EvaluationError(
            f"{len(settings.manifests)} manifests: two of the same name in folders of the same name, or one twice; "
            f"expected different ones, each once"
        )
    return folders


def _own_folder(parent: Path, manifest: Path, name: str, suffix: str) -> Path:
    """Returns parent/NAME, behind more of the manifest's folders where that holds the results of another manifest."""
    own, num_folders = absolute_path(manifest), 1
    while True:
        folder = parent / f"{name}{suffix}"
        other = evaluated_manifest(folder / "results.json")
        if other is None or absolute_path(other) == own or num_folders == len(Path(own).parts):
            return folder
        num_folders += 1
        (name,) = distinct_names([manifest], num_folders=num_folders, between="-")


def _write(folder: Path, evaluation: Evaluation, settings: EvaluationSettings) -> None:
    write_utterances(folder / "utterances.jsonl", evaluation)
    write_results(folder / "results.json", evaluation)
    write = write_report if evaluation.understanding is None else write_command_report
    write(folder / "report.html", evaluation, audio=settings.audio, max_utterances=settings.max_in_report)


def _compare(console: Console, conditions: list[Condition], settings: EvaluationSettings) -> None:
    """Shows the commands of all manifests side by side, and writes them to a file that can be pooled with others."""
    show_conditions(console, conditions)
    folder = settings.output_dir or results_parent(settings.run) / "evaluations"
    path = folder / f"{settings.manifests[0].absolute().parent.name}-acceptance.json"
    write_conditions(path, conditions)
    console.print(f"acceptance: {path}", soft_wrap=True, highlight=False, markup=False)


def _condition(name: str, evaluation: Evaluation, manifest: Manifest, seconds: float) -> Condition:
    assert evaluation.understanding is not None
    return Condition(
        name,
        evaluation.understanding,
        snr_db=noise_of(manifest),
        audio_seconds=evaluation.duration,
        seconds=seconds,
    )
