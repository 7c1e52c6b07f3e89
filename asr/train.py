"""Train a recogniser or a language model: python -m asr.train conf/bilstm_ctc.yaml [key=value ...]

The same command goes on where a run was interrupted. The loop itself is asr/training/loop.py, kept apart so that this
program answers --help without loading torch.
"""

from pathlib import Path

from asr.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog=program_name("asr.train"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="the experiment, such as conf/bilstm_ctc.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as optim.learning_rate=1e-3")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, train nothing")
    options = parser.parse_args(arguments)

    from asr.config.language_model import NGramConfig, load_experiment
    from asr.distributed import start_processes
    from asr.training.experiment import check_prepared, check_source
    from asr.training.loop import train
    from asr.training.ngrams import train_ngram
    from asr.training.task import dry_run

    config = load_experiment(options.config, options.overrides)
    check_prepared(config)
    if isinstance(config, NGramConfig):
        return train_ngram(config, start_processes("cpu"), is_trial=options.dry_run)
    check_source(config)
    processes = start_processes(config.train.device)
    try:
        return dry_run(config, processes) if options.dry_run else train(config, processes)
    finally:
        processes.close()


if __name__ == "__main__":
    run_program(main)
