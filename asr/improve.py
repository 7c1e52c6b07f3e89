"""Say what to do next about a trained run: python -m asr.improve RUN

Writes into RUN/improvement: improvement.html (open it in a browser), results.json, and suspects.csv, in which a mark in
the first column leaves an utterance out:

    python -m asr.improve RUN --exclude RUN/improvement/suspects.csv
"""

import argparse
from pathlib import Path

from asr.files.packaged import locate
from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.improvement.run import ImprovementSettings, exclude, run

    settings = ImprovementSettings(
        run=options.run,
        manifests=options.manifest,
        dev=options.dev,
        output_dir=options.output_dir,
        review=options.review,
        max_utterances=options.max_utterances,
        num_threads=options.num_threads,
    )
    return exclude(settings, options.exclude) if options.exclude is not None else run(settings)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.improve"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=locate, help="a run folder of asr.train")
    parser.add_argument("--manifest", type=Path, nargs="+", default=[], help="default: those that it was trained on")
    parser.add_argument("--dev", type=Path, help="default: the dev manifest of its training")
    parser.add_argument("--output-dir", type=Path, help="default: RUN/improvement")
    parser.add_argument("--review", type=_share, default=0.05, help="share to look at (default: %(default)s)")
    parser.add_argument(
        "--max-utterances", type=int, default=5000, help="of training, spread evenly (default: %(default)s)"
    )
    parser.add_argument(
        "--exclude", type=Path, metavar="SUSPECTS_CSV", help="write the manifests without what is marked in it"
    )
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.max_utterances < 1:
        parser.error(f"--max-utterances: {options.max_utterances}; expected 1 or more")
    return options


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a share above 0 and at most 1, such as 0.05")
    return share


if __name__ == "__main__":
    run_program(main)
