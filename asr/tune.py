"""Find the settings of a configuration: python -m asr.tune conf/x.yaml --trials 50 [key=value ...]

Trains one trial after the other, each an ordinary run in OUTPUT_DIR/trials, and writes report.html, results.json and
best.yaml. The same command goes on where it was interrupted. docs/tuning.md says what a search space holds.
"""

import argparse
from pathlib import Path

from asr.process.runtime import Parser, program_name, run_program

PACKAGES = {"optuna", "sqlalchemy", "alembic", "cmaes"}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        from asr.tuning.run import TuneOptions, run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PACKAGES:
            raise
        raise ValueError(
            f"tune: {error.name} is not installed; expected the extra tune: pip install 'earshot[tune]'"
        ) from error
    return run(TuneOptions(**vars(options)))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program_name("asr.tune"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="the experiment whose settings are looked for, such as conf/x.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of every trial, such as train.max_epochs=10")
    parser.add_argument(
        "--space",
        metavar="FILE",
        help="what is tried: a file, or small, middle, large (default: conf/x.tune.yaml, else by the hours)",
    )
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="(default: runs/tune_NAME)")
    parser.add_argument(
        "--trials", type=_count, metavar="N", help="of the whole study (default: 50, or no limit with --hours)"
    )
    parser.add_argument(
        "--hours",
        type=_hours,
        metavar="H",
        help="of this call; what still trains then is saved and goes on in the next",
    )
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="trainings at once (default: 1)")
    parser.add_argument("--devices", metavar="LIST", help="GPUs that workers take in turn, such as 0,1")
    parser.add_argument("--sampler", choices=("grid", "random", "tpe", "cmaes"), help="in the place of the space's")
    parser.add_argument("--pruner", choices=("none", "median", "hyperband"), help="in the place of the space's")
    parser.add_argument(
        "--storage", metavar="URL", help="a database that several machines share (default: SQLite in DIR)"
    )
    parser.add_argument("--study", metavar="NAME", help="of the study in that database (default: the folder's name)")
    parser.add_argument(
        "--retrain-best",
        type=_count,
        default=0,
        metavar="K",
        help="then train the best K with more seeds, by whose mean they are ranked",
    )
    parser.add_argument("--seeds", type=_count, default=3, metavar="N", help="of --retrain-best (default: 3)")
    parser.add_argument(
        "--wandb-sweep", type=Path, metavar="FILE", help="write the space as a sweep of wandb, and train nothing"
    )
    parser.add_argument("--lr-range", action="store_true", help="only test a range of learning rates, in 100 steps")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number, 1 or more")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < 1e6:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected hours, more than 0")
    return hours


if __name__ == "__main__":
    run_program(main)
