"""A run scored on a manifest: every utterance recognised and aligned, all totals, and their files."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track

from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.evaluation.breakdown import (
    JudgedCommand,
    by_condition,
    by_speaker,
    condition_of,
    count_verdicts,
    score_by,
    slot_values,
)
from asr.evaluation.groups import GroupScore, most_confused, score_group, score_groups
from asr.evaluation.intervals import Interval, bootstrap_interval
from asr.evaluation.reference_form import find_form_faults
from asr.evaluation.report import Evaluation, Failure, ScoredUtterance
from asr.metrics import ErrorCounts, align_words, count_character_errors, count_operations
from asr.recognition.confidence import WordCalibration, calibration_error, fit_words, reliability, save_calibration
from asr.recognizer import Recognizer, Transcription
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.text.normalization import normalize_transcript
from asr.understanding.result import CommandSearch
from asr.understanding.scoring import CommandScore, Labelled, score_commands

NUM_CONFUSIONS = 100


@dataclass(frozen=True)
class ScoringOptions:
    """Says how recognised utterances are scored."""

    min_repeats: int = 2  # a transcript spoken so often is listed as a command
    seed: int = 0  # of the bootstrap
    normalize: bool = False  # compare in lower case and without punctuation
    condition: str | None = None  # the manifest's field that names conditions; None: the usual ones


class EvaluationError(ValueError):
    """A manifest that gives nothing to score."""


def recognize_manifest(
    recognizer: Recognizer, manifest: Manifest, *, batch_size: int, normalize: bool = False
) -> tuple[list[ScoredUtterance], list[Failure]]:
    """Recognise every utterance; what cannot be read is a failure, in the order of the manifest.

    With `normalize`, references and transcripts are compared in lower case and without punctuation.
    """
    utterances = list(manifest)
    stretches = [item.stretch for item in utterances]
    outcomes = track(
        recognizer.transcribe_stretches(stretches, manifest.durations.tolist(), batch_size=batch_size),
        description="recognising",
        total=len(utterances),
        console=Console(stderr=True),
        transient=True,
    )
    heard, errors = {}, {}
    for outcome in outcomes:
        if outcome.transcription is None:
            errors[outcome.index] = Failure(utterances[outcome.index].id, str(outcome.error))
        else:
            heard[outcome.index] = outcome.transcription
    order = sorted(heard)
    scored = score([utterances[index] for index in order], [heard[index] for index in order], normalize=normalize)
    return scored, [errors[index] for index in sorted(errors)]


def score(
    utterances: Sequence[Utterance], transcriptions: Sequence[Transcription], *, normalize: bool = False
) -> list[ScoredUtterance]:
    """Align each transcription with its reference; with `normalize`, both as `normalize_transcript` makes them."""
    form = normalize_transcript if normalize else str
    references = [form(utterance.text) for utterance in utterances]
    hypotheses = [form(transcription.text) for transcription in transcriptions]
    alignments = align_words(references, hypotheses)
    characters = count_character_errors(references, hypotheses)
    return [
        ScoredUtterance(
            utterance,
            transcription,
            alignment,
            words=count_operations(alignment),
            characters=letters,
            reference=reference,
        )
        for utterance, transcription, alignment, letters, reference in zip(
            utterances, transcriptions, alignments, characters, references, strict=True
        )
    ]


def summarize(
    scored: list[ScoredUtterance],
    failures: list[Failure],
    *,
    recognizer: Recognizer,
    run: Path,
    manifest: Path,
    options: ScoringOptions,
) -> Evaluation:
    """Returns all totals. Raises EvaluationError where no utterance could be read."""
    if not scored:
        raise EvaluationError(
            f"{manifest}: none of its {len(failures)} utterances could be read; expected at least one. "
            f"The first: {failures[0].error}"
        )
    words, characters = [item.words for item in scored], [item.characters for item in scored]
    spoken = [item for item in scored if item.utterance.speaker is not None]
    repeats = Counter(item.reference for item in scored)
    commands = [item for item in scored if repeats[item.reference] >= options.min_repeats]
    judged = judge(scored, recognizer.commands, options) if recognizer.commands is not None else ()
    return Evaluation(
        run=str(run),
        manifest=str(manifest),
        utterances=scored,
        failures=failures,
        words=score_group(words),
        characters=score_group(characters),
        word_interval=bootstrap_interval(words, generator=np.random.default_rng(options.seed)),
        character_interval=bootstrap_interval(characters, generator=np.random.default_rng(options.seed)),
        speakers=score_groups([item.utterance.speaker or "" for item in spoken], [item.words for item in spoken]),
        commands=score_groups([item.reference for item in commands], [item.words for item in commands]),
        confusions=most_confused((item.alignment for item in scored), limit=NUM_CONFUSIONS),
        form_faults=find_form_faults(recognizer.tokenizer, (item.reference for item in scored)),
        normalized=options.normalize,
        understanding=score_commands([each.labelled for each in judged]) if recognizer.commands is not None else None,
        judged=judged,
    )


def judge(scored: list[ScoredUtterance], commands: CommandSearch, options: ScoringOptions) -> tuple[JudgedCommand, ...]:
    """Returns each utterance's label beside what was understood.

    The label is the manifest's `intent` and `slots`, or where it has none what its text means in the grammar.

    An utterance whose intent is null, or whose text is no command, is one that should not be understood.
    """
    judged = []
    for item in scored:
        label, result = item.utterance.extra, item.transcription.command
        assert result is not None
        if "intent" in label:
            intent, slots = label["intent"], label.get("slots") or {}
        else:
            meanings = commands.meanings(item.utterance.text)
            intent, slots = (meanings[0].intent, meanings[0].slots) if meanings else (None, {})
        if not isinstance(slots, dict) or not isinstance(intent, str | None):
            raise EvaluationError(
                f"utterance {item.utterance.id}: intent {intent!r} with slots {slots!r}; expected a name, and slots as "
                f'{{"name": "value"}}'
            )
        label = Labelled(intent, slots, result, item.utterance.duration)
        judged.append(JudgedCommand(item.utterance, label, condition_of(item.utterance, options.condition)))
    return tuple(judged)


def write_utterances(path: Path, evaluation: Evaluation) -> None:
    """Write a manifest of what was scored: each line of the input with `pred_text`, score and counts added.

    Commands have their verdict, and no errors of words where there are no transcripts.
    """
    verdicts = [each.verdict for each in evaluation.judged] or [None] * len(evaluation.utterances)
    write_manifest(
        path,
        (
            replace(item.utterance, extra={**item.utterance.extra, **_found(item, verdict, evaluation)})
            for item, verdict in zip(evaluation.utterances, verdicts, strict=True)
        ),
    )


def _found(item: ScoredUtterance, verdict: str | None, evaluation: Evaluation) -> dict[str, Any]:
    """Returns what a line of utterances.jsonl has beside the manifest's own keys."""
    found: dict[str, Any] = {"pred_text": item.transcription.text, "score": round(item.transcription.score, 6)}
    if evaluation.understanding is None or evaluation.has_transcripts:
        found |= {"word_errors": asdict(item.words), "character_errors": asdict(item.characters)}
    if item.transcription.command is not None:
        found |= {"verdict": verdict, "command": item.transcription.command.to_dict()}
    return found


def write_results(path: Path, evaluation: Evaluation) -> None:
    """Write every figure, for other programs; a rate over no words is null.

    Of commands whose manifest has no transcripts there are no figures of words.
    """
    results: dict[str, Any] = {
        "run": evaluation.run,
        "manifest": evaluation.manifest,
        "num_utterances": evaluation.words.num_utterances,
        "num_failed": len(evaluation.failures),
        "duration": round(evaluation.duration, 3),
    }
    if evaluation.understanding is not None:
        results["understanding"] = _understanding(evaluation.understanding, evaluation.judged)
    if evaluation.understanding is None or evaluation.has_transcripts:
        results |= _word_results(evaluation)
    results["failures"] = [asdict(failure) for failure in evaluation.failures]
    write_text(path, json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def evaluated_manifest(results: Path) -> str | None:
    """Returns the manifest that a results.json is of, as it was given; None where there is no such file."""
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    manifest = found.get("manifest") if isinstance(found, dict) else None
    return manifest if isinstance(manifest, str) else None


def _understanding(score: CommandScore, judged: Sequence[JudgedCommand]) -> dict[str, Any]:
    """Returns the figures of commands, and where they go wrong."""
    return {
        "verdicts": count_verdicts(judged),
        **asdict(score),
        "slot_values": [asdict(each) for each in slot_values(judged)],
        "by_condition": {name: _acceptance(each) for name, each in score_by(judged, by_condition).items()},
        "by_speaker": {name: _acceptance(each) for name, each in score_by(judged, by_speaker).items()},
    }


def _acceptance(score: CommandScore) -> dict[str, Any]:
    shares = {"accepted": score.accepted, "guessed": score.guessed, "understood": score.understood}
    return {
        **{name: asdict(share) for name, share in shares.items()},
        "false_accepts": asdict(score.false_accepts),
        "other_hours": score.other_hours,
    }


def _word_results(evaluation: Evaluation) -> dict[str, Any]:
    results = {
        "normalized": evaluation.normalized,
        "num_exact": evaluation.words.num_exact,
        "wer": _rate(evaluation.words.counts, evaluation.word_interval),
        "cer": _rate(evaluation.characters.counts, evaluation.character_interval),
        "speakers": {name: _group(group) for name, group in evaluation.speakers.items()},
        "commands": {name: _group(group) for name, group in evaluation.commands.items()},
        "confusions": [asdict(confusion) for confusion in evaluation.confusions],
        "form_faults": [asdict(fault) for fault in evaluation.form_faults],
        "confidence": _confidence(evaluation.utterances),
    }
    return results | ({"hallucinated": asdict(evaluation.hallucinated)} if evaluation.hallucinated is not None else {})


def calibrate_words(folder: RunFolder, recognizer: Recognizer, scored: Sequence[ScoredUtterance]) -> WordCalibration:
    """Fit the confidence of words on what was heard without one, and keep it in the run folder for this decoding.

    Raises ConfidenceError where no word is right, or none wrong.
    """
    posteriors, is_right, utterances = _heard_words(scored)
    calibration = fit_words(posteriors, is_right, utterances=utterances)
    model = str(folder.read_record().get("model"))
    save_calibration(folder.path, calibration, decoding=recognizer.decoding_key, model=model)
    return calibration


def _heard_words(
    scored: Sequence[ScoredUtterance],
) -> tuple[Float[np.ndarray, " word"], Bool[np.ndarray, " word"], list[int]]:
    """Returns the confidence of each word that was heard, whether it was said, and the number of its utterance."""
    confidences, is_right, utterances = [], [], []
    for number, item in enumerate(scored):
        heard = [operation for operation in item.alignment if operation.hypothesis]
        for word, operation in zip(item.transcription.words, heard, strict=True):
            confidences.append(word.confidence)
            is_right.append(operation.reference == operation.hypothesis)
            utterances.append(number)
    return np.array(confidences, dtype=np.float64), np.array(is_right, dtype=bool), utterances


def _confidence(scored: Sequence[ScoredUtterance]) -> dict[str, Any]:
    """Returns how far the confidences of words are from the shares that are right."""
    confidences, is_right, _ = _heard_words(scored)
    bins = reliability(confidences, is_right)
    return {
        "num_words": len(confidences),
        "error": round(calibration_error(confidences, is_right), 6),
        "bins": [{"confidence": mean, "right": right, "num_words": number} for mean, right, number in bins],
    }


def _rate(counts: ErrorCounts, interval: Interval) -> dict[str, Any]:
    low, high = (value if math.isfinite(value) else None for value in (interval.low, interval.high))
    return {**_counts(counts), "low": low, "high": high}


def _group(group: GroupScore) -> dict[str, Any]:
    return {"num_utterances": group.num_utterances, "num_exact": group.num_exact, **_counts(group.counts)}


def _counts(counts: ErrorCounts) -> dict[str, Any]:
    return {"rate": counts.rate if math.isfinite(counts.rate) else None, **asdict(counts)}
