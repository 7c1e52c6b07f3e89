"""Train several configurations alike and compare them: python -m asr.compare conf/compare.yaml [key=value ...]

Writes report.md and report.html into the comparison's run folder, beside one run folder for each member and seed. The
same command goes on where it was interrupted; finished trainings are kept. With --probe long_lag it asks instead how
long each cell remembers, on two small tasks made for that.
"""

import argparse
from pathlib import Path

from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.comparison.run import run

    return run(options.config, options.overrides, probe=options.probe, is_quick=options.quick, is_dry=options.dry_run)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.compare"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="the comparison, such as conf/compare.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as seeds=[0,1,2]")
    parser.add_argument("--dry-run", action="store_true", help="check and size every member, train nothing")
    parser.add_argument("--probe", choices=("long_lag",), help="how long each cell remembers, in place of trainings")
    parser.add_argument("--quick", action="store_true", help="with --probe: short lags and few steps, for a look")
    options = parser.parse_args(arguments)
    if options.quick and not options.probe:
        parser.error("--quick goes with --probe; a comparison is made shorter by overrides=[train.max_epochs=2]")
    return options


if __name__ == "__main__":
    run_program(main)
