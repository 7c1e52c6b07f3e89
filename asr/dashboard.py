"""Draw the curves of trainings side by side: python -m asr.dashboard RUN [RUN ...]

Writes one HTML file that needs nothing else, or serves it while a training goes on (--watch, on this machine only).
"""

import argparse
from pathlib import Path

from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.dashboards.run import run, store_curve, watch

    if options.store_curve:
        return store_curve(options.runs[0], options.store_curve)
    if options.watch:
        return watch(options.runs, options.reference, port=options.port)
    return run(options.runs, options.reference, output=options.output)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.dashboard"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of asr.train")
    parser.add_argument("--output", type=Path, default=Path("dashboard.html"), help="default: %(default)s")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="a stored curve, drawn as a band behind")
    parser.add_argument("--store-curve", type=Path, metavar="FILE", help="store the one RUN's curves as a reference")
    parser.add_argument(
        "--watch", action="store_true", help="serve the page on loopback, with new figures as they come"
    )
    parser.add_argument("--port", type=int, default=8017, help="of --watch; 0: any that is free (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.store_curve and len(options.runs) != 1:
        parser.error(f"--store-curve: found {len(options.runs)} runs; expected one")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port: found {options.port}; expected 0 to 65535")
    return options


if __name__ == "__main__":
    run_program(main)
