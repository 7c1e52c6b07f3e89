"""Thresholds of a run for grammars of any kind, by their number of sentences: small ones are drawn from a large one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from asr.audio.reading import AudioError
from asr.data.manifest import Manifest, Utterance
from asr.fitting.hearing import cut_stretches
from asr.fitting.transcripts import hear
from asr.grammar.grammar import Arc, Grammar, Mark, TemplateFacts
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.tracking.bars import tracked
from asr.understanding.label_priors import load_priors
from asr.understanding.rejection import Evidence, Rejection, RejectionError, find_threshold, fit_confidence, recall_of
from asr.understanding.result import CommandSearch
from asr.understanding.search import Scores
from asr.understanding.sizes import save_rejections_by_size

LARGEST_DRAW = 20_000  # sentences one by one make a graph that shares little; a template's ways share nearly all
NUM_DRAWS = 5


@dataclass(frozen=True)
class SizeRow:
    """The threshold for grammars of one size, and what it was measured on."""

    num_sentences: int
    rejection: Rejection
    num_grammars: int
    num_positives: int
    num_right: int

    def line(self) -> str:
        found = self.rejection
        recall = "-" if found.recall is None else f"{found.recall:.1%} of {self.num_right:,}"
        right = f"{self.num_right:,} of {self.num_positives:,}" if self.num_positives else "-"
        return (
            f"{self.num_sentences:>15,}  {found.threshold:9.4f}  {found.false_accepts_per_hour:8.2f}  "
            f"{found.upper_false_accepts_per_hour:8.2f}  {found.hours:6.2f}  {self.num_grammars:8,}  {right:>14}  "
            f"{recall:>16}"
        )


@dataclass(frozen=True)
class SizeCalibration:
    """A row for each size, and what could not be read."""

    rows: list[SizeRow]
    path: Path
    errors: list[str]

    def lines(self) -> Iterator[str]:
        yield "      sentences  threshold  accept/h   at most   hours  grammars  heard right       understood"
        yield from (row.line() for row in self.rows)
        yield "accept/h: false accepts an hour of the negatives; at most: with 95 % confidence"
        yield f"kept in {self.path}"


@dataclass
class _Measured:
    """Holds what was understood with the grammars of one size."""

    against: list[Evidence] = field(default_factory=list)  # of negatives in which anything was heard
    hours: float = 0.0
    spoken: list[Evidence] = field(default_factory=list)
    is_right: list[bool] = field(default_factory=list)
    num_grammars: int = 0


@dataclass(frozen=True)
class _Recording:
    """A recording as the model hears it."""

    item: Utterance
    scores: Scores
    hours: float


def calibrate_sizes(
    run: Path,
    grammar_path: Path,
    *,
    sizes: Sequence[int | None],
    negatives: Sequence[Path],
    positives: Sequence[Path],
    false_accepts_per_hour: float,
    window: float,
) -> SizeCalibration:
    """Finds a threshold for each size, and keeps them in the run for grammars that have none of their own.

    A size is a number of sentences, which are drawn from the grammar NUM_DRAWS times, with the sentences of positives
    among them; None is the whole grammar. Each recording is heard once, and searched with every grammar.
    """
    grammar = load_grammar(grammar_path)
    recognizer, folder = Recognizer.load(run), RunFolder(run)
    priors, errors = load_priors(folder), list[str]()
    others = list(_heard(recognizer, negatives, window, errors))
    commands = list(_heard(recognizer, positives, None, errors))
    measured: dict[int, _Measured] = {}
    for size, drawn in _grammars(grammar, sizes, [each.item.text for each in commands]):
        search = CommandSearch(drawn, recognizer.tokenizer, num_best=1, priors=priors)
        number = search.graph.num_sentences if size is None else size
        _measure(search, others, commands, measured.setdefault(number, _Measured()))
    rejection = _weights(measured)
    rows = [_row(number, each, rejection, false_accepts_per_hour) for number, each in sorted(measured.items())]
    kept = {row.num_sentences: row.rejection for row in rows}
    return SizeCalibration(rows, save_rejections_by_size(run, kept, model=folder.search_digest()), errors)


def read_sizes(text: str) -> list[int | None]:
    """Returns the sizes of "10,1000,all", None for all. Raises RejectionError for what is none."""
    found: list[int | None] = []
    for part in text.split(","):
        name = part.strip().replace("_", "")
        if name != "all" and not (name.isdecimal() and 0 < int(name[:9]) <= LARGEST_DRAW and len(name) < 9):
            raise RejectionError(
                f"--sizes: '{part}'; expected numbers of sentences up to {LARGEST_DRAW:,}, and all for the whole "
                f"grammar, such as 10,1000,all"
            )
        found.append(None if name == "all" else int(name))
    return found


def _heard(
    recognizer: Recognizer, manifests: Sequence[Path], window: float | None, errors: list[str]
) -> Iterator[_Recording]:
    """Yields what the model hears of each recording, in pieces no longer than the window."""
    items = [item for path in manifests for item in Manifest.read(path)]
    pieces = [
        replace(item, offset=stretch.offset, duration=stretch.duration or 0.0)
        for item in items
        for stretch in (cut_stretches(item, window) if window is not None else [item.stretch])
    ]
    for piece in tracked(pieces, "recognising", total=len(pieces)):
        try:
            scores = hear(recognizer, piece).scores[0].numpy()
        except AudioError as error:
            errors.append(str(error))
            continue
        yield _Recording(piece, scores, piece.duration / 3600)


def _grammars(
    grammar: Grammar, sizes: Sequence[int | None], spoken: Sequence[str]
) -> Iterator[tuple[int | None, Grammar]]:
    """Yields each grammar with its size: sentences of the recordings in turn, filled up with drawn ones."""
    sampler = Sampler(grammar) if any(sizes) else None
    texts = list(dict.fromkeys(text for text in spoken if text))
    for size in sizes:
        if size is None:
            yield None, grammar
            continue
        assert sampler is not None
        if sampler.num_sentences < size:
            raise RejectionError(
                f"--sizes: {size:,}; {grammar.path} has {sampler.num_sentences:,} sentences; expected a grammar of "
                f"as many, such as conf/commands/home.yaml"
            )
        for draw in range(NUM_DRAWS):
            rng = np.random.default_rng([size, draw])
            start = draw * size % max(1, len(texts))
            chosen = dict.fromkeys([*texts[start:], *texts[:start]][:size])
            while len(chosen) < size:
                for command in sampler.sample(size, min_count=0, rng=rng):
                    if len(chosen) < size:
                        chosen[command.text] = None
            yield size, _list_of(list(chosen), grammar)


def _list_of(texts: Sequence[str], grammar: Grammar) -> Grammar:
    """Returns a grammar of these sentences, each with a meaning of its own."""
    templates = {
        ("phrase", number): TemplateFacts(place=str(grammar.path), slots={"sentence": text})
        for number, text in enumerate(texts)
    }
    said = tuple(Arc(2, text, Mark("template", "phrase", number)) for number, text in enumerate(texts))
    arcs = ((Arc(1, "", Mark("intent", "phrase")),), said, ())
    used = {word for text in texts for word in text.split()}
    return replace(
        grammar,
        digest="",
        arcs=arcs,
        templates=templates,
        skip_words=(),
        pronunciations=tuple(each for each in grammar.pronunciations if each.word in used),
    )


def _measure(
    search: CommandSearch, others: Sequence[_Recording], commands: Sequence[_Recording], into: _Measured
) -> None:
    """Adds what this grammar understands of all recordings; negatives that are its sentences are left out."""
    into.num_grammars += 1
    for other in tracked(others, "searching", total=len(others)):
        if other.item.text and search.meanings(other.item.text):
            continue
        into.hours += other.hours
        found = search.understand(other.scores, seconds_per_encoding=1.0)
        if found.heard:
            into.against.append(found.evidence)
    for command in commands:
        if search.meanings(command.item.text):
            found = search.understand(command.scores, seconds_per_encoding=1.0)
            into.spoken.append(found.evidence)
            into.is_right.append(bool(found.guesses) and found.guesses[0].text == command.item.text)


def _weights(measured: dict[int, _Measured]) -> Rejection:
    """Returns the weights of the evidence and how sure it is, from all sizes together; a guess without positives."""
    if not any(each.spoken for each in measured.values()):
        return Rejection()
    spoken = [one for each in measured.values() for one in each.spoken]
    against = [one for each in measured.values() for one in each.against]
    is_right = np.array([*(one for each in measured.values() for one in each.is_right), *[False] * len(against)])
    is_command = np.arange(len(is_right)) < len(spoken)
    return fit_confidence(Rejection(), [*spoken, *against], is_right, is_command=is_command)


def _row(number: int, measured: _Measured, rejection: Rejection, target: float) -> SizeRow:
    found = find_threshold(rejection, measured.against, hours=measured.hours, false_accepts_per_hour=target)
    right = [each for each, is_right in zip(measured.spoken, measured.is_right, strict=True) if is_right]
    if right:
        found = recall_of(found, right)
    return SizeRow(number, found, measured.num_grammars, len(measured.spoken), len(right))
