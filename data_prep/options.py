"""Parses the options that all corpora share, and hands them on with their types."""

import argparse
from pathlib import Path

from asr.process.runtime import Parser
from data_prep.entries import Checks, Preparation, Splitting


def corpus_parser(
    description: str | None,
    *,
    split_by: str | None = None,
    dev: float | None = None,
    test: float | None = None,
    language: str | None = "en",
) -> argparse.ArgumentParser:
    """Returns the arguments all corpora share.

    `dev` and `test` are the default shares to carve out of what the corpus does not split itself, `split_by` the
    default way; a corpus that splits itself leaves them None. `language` is the default one of its numbers.
    """
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus_dir", type=_absolute, metavar="CORPUS_DIR")
    parser.add_argument(
        "output_dir", type=_absolute, metavar="OUTPUT_DIR", help="gets train.jsonl, dev.jsonl and test.jsonl"
    )
    if split_by:
        parser.add_argument("--split-by", choices=("speaker", "text", "id"), default=split_by, help=_SPLIT_BY_HELP)
    for name, share in (("dev", dev), ("test", test)):
        if share is not None:
            parser.add_argument(f"--{name}-share", type=_share, default=share, help=f"of what is not split ({share})")
    checks = parser.add_argument_group("checks")
    checks.add_argument("--characters", help="drop transcripts with others than these, beside the space")
    checks.add_argument("--keep-text", action="store_true", help="transcripts as they are, not lower-cased and cleaned")
    checks.add_argument(
        "--language",
        default=language,
        metavar="CODE",
        help=f"of the numbers that are written out, '$25' as 'twenty five dollars'; none: digits stay ({language})",
    )
    checks.add_argument("--root", type=_absolute, metavar="FOLDER", help="drop recordings outside, wherever links lead")
    checks.add_argument("--shortest", type=float, default=0.1, metavar="SECONDS", help="drop shorter ones (0.1)")
    checks.add_argument("--longest", type=float, default=60.0, metavar="SECONDS", help="drop longer ones (60)")
    checks.add_argument("--lowest-rate", type=int, default=8000, metavar="HERTZ", help="drop lower rates (8000)")
    checks.add_argument("--sample-rate", type=int, metavar="HERTZ", help="drop every other rate (any is kept)")
    checks.add_argument("--decode", action="store_true", help="read all samples of all recordings, not only headers")
    checks.add_argument("--num-workers", type=int, default=8, help="threads that read headers (8)")
    checks.add_argument("--allow-shared-speakers", action="store_true", help="a speaker may be in two splits")
    return parser


_SPLIT_BY_HELP = (
    "what stays together when splits are carved: a speaker's utterances, the same sentence, or nothing (id)"
)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected a share from 0 to below 1")
    return share


def splitting_of(arguments: argparse.Namespace) -> Splitting:
    """Returns how a corpus that comes in one piece is to be split."""
    return Splitting(
        by=arguments.split_by,
        dev_share=arguments.dev_share,
        test_share=arguments.test_share,
        language=_language(arguments),
    )


def preparation_of(arguments: argparse.Namespace) -> Preparation:
    """Returns what is to be done with a corpus once it was read."""
    checks = Checks(
        characters=arguments.characters,
        keep_text=arguments.keep_text,
        shortest=arguments.shortest,
        longest=arguments.longest,
        lowest_rate=arguments.lowest_rate,
        sample_rate=arguments.sample_rate,
        decode=arguments.decode,
        num_workers=arguments.num_workers,
        language=_language(arguments),
        root=arguments.root,
    )
    return Preparation(arguments.corpus_dir, arguments.output_dir, checks, arguments.allow_shared_speakers)


def _language(arguments: argparse.Namespace) -> str | None:
    return None if arguments.language in (None, "none") else arguments.language
