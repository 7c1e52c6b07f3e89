"""Look inside a model while it hears a recording: python -m asr.explain RUN RECORDING

Writes one picture and one page that needs nothing else: the log-mel, what CTC and attention made of it, the gates and
the memory of a recurrent layer, what each word hung on, and the words under the time axis.
"""

import argparse
from pathlib import Path

from asr.files.packaged import locate
from asr.process.runtime import EXIT_OK, Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.explanation.plot import PictureOptions
    from asr.explanation.run import run

    shown = PictureOptions(layer=options.layer, units=options.units)
    run(options.run, options.recording, output_dir=options.output_dir, shown=shown, num_threads=options.num_threads)
    return EXIT_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.explain"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=locate, help="a run folder of asr.train")
    parser.add_argument("recording", type=locate, help="an audio file of some seconds")
    parser.add_argument("--output-dir", type=Path, help="default: RUN/explanations")
    parser.add_argument("--layer", type=int, help="the recurrent layer to draw, counted from 1 (default: the last)")
    parser.add_argument(
        "--units",
        type=_units,
        help="its units to draw one by one, such as 3,17; 'none' for the means alone (default: the two that move most)",
    )
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser.parse_args(arguments)


def _units(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers, such as 3,17, or 'none'") from None


if __name__ == "__main__":
    run_program(main)
