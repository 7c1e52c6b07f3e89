"""The threshold of a run for a grammar, found on recordings: from which score on a command counts as understood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.stretch import Stretch
from asr.data.manifest import Manifest, Utterance
from asr.files.replacing import distinct_names
from asr.fitting.hearing import cut_stretches, is_understood_right, understand
from asr.fitting.second_opinion import open_second_opinion
from asr.grammar.templates import load_grammar
from asr.recognition.confidence import reliability
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.understanding.autoencoder import SecondOpinion
from asr.understanding.label_priors import load_priors
from asr.understanding.rejection import (
    Evidence,
    Rejection,
    RejectionError,
    count_false_accepts,
    detection_curve,
    find_margin,
    find_threshold,
    fit_confidence,
    hours_needed,
    recall_of,
    save_rejection,
)
from asr.understanding.result import CommandResult, CommandSearch

SHORTEST_WINDOW = 0.5  # seconds
NUM_WORST = 5
ALONE, TOGETHER = "by the model alone", "with the second opinion"


@dataclass(frozen=True)
class Judgement:
    """A threshold with the figures behind it."""

    rejection: Rejection
    curve: list[tuple[float, float, float]]  # threshold, false accepts an hour, share of positives missed
    bins: list[tuple[float, float, int]]  # mean confidence, share right, recordings; empty without positives


@dataclass(frozen=True)
class NegativeSource:
    """Is one manifest of negatives, of which false accepts come."""

    name: str
    num_accepted: int
    hours: float


@dataclass(frozen=True)
class Calibration:
    """Holds what was found, and by what."""

    judgements: dict[str, Judgement]  # by the model alone, and where there is one with the second opinion
    kept: str  # the one of them that the run keeps
    path: Path
    num_negatives: int  # pieces
    num_left_out: int  # of the negatives, as they are commands
    num_positives: int  # heard right or wrong
    sources: list[NegativeSource]
    worst: list[tuple[float, str, str]]  # confidence, recording and sentence of the most convincing negatives
    errors: list[str]
    target: float  # false accepts an hour that were asked for

    @property
    def rejection(self) -> Rejection:
        return self.judgements[self.kept].rejection

    def summary(self) -> Iterator[str]:
        found = self.rejection
        assert found.hours
        assert found.false_accepts_per_hour is not None
        number = round(found.false_accepts_per_hour * found.hours)
        yield (
            f"threshold {found.threshold:.4f}: {number:,} false accepts in {found.hours:.2f} h, {self.num_negatives:,} "
            f"pieces; at most {found.upper_false_accepts_per_hour:.2f} an hour with 95 % confidence"
        )
        yield self._what_is_shown(number)
        if len(self.sources) > 1:
            shares = (f"{each.name} {each.num_accepted:,} in {each.hours:.2f} h" for each in self.sources)
            yield f"false accepts by manifest: {', '.join(shares)}"
        if self.num_left_out:
            yield f"{self.num_left_out:,} of the negatives are commands of this grammar: left out"
        if found.recall is not None:
            yield (
                f"{found.recall:.1%} of {found.num_positives:,} commands that were heard right are understood; "
                f"{self.num_positives - found.num_positives:,} were heard wrong, of which {found.num_wrong:,} are "
                f"understood as another command"
            )
        if found.min_margin:
            yield f"what is understood has a margin of at least {found.min_margin:.2f} to any other meaning"
        if len(self.judgements) > 1:
            if not self.judgements[TOGETHER].rejection.familiarity_weight:
                yield "the second opinion has no weight: it says nothing here that the model does not"
            shares = [f"{each.rejection.recall:.1%} {name}" for name, each in self.judgements.items()]
            yield f"understood: {', '.join(shares)}; kept: {self.kept}"

    def _what_is_shown(self, num_accepted: int) -> str:
        """Says whether these hours show the rate that was asked for, and how many would."""
        upper, hours = self.rejection.upper_false_accepts_per_hour, self.rejection.hours
        assert upper is not None
        assert hours is not None
        if upper <= self.target:
            return f"{self.target:g} an hour, as asked, is shown with 95 % confidence"
        if not self.target:
            return "0 an hour, as asked, is shown by no number of hours; more of them only lower the bound"
        enough = f"{hours_needed(self.target):.1f} h of negatives without a false accept (3 / {self.target:g})"
        if num_accepted:
            enough += f", or {hours_needed(self.target, num_accepted=num_accepted):.1f} h with {num_accepted:,}"
        return f"{self.target:g} an hour, as asked, is not shown by {hours:.2f} h: that takes {enough}"

    def lines(self) -> Iterator[str]:
        yield from self.summary()
        kept = self.judgements[self.kept]
        if kept.curve:
            yield "threshold   false accepts/h   commands missed"
            step = max(1, len(kept.curve) // 10)
            for threshold, rate, missed in kept.curve[: 10 * step : step]:
                yield f"{threshold:9.4f}   {rate:15.2f}   {missed:15.1%}"
            yield "confidence   right   recordings"
            for confidence, right, number in kept.bins:
                yield f"{confidence:10.2f}   {right:5.1%}   {number:10,}"
        for score, recording, sentence in self.worst:
            yield f"most like a command: {score:.3f} {recording}: {sentence}"
        yield f"kept in {self.path}"


@dataclass(frozen=True)
class _Heard:
    """Holds what was understood of the negatives and the positives."""

    against: list[Evidence]  # of the negatives in which anything was heard: silence is never understood
    hours: float  # of all negatives
    spoken: list[Evidence] | None  # of the positives, where there are some
    is_right: list[bool]  # of each of `spoken`

    def judge(self, *, false_accepts_per_hour: float, wrong_commands: float | None = None) -> Judgement:
        rejection, evidence = Rejection(), [*(self.spoken or ()), *self.against]
        is_right = np.array([*self.is_right, *[False] * len(self.against)])
        if self.spoken is not None:
            is_command = np.arange(len(evidence)) < len(self.spoken)
            rejection = fit_confidence(rejection, evidence, is_right, is_command=is_command)
        rejection = find_threshold(
            rejection, self.against, hours=self.hours, false_accepts_per_hour=false_accepts_per_hour
        )
        if self.spoken is None:
            return Judgement(rejection, [], [])
        if wrong_commands is not None:
            right_ones = np.array(self.is_right, dtype=bool)
            rejection = find_margin(rejection, self.spoken, right_ones, wrong_share=wrong_commands)
            rejection = count_false_accepts(rejection, self.against, hours=self.hours)
        right = [each for each, is_so in zip(self.spoken, self.is_right, strict=True) if is_so]
        wrong = [each for each, is_so in zip(self.spoken, self.is_right, strict=True) if not is_so]
        rejection = replace(recall_of(rejection, right), num_wrong=sum(map(rejection.accepts, wrong)))
        odds = [[_odds(rejection, one) for one in each] for each in (right, self.against)]
        bins = reliability(np.array([rejection.confidence(each) for each in evidence]), is_right)
        return Judgement(rejection, detection_curve(*odds, hours=self.hours), bins)

    def without_second_opinion(self) -> _Heard:
        def alone(some: list[Evidence]) -> list[Evidence]:
            return [replace(each, familiarity=0.0) for each in some]

        return replace(self, against=alone(self.against), spoken=None if self.spoken is None else alone(self.spoken))


def calibrate(
    run: Path,
    grammar_path: Path,
    *,
    negatives: Sequence[Path],
    positives: Sequence[Path],
    false_accepts_per_hour: float,
    window: float,
    second_opinion: bool = False,
    wrong_commands: float | None = None,
) -> Calibration:
    """Find the threshold on manifests without commands, and keep it in the run; with some of commands, also how sure.

    What is a command of the grammar by its text or label is left out of the negatives. Long ones are cut into pieces
    of `window` seconds, as an assistant hears them: each is a chance to be wrong. A second opinion is kept only where
    more commands are understood with it at the same false accepts. With `wrong_commands`, what is understood needs a
    margin too: at most this share of the understood positives is then another command than was said.
    """
    _check_options(positives, window=window, second_opinion=second_opinion, wrong_commands=wrong_commands)
    folder, grammar = RunFolder(run), load_grammar(grammar_path)
    recognizer = Recognizer.load(run)
    second = open_second_opinion(run) if second_opinion else None
    search = CommandSearch(grammar, recognizer.tokenizer, num_best=1, second_opinion=second, priors=load_priors(folder))
    recognizer = recognizer.with_commands(search)
    names = distinct_names(negatives)
    others_read = [(name, item) for name, path in zip(names, negatives) for item in Manifest.read(path)]
    without = [(name, item) for name, item in others_read if not _is_command(item, search)]
    named_pieces = [(name, stretch) for name, item in without for stretch in cut_stretches(item, window)]
    pieces = [piece for _, piece in named_pieces]
    others, errors = understand(recognizer, pieces)
    items = [item for path in positives for item in Manifest.read(path)]
    commands, more = understand(recognizer, [item.stretch for item in items])
    heard = _Heard(
        against=[result.evidence for result in others.values() if result.heard],
        hours=sum(pieces[index].duration or 0.0 for index in others) / 3600,
        spoken=[result.evidence for result in commands.values()] if positives else None,
        is_right=[is_understood_right(items[index], result) for index, result in commands.items()],
    )
    targets = {"false_accepts_per_hour": false_accepts_per_hour, "wrong_commands": wrong_commands}
    judgements = _judgements(heard, second, **targets)
    kept = max(judgements, key=lambda name: judgements[name].rejection.recall or 0.0)  # the first of equals
    rejection = judgements[kept].rejection
    model = folder.search_digest()
    return Calibration(
        judgements=judgements,
        kept=kept,
        path=save_rejection(run, rejection, grammar=grammar.digest, model=model),
        num_negatives=len(others),
        num_left_out=len(others_read) - len(without),
        num_positives=len(commands),
        sources=_sources(rejection, [(*named_pieces[index], result) for index, result in others.items()]),
        worst=_worst(rejection, {pieces[index]: result for index, result in others.items()}),
        errors=[*errors, *more],
        target=false_accepts_per_hour,
    )


def _check_options(
    positives: Sequence[Path], *, window: float, second_opinion: bool, wrong_commands: float | None
) -> None:
    """Raises RejectionError for options that are out of range, or that need recordings of commands."""
    if window < SHORTEST_WINDOW:
        raise RejectionError(f"--window: {window:g} seconds; expected at least {SHORTEST_WINDOW}")
    if wrong_commands is not None and not positives:
        raise RejectionError(
            "--wrong-commands: no --positives; expected commands, to see how many are taken for others"
        )
    if second_opinion and not positives:
        raise RejectionError("--second-opinion: no --positives; expected commands, to see how much it is worth")


def _judgements(heard: _Heard, second: SecondOpinion | None, **targets: Any) -> dict[str, Judgement]:
    found = {ALONE: heard.without_second_opinion().judge(**targets)}
    if second is not None:
        both = heard.judge(**targets)
        found[TOGETHER] = replace(both, rejection=replace(both.rejection, autoencoder=second.digest))
    return found


def _odds(rejection: Rejection, evidence: Evidence) -> float:
    """Returns the log odds; minus infinity below the margin, where no threshold accepts it."""
    return rejection.log_odds(evidence) if evidence.margin >= rejection.min_margin else -np.inf


def _sources(rejection: Rejection, others: Sequence[tuple[str, Stretch, CommandResult]]) -> list[NegativeSource]:
    """False accepts with this threshold, and hours, of each manifest."""
    accepted: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for name, stretch, result in others:
        accepted[name] += bool(result.heard) and rejection.accepts(result.evidence)
        seconds[name] += stretch.duration or 0.0
    return [NegativeSource(name, accepted[name], duration / 3600) for name, duration in seconds.items()]


def _worst(rejection: Rejection, others: Mapping[Stretch, CommandResult]) -> list[tuple[float, str, str]]:
    """Confidence, recording and sentence of those without a command that are most like one."""
    found = [
        (rejection.confidence(result.evidence), stretch.path, result.guesses[0].text)
        for stretch, result in others.items()
        if result.heard and result.guesses
    ]
    return sorted(found, key=lambda each: -each[0])[:NUM_WORST]


def _is_command(item: Utterance, search: CommandSearch) -> bool:
    """Returns whether it is a command, by its label or by its text."""
    return item.extra.get("intent") is not None or bool(item.text and search.meanings(item.text))
