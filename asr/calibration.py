"""The threshold of a run for a grammar, found on recordings: from which score on a command counts as understood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.commands.rejection import (
    Evidence,
    Rejection,
    RejectionError,
    detection_curve,
    find_threshold,
    fit_confidence,
    recall_of,
    save_rejection,
)
from asr.commands.scoring import Labelled
from asr.commands.templates import load_grammar
from asr.commands.understanding import CommandResult, CommandSearch
from asr.confidence import reliability
from asr.manifest import Manifest, Utterance
from asr.recognizer import Recognizer, Stretch
from asr.run import RunFolder

SHORTEST_WINDOW = 0.5  # seconds


@dataclass(frozen=True)
class Calibration:
    """What was found, and the figures behind it."""

    rejection: Rejection
    path: Path
    num_negatives: int
    curve: list[tuple[float, float, float]]  # threshold, false accepts an hour, share of positives missed
    bins: list[tuple[float, float, int]]  # mean confidence, share right, recordings; empty without positives
    worst: list[tuple[float, str, str]]  # confidence, recording and sentence of the most convincing negatives
    errors: list[str]

    def lines(self) -> Iterator[str]:
        found = self.rejection
        yield (
            f"threshold {found.threshold:.4f}: {found.false_accepts_per_hour:.2f} false accepts an hour on "
            f"{found.hours:.2f} h in {self.num_negatives:,} pieces (at most {found.upper_false_accepts_per_hour:.2f} "
            f"with 95 % confidence)"
        )
        if found.recall is not None:
            yield f"{found.recall:.1%} of {found.num_positives:,} commands that were heard right are understood"
            yield "threshold   false accepts/h   commands missed"
            step = max(1, len(self.curve) // 10)
            for threshold, rate, missed in self.curve[: 10 * step : step]:
                yield f"{threshold:9.4f}   {rate:15.2f}   {missed:15.1%}"
            yield "confidence   right   recordings"
            for confidence, right, number in self.bins:
                yield f"{confidence:10.2f}   {right:5.1%}   {number:10,}"
        for score, recording, sentence in self.worst:
            yield f"most like a command: {score:.3f} {recording}: {sentence}"
        yield f"kept in {self.path}"


def calibrate(
    run: Path,
    grammar_path: Path,
    *,
    negatives: Path,
    positives: Path | None,
    false_accepts_per_hour: float,
    window: float,
) -> Calibration:
    """Find the threshold on a manifest without commands, and keep it in the run; with one of commands, also how sure.

    Long negatives are cut into pieces of `window` seconds, as an assistant hears them: each is a chance to be wrong.
    """
    if window < SHORTEST_WINDOW:
        raise RejectionError(f"--window: {window:g} seconds; expected at least {SHORTEST_WINDOW}")
    folder, grammar = RunFolder(run), load_grammar(grammar_path)
    recognizer = Recognizer.load(run)
    recognizer.commands = CommandSearch(grammar, recognizer.tokenizer, num_best=1)
    pieces = [
        Stretch(Path(item.audio_filepath), item.offset + start, length)
        for item in Manifest.read(negatives)
        for start, length in _cut(item.duration, window)
    ]
    others, errors = _understand(recognizer, pieces)
    hours = sum(pieces[index].duration or 0.0 for index in others) / 3600
    heard = {index: result for index, result in others.items() if result.heard}  # silence is never understood
    against = [_evidence(result) for result in heard.values()]
    rejection = Rejection()
    items = list(Manifest.read(positives)) if positives is not None else []
    commands, more = _understand(recognizer, [_whole(item) for item in items])
    errors += more
    spoken = [_evidence(result) for result in commands.values()]
    is_right = np.array(
        [*(_is_right(items[index], result) for index, result in commands.items()), *[False] * len(against)]
    )
    evidence = [*spoken, *against]
    if positives is not None:
        rejection = fit_confidence(rejection, evidence, is_right)
    rejection = find_threshold(rejection, against, hours=hours, false_accepts_per_hour=false_accepts_per_hour)
    curve, bins = [], []
    if positives is not None:
        right = [each for each, is_so in zip(evidence, is_right.tolist(), strict=True) if is_so]
        rejection = recall_of(rejection, right)
        odds = [list(map(rejection.log_odds, each)) for each in (right, against)]
        curve = detection_curve(*odds, hours=hours)
        bins = reliability(np.array([rejection.confidence(each) for each in evidence]), is_right)
    model = str(folder.read_record().get("model"))
    path = save_rejection(run, rejection, grammar=grammar.digest, model=model)
    order = sorted(heard, key=lambda index: -heard[index].confidence)[:5]
    worst = [
        (rejection.confidence(_evidence(heard[i])), str(pieces[i].path), heard[i].guesses[0].text)
        for i in order
        if heard[i].guesses
    ]
    return Calibration(rejection, path, len(others), curve, bins, worst, errors)


def _evidence(result: CommandResult) -> Evidence:
    return Evidence(result.score, result.certainty)


def _cut(duration: float, window: float) -> Iterator[tuple[float, float]]:
    """Start and length of equal pieces, none longer than the window."""
    number = max(1, int(np.ceil(duration / window - 1e-6)))
    for piece in range(number):
        yield piece * duration / number, duration / number


def _whole(item: Utterance) -> Stretch:
    return Stretch(Path(item.audio_filepath), item.offset, item.duration)


def _understand(recognizer: Recognizer, stretches: Sequence[Stretch]) -> tuple[dict[int, CommandResult], list[str]]:
    """The result of each stretch that can be read, and why the others cannot."""
    results: dict[int, CommandResult] = {}
    errors: list[str] = []
    durations = [stretch.duration or 0.0 for stretch in stretches]
    for outcome in recognizer.transcribe_stretches(stretches, durations):
        if outcome.transcription is not None and outcome.transcription.command is not None:
            results[outcome.index] = outcome.transcription.command
        else:
            errors.append(str(outcome.error))
    return dict(sorted(results.items())), errors


def _is_right(item: Utterance, result: CommandResult) -> bool:
    """By intent and slots where the manifest has them, else by the text."""
    if "intent" in item.extra:
        return Labelled(item.extra["intent"], item.extra.get("slots") or {}, result, item.duration).is_guessed
    return bool(result.guesses) and result.guesses[0].text == item.text
