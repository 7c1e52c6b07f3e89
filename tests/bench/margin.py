"""What a threshold for the margin to other meanings is worth, at equal recall:

    python -m tests.bench.margin RUN GRAMMAR --positives clean.jsonl noise_06db.jsonl --negatives a.jsonl b.jsonl

For each recall (of the commands whose best sentence is right) a row: how many other commands than were said are
understood, by manifest, and how many negatives, where the log odds' threshold alone makes it so strict, and where that
threshold stays at half a false accept an hour and the margin's makes it so. The weights of the log odds are fitted on
all of it; with --folds 5, a second table has each recording judged by weights that were fitted without its speaker
(of negatives, without its recording).
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from asr.data.manifest import Manifest, Utterance
from asr.fitting.hearing import cut_stretches, is_understood_right, understand
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.understanding.label_priors import load_priors
from asr.understanding.rejection import MARGIN, Evidence, Rejection, fit_confidence
from asr.understanding.result import CommandSearch
from data_prep.barista import fold_speakers

RECALLS = (0.97, 0.96, 0.95, 0.93, 0.90, 0.85)
WINDOW = 6.0  # seconds, as `calibrate` cuts negatives
FALSE_ACCEPTS_PER_HOUR = 0.5


@dataclass(frozen=True)
class Heard:
    """The evidence of commands, in the order of their manifests, then of negatives; and what is known of each."""

    evidence: list[Evidence]
    is_command: np.ndarray
    is_right: np.ndarray  # of a command: its best sentence means what was said
    places: np.ndarray  # the number of its manifest
    folds: np.ndarray  # where it is held out
    hours: float  # of the negatives

    def fit(self, fitted: np.ndarray) -> Rejection:
        """The logistic function of those that are chosen."""
        chosen = [each for each, is_so in zip(self.evidence, fitted, strict=True) if is_so]
        return fit_confidence(Rejection(), chosen, self.is_right[fitted], is_command=self.is_command[fitted])

    def odds(self, num_folds: int) -> np.ndarray:
        """The log odds of each, by weights of all, or of the other folds."""
        odds = np.empty(len(self.evidence))
        for fold in range(num_folds):
            held_out = self.folds == fold if num_folds > 1 else np.ones(len(odds), bool)
            found = self.fit(~held_out if num_folds > 1 else held_out)
            odds[held_out] = [found.log_odds(self.evidence[index]) for index in np.flatnonzero(held_out)]
        return odds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("grammar", type=Path)
    parser.add_argument("--positives", type=Path, nargs="+", required=True)
    parser.add_argument("--negatives", type=Path, nargs="+", required=True)
    parser.add_argument("--folds", type=int, default=1, help="of speakers; 1: weights of all")
    options = parser.parse_args()
    heard = hear(options.run, options.grammar, options.positives, options.negatives, num_folds=options.folds)
    show(heard, heard.odds(1))
    if options.folds > 1:
        print(f"{options.folds} folds by speaker:")
        show(heard, heard.odds(options.folds))


def hear(run: Path, grammar: Path, positives: list[Path], negatives: list[Path], *, num_folds: int) -> Heard:
    recognizer = Recognizer.load(run)
    priors = load_priors(RunFolder(run))
    search = CommandSearch(load_grammar(grammar), recognizer.tokenizer, num_best=1, priors=priors)
    recognizer = recognizer.with_commands(search)
    items = [(place, item) for place, path in enumerate(positives) for item in Manifest.read(path)]
    spoken, _ = understand(recognizer, [item.stretch for _, item in items])
    recordings = [item for path in negatives for item in Manifest.read(path)]
    pieces = [(number, stretch) for number, item in enumerate(recordings) for stretch in cut_stretches(item, WINDOW)]
    others, _ = understand(recognizer, [piece for _, piece in pieces])
    others = {index: result for index, result in others.items() if result.heard}
    fold_of = _folds([item for _, item in items], num_folds)
    return Heard(
        evidence=[result.evidence for result in (*spoken.values(), *others.values())],
        is_command=np.arange(len(spoken) + len(others)) < len(spoken),
        is_right=np.array(
            [is_understood_right(items[index][1], result) for index, result in spoken.items()] + [False] * len(others)
        ),
        places=np.array([items[index][0] for index in spoken] + [-1] * len(others)),
        folds=np.array(
            [fold_of[items[index][1].speaker or ""] for index in spoken]
            + [pieces[index][0] % num_folds for index in others]
        ),
        hours=sum(piece.duration or 0.0 for _, piece in pieces) / 3600,
    )


def _folds(items: list[Utterance], num_folds: int) -> dict[str, int]:
    """The fold in which each speaker is held out."""
    if num_folds == 1:
        return {item.speaker or "": 0 for item in items}
    return {speaker: number for number, names in enumerate(fold_speakers(items, num_folds)) for speaker in names}


def show(heard: Heard, odds: np.ndarray) -> None:
    margins = np.array([each.margin for each in heard.evidence])
    against = np.sort(odds[~heard.is_command])[::-1]
    lowest = against[min(int(FALSE_ACCEPTS_PER_HOUR * heard.hours + 1e-9), len(against) - 1)] + MARGIN
    passes, right = odds >= lowest, heard.is_right
    is_wrong = heard.is_command & ~right
    print(f"{right.sum():,} of {heard.is_command.sum():,} right; {len(against):,} negatives, {heard.hours:.2f} h")
    share, others = (passes & right).sum() / right.sum(), _wrong(passes & is_wrong, heard.places)
    print(
        f"threshold for {FALSE_ACCEPTS_PER_HOUR:g} false accepts an hour: {share:.1%} of the right ones, {others} wrong"
    )
    print("recall | by the odds alone: wrong, false accepts | margin from | with it: wrong, false accepts")
    for recall in RECALLS:
        number = int(np.ceil(recall * right.sum()))
        alone = odds >= np.sort(odds[right])[::-1][number - 1]
        cells = [_wrong(alone & is_wrong, heard.places), f"{(alone & ~heard.is_command).sum()}"]
        ordered = np.sort(margins[right & passes])[::-1]
        if number > len(ordered):
            print(f"{recall:.0%} | {', '.join(cells)} | not reached")
            continue
        accepted = passes & (margins >= ordered[number - 1])
        wrong = _wrong(accepted & is_wrong, heard.places)
        print(
            f"{recall:.0%} | {', '.join(cells)} | {ordered[number - 1]:.2f} | {wrong}, "
            f"{(accepted & ~heard.is_command).sum()}",
            flush=True,
        )


def _wrong(is_wrong: np.ndarray, places: np.ndarray) -> str:
    parts = " + ".join(str(is_wrong[places == place].sum()) for place in np.unique(places[places >= 0]))
    return f"{is_wrong.sum()} ({parts})"


if __name__ == "__main__":
    main()
