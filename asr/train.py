"""Train a recogniser or a language model: python -m asr.train conf/bilstm_ctc.yaml [key=value ...]

The same command goes on where a run was interrupted. The loop itself is asr/training/loop.py, kept apart so that this
program answers --help without loading torch.
"""

from pathlib import Path

from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog=program_name("asr.train"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="the experiment, such as conf/bilstm_ctc.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as optim.learning_rate=1e-3")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, train nothing")
    parser.add_argument(
        "--explain-layers", action="store_true", help="print what runs each recurrent layer here and why, without data"
    )
    options = parser.parse_args(arguments)

    from asr.training.run import run

    return run(options.config, options.overrides, is_dry=options.dry_run, explains_layers=options.explain_layers)


if __name__ == "__main__":
    run_program(main)
