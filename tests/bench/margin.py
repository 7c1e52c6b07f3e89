"""What a threshold for the margin to other meanings is worth, at equal recall:

    python -m tests.bench.margin RUN GRAMMAR --positives clean.jsonl noise_06db.jsonl --negatives a.jsonl b.jsonl

For each recall (of the commands whose best sentence is right) a row: how many other commands than were said are
understood, by manifest, and how many negatives, where the log odds' threshold alone makes it so strict, and where that
threshold stays at half a false accept an hour and the margin's makes it so.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from asr.data.manifest import Manifest
from asr.fitting.threshold import _is_right, _understand, cut_stretches
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.understanding.label_priors import load_priors
from asr.understanding.rejection import Rejection, find_threshold, fit_confidence
from asr.understanding.result import CommandResult, CommandSearch

RECALLS = (0.97, 0.96, 0.95, 0.93, 0.90, 0.85)
WINDOW = 6.0  # seconds, as `calibrate` cuts negatives
FALSE_ACCEPTS_PER_HOUR = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("grammar", type=Path)
    parser.add_argument("--positives", type=Path, nargs="+", required=True)
    parser.add_argument("--negatives", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    recognizer = Recognizer.load(options.run)
    priors = load_priors(RunFolder(options.run))
    search = CommandSearch(load_grammar(options.grammar), recognizer.tokenizer, num_best=1, priors=priors)
    recognizer = recognizer.with_commands(search)

    pieces = [
        stretch for path in options.negatives for item in Manifest.read(path) for stretch in cut_stretches(item, WINDOW)
    ]
    others, _ = _understand(recognizer, pieces)
    hours = sum(piece.duration or 0.0 for piece in pieces) / 3600
    commands, is_right, places = [], [], []
    for place, path in enumerate(options.positives):
        items = list(Manifest.read(path))
        found, _ = _understand(recognizer, [item.stretch for item in items])
        commands += found.values()
        is_right += [_is_right(items[index], result) for index, result in found.items()]
        places += [place] * len(found)
    show(commands, np.array(is_right), np.array(places), [each for each in others.values() if each.heard], hours=hours)


def show(
    commands: list[CommandResult],
    is_right: np.ndarray,
    places: np.ndarray,
    others: list[CommandResult],
    *,
    hours: float,
) -> None:
    spoken, against = [each.evidence for each in commands], [each.evidence for each in others]
    rejection = fit_confidence(
        Rejection(),
        [*spoken, *against],
        np.concatenate([is_right, np.zeros(len(against), bool)]),
        is_command=np.arange(len(spoken) + len(against)) < len(spoken),
    )
    found = find_threshold(rejection, against, hours=hours, false_accepts_per_hour=FALSE_ACCEPTS_PER_HOUR)
    odds, margins = (np.array(list(each)) for each in (map(found.log_odds, spoken), (one.margin for one in spoken)))
    odds_of_others = np.array(list(map(found.log_odds, against)))
    margins_of_others = np.array([each.margin for each in against])
    passes = odds >= found.threshold
    print(f"{is_right.sum():,} of {len(is_right):,} right; {len(against):,} negatives, {hours:.2f} h")
    print("recall | by the odds alone: wrong, false accepts | margin from | with it: wrong, false accepts")
    for recall in RECALLS:
        number = int(np.ceil(recall * is_right.sum()))
        threshold = np.sort(odds[is_right])[::-1][number - 1]
        alone = odds >= threshold
        cells = [_wrong(alone & ~is_right, places), f"{(odds_of_others >= threshold).sum()}"]
        right = np.sort(margins[is_right & passes])[::-1]
        if number > len(right):
            print(f"{recall:.0%} | {', '.join(cells)} | not reached")
            continue
        margin = right[number - 1]
        wrong = _wrong(passes & (margins >= margin) & ~is_right, places)
        accepted = ((odds_of_others >= found.threshold) & (margins_of_others >= margin)).sum()
        print(f"{recall:.0%} | {', '.join(cells)} | {margin:.2f} | {wrong}, {accepted}", flush=True)


def _wrong(is_wrong: np.ndarray, places: np.ndarray) -> str:
    return f"{is_wrong.sum()} ({' + '.join(str(is_wrong[places == place].sum()) for place in np.unique(places))})"


if __name__ == "__main__":
    main()
