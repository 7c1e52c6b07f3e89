"""A trained run to hand on: python -m asr.export RUN FOLDER

Writes a run folder of a few megabytes that every program reads as the original: weights in half precision (they are
computed with in whatever precision is asked for), settings, tokenizer, card. What was measured of the old weights stays
behind: measure label priors, confidence of words and the threshold of commands again, of the new folder.
"""

import argparse
from pathlib import Path

from asr.files.packaged import locate
from asr.process.runtime import EXIT_OK, Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.exports.run import run

    run(options.run, options.folder, precision=options.precision)
    return EXIT_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program_name("asr.export"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=locate, help="a run folder of asr.train")
    parser.add_argument("folder", type=Path, help="a new folder for what is handed on")
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help="of the weights (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_program(main)
