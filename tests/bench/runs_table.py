"""The test results of several runs as one table:  python -m tests.bench.runs_table RUN/evaluations/test [...]"""

import argparse
import json
import re
from pathlib import Path


def row(evaluation: Path) -> str:
    """A line of Markdown, of the evaluation and of the model card of its run."""
    run = evaluation.parents[1]
    card = (run / "README.md").read_text(encoding="utf-8")
    parameters, dev = (re.findall(pattern, card)[0] for pattern in (r"([\d,]+) parameters", r"dev WER \| ([\d.]+)%"))
    wer = json.loads((evaluation / "results.json").read_text(encoding="utf-8"))["wer"]
    interval = f"{wer['rate']:.2%} ({100 * wer['low']:.1f} to {100 * wer['high']:.1f})"
    errors = wer["substitutions"] + wer["deletions"] + wer["insertions"]
    return f"| {run.name} | {parameters} | {dev}% | {interval} | {errors} |".replace("%", " %")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("evaluation", type=Path, nargs="+", help="a folder that asr.evaluate wrote, in its run")
    print("| run | parameters | dev WER | test WER (95 % interval) | errors |", "|---|---|---|---|---|", sep="\n")
    print(*map(row, parser.parse_args().evaluation), sep="\n")


if __name__ == "__main__":
    main()
