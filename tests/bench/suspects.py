"""How many wrong transcripts are found: a share of a manifest's transcripts is swapped, and a run is asked:

    python -m tests.bench.suspects RUN MANIFEST [--share 0.05] [--limit 600]

Prints a row for each signal alone and for the mean of their ranks: of the utterances reviewed (as large a share) how
many are swapped (precision), and of those swapped how many are reviewed (recall).
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from asr.data.manifest import Manifest, Utterance
from asr.improvement.hearing import Listed, judge_transcripts
from asr.improvement.suspects import rank_suspects, transcript_signals
from asr.recognizer import Recognizer


def swap(utterances: list[Utterance], share: float, generator: np.random.Generator) -> tuple[list[Utterance], set[str]]:
    """Returns the utterances, and the ids of those that have the transcript of another, none its own by chance."""
    chosen = generator.permutation(len(utterances))[: max(2, round(share * len(utterances)))].tolist()
    texts = [utterances[place].text for place in chosen]
    while any(utterances[place].text == text for place, text in zip(chosen, texts, strict=True)):
        texts = [texts[place] for place in generator.permutation(len(texts)).tolist()]
    swapped = list(utterances)
    for place, text in zip(chosen, texts, strict=True):
        swapped[place] = replace(swapped[place], text=text)
    return swapped, {utterances[place].id for place in chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--limit", type=int, default=600, help="utterances, spread evenly over the manifest")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    manifest = Manifest.read(options.manifest)
    places = np.linspace(0, len(manifest) - 1, min(options.limit, len(manifest))).round().astype(int).tolist()
    utterances, wrong = swap([manifest[place] for place in places], options.share, np.random.default_rng(options.seed))
    listed = [Listed(each, str(options.manifest)) for each in utterances]
    judged, _ = judge_transcripts(Recognizer.load(options.run), listed)
    number = max(1, round(options.share * len(judged)))
    ranked = {
        name: [judged[place].utterance.id for place in np.argsort(-values, kind="stable")[:number]]
        for name, values in transcript_signals(judged).items()
    }
    ranked["mean of ranks"] = [each.judged.utterance.id for each in rank_suspects(judged)[:number]]
    print(f"{len(judged)} utterances, {len(wrong)} swapped, {number} reviewed")
    for name, ids in ranked.items():
        found = len(wrong & set(ids))
        print(f"{name:14} precision {found / number:.1%}, recall {found / len(wrong):.1%}")


if __name__ == "__main__":
    main()
