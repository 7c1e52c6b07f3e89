"""A run scored on a manifest: every utterance recognised and aligned, all totals, and their files."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track

from asr.checkpoint import write_text
from asr.commands.scoring import CommandScore, Labelled, score_commands
from asr.commands.understanding import CommandSearch
from asr.confidence import WordCalibration, calibration_error, fit_words, reliability, save_calibration
from asr.manifest import Manifest, Utterance, write_manifest
from asr.metrics import (
    ErrorCounts,
    GroupScore,
    Interval,
    align_words,
    bootstrap_interval,
    count_character_errors,
    count_operations,
    most_confused,
    score_group,
    score_groups,
)
from asr.recognizer import Recognizer, Stretch, Transcription
from asr.report import Evaluation, Failure, ScoredUtterance
from asr.run import RunFolder

NUM_CONFUSIONS = 100


class EvaluationError(ValueError):
    """A manifest that gives nothing to score."""


def recognize_manifest(
    recognizer: Recognizer, manifest: Manifest, *, batch_size: int
) -> tuple[list[ScoredUtterance], list[Failure]]:
    """Recognise every utterance; what cannot be read is a failure, in the order of the manifest."""
    utterances = list(manifest)
    stretches = [Stretch(Path(item.audio_filepath), item.offset, item.duration) for item in utterances]
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
    scored = score([utterances[index] for index in order], [heard[index] for index in order])
    return scored, [errors[index] for index in sorted(errors)]


def score(utterances: Sequence[Utterance], transcriptions: Sequence[Transcription]) -> list[ScoredUtterance]:
    """Align each transcription with its reference."""
    references = [utterance.text for utterance in utterances]
    hypotheses = [transcription.text for transcription in transcriptions]
    alignments = align_words(references, hypotheses)
    characters = count_character_errors(references, hypotheses)
    return [
        ScoredUtterance(utterance, transcription, alignment, words=count_operations(alignment), characters=letters)
        for utterance, transcription, alignment, letters in zip(
            utterances, transcriptions, alignments, characters, strict=True
        )
    ]


def summarize(
    scored: list[ScoredUtterance],
    failures: list[Failure],
    *,
    recognizer: Recognizer,
    run: Path,
    manifest: Path,
    min_repeats: int = 2,
    seed: int = 0,
) -> Evaluation:
    """All totals. Raises EvaluationError where no utterance could be read.

    A transcript spoken `min_repeats` times is listed as a command; `seed` is that of the bootstrap.
    """
    if not scored:
        raise EvaluationError(
            f"{manifest}: none of its {len(failures)} utterances could be read; expected at least one. "
            f"The first: {failures[0].error}"
        )
    words, characters = [item.words for item in scored], [item.characters for item in scored]
    spoken = [item for item in scored if item.utterance.speaker is not None]
    repeats = Counter(item.utterance.text for item in scored)
    commands = [item for item in scored if repeats[item.utterance.text] >= min_repeats]
    return Evaluation(
        run=str(run),
        manifest=str(manifest),
        utterances=scored,
        failures=failures,
        words=score_group(words),
        characters=score_group(characters),
        word_interval=bootstrap_interval(words, generator=np.random.default_rng(seed)),
        character_interval=bootstrap_interval(characters, generator=np.random.default_rng(seed)),
        speakers=score_groups([item.utterance.speaker or "" for item in spoken], [item.words for item in spoken]),
        commands=score_groups([item.utterance.text for item in commands], [item.words for item in commands]),
        confusions=most_confused((item.alignment for item in scored), limit=NUM_CONFUSIONS),
        unknown_characters=_count_unknown(recognizer, (item.utterance.text for item in scored)),
        understanding=_score_commands(scored, recognizer.commands) if recognizer.commands is not None else None,
    )


def _score_commands(scored: list[ScoredUtterance], commands: CommandSearch) -> CommandScore:
    """By the manifest's `intent` and `slots`, or where it has none by what its text means in the grammar.

    An utterance whose intent is null, or whose text is no command, is one that should not be understood.
    """
    labelled = []
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
        labelled.append(Labelled(intent, slots, result, item.utterance.duration))
    return score_commands(labelled)


def _count_unknown(recognizer: Recognizer, texts: Iterable[str]) -> dict[str, int]:
    """Characters that no transcript of this recogniser can hold, most frequent first."""
    characters = Counter(character for text in texts for character in text)
    unknown = recognizer.tokenizer.unknown_characters("".join(characters))
    return {character: number for character, number in characters.most_common() if character in unknown}


def write_utterances(path: Path, evaluation: Evaluation) -> None:
    """A manifest of what was scored: each line of the input with `pred_text`, score and counts added."""
    write_manifest(
        path,
        (
            replace(
                item.utterance,
                extra={
                    **item.utterance.extra,
                    "pred_text": item.transcription.text,
                    "score": round(item.transcription.score, 6),
                    "word_errors": asdict(item.words),
                    "character_errors": asdict(item.characters),
                    **({"command": item.transcription.command.to_dict()} if item.transcription.command else {}),
                },
            )
            for item in evaluation.utterances
        ),
    )


def write_results(path: Path, evaluation: Evaluation) -> None:
    """Every figure, for other programs; a rate over no words is null."""
    results = {
        "run": evaluation.run,
        "manifest": evaluation.manifest,
        "num_utterances": evaluation.words.num_utterances,
        "num_failed": len(evaluation.failures),
        "num_exact": evaluation.words.num_exact,
        "duration": round(evaluation.duration, 3),
        "wer": _rate(evaluation.words.counts, evaluation.word_interval),
        "cer": _rate(evaluation.characters.counts, evaluation.character_interval),
        "speakers": {name: _group(group) for name, group in evaluation.speakers.items()},
        "commands": {name: _group(group) for name, group in evaluation.commands.items()},
        "confusions": [asdict(confusion) for confusion in evaluation.confusions],
        "unknown_characters": evaluation.unknown_characters,
        "confidence": _confidence(evaluation.utterances),
        "failures": [asdict(failure) for failure in evaluation.failures],
    }
    if evaluation.invented is not None:
        results["invented"] = asdict(evaluation.invented)
    if evaluation.understanding is not None:
        results["understanding"] = asdict(evaluation.understanding)
    write_text(path, json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


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
    """The confidence of each word that was heard, whether it was said, and the number of its utterance."""
    confidences, is_right, utterances = [], [], []
    for number, item in enumerate(scored):
        heard = [operation for operation in item.alignment if operation.hypothesis]
        for word, operation in zip(item.transcription.words, heard, strict=True):
            confidences.append(word.confidence)
            is_right.append(operation.reference == operation.hypothesis)
            utterances.append(number)
    return np.array(confidences, dtype=np.float64), np.array(is_right, dtype=bool), utterances


def _confidence(scored: Sequence[ScoredUtterance]) -> dict[str, Any]:
    """How far the confidences of words are from the shares that are right."""
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
