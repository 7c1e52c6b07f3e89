"""The results of recipes/every_decoding.sh as one table:  python -m tests.bench.decoding_table RUN [RUN ...]"""

import argparse
import json
from pathlib import Path
from typing import Any

OLD_KEY = "invented"  # of results.json before 2026-11-29


def rows(results: dict[str, dict[str, Any]]) -> list[str]:
    """A line of Markdown for each decoding, with the figures of dev and of test."""
    names = dict.fromkeys(name.partition("-")[2] for name in results if name.startswith(("dev-", "test-")))
    lines = ["| decoding | dev WER | test WER (95 % interval) | test CER |", "|---|---|---|---|"]
    for name in names:
        dev, test = (results.get(f"{split}-{name}") for split in ("dev", "test"))
        shown = "–" if dev is None else f"{dev['wer']['rate']:.1%}"
        interval = cer = "–"
        if test is not None:
            wer = test["wer"]
            interval = f"{wer['rate']:.1%} ({100 * wer['low']:.1f} to {100 * wer['high']:.1f})"
            cer = f"{test['cer']['rate']:.1%}"
        lines.append(f"| {name.replace('-', ', ')} | {shown} | {interval} | {cer} |".replace("%", " %"))
    return lines


def hallucinations(results: dict[str, dict[str, Any]]) -> list[str]:
    """What was heard where nothing was said."""
    return [
        f"{name}: {found['num_words']} words hallucinated in {found['minutes']:.1f} min, "
        f"{found['num_words'] / found['minutes']:.2f} a minute"
        for name, result in results.items()
        if (found := result.get("hallucinated") or result.get(OLD_KEY)) and not has_speech(result)
    ]


def has_speech(result: dict[str, Any]) -> bool:
    return any(result["wer"][kind] for kind in ("hits", "substitutions", "deletions"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+", help="a run folder with evaluations/")
    for run in parser.parse_args().run:
        paths = sorted((run / "evaluations").glob("*/results.json"))
        results = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        print(f"{run}\n", *rows(results), "", *hallucinations(results), sep="\n")


if __name__ == "__main__":
    main()
