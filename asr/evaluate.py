"""Score a trained run on manifests: python -m asr.evaluate RUN MANIFEST ...

Writes into RUN/evaluations/MANIFEST (or --output-dir): report.html (open it in a browser), results.json (the
figures) and utterances.jsonl (a manifest with `pred_text` and the errors of each utterance). With --commands, the
share of commands that is accepted in each manifest, such as one for each level of noise, is shown side by side.

    python -m asr.evaluate RUN DEV --decoding ctc_beam --language-model runs/lm_lstm --tune-fusion
    python -m asr.evaluate RUN TEST --decoding RUN/decodings/ctc_beam-lm_lstm.yaml
"""

import argparse
from pathlib import Path

from asr.files.packaged import locate, own_run
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK, Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.evaluation.run import EvaluationSettings, open_evaluation, run, with_decoding
    from asr.evaluation.scoring import ScoringOptions
    from asr.fitting.fusion import tune_in_run

    settings = EvaluationSettings(
        run=options.run,
        manifests=options.manifest,
        output_dir=options.output_dir,
        root=options.root,
        commands=options.commands,
        scoring=ScoringOptions(options.min_repeats, options.seed, options.normalize, options.condition),
        decoding=options.decoding,
        language_model=options.language_model,
        tune_fusion=options.tune_fusion,
        calibrate_confidence=options.calibrate_confidence,
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
        num_threads=options.num_threads,
        audio=options.audio,
        max_in_report=options.max_in_report,
    )
    evaluation = open_evaluation(settings)
    if evaluation.decoding is not None and options.tune_fusion:
        (manifest,) = evaluation.manifests.values()
        tuned = tune_in_run(evaluation.recognizer, evaluation.decoding, manifest, run=options.run)
        evaluation = with_decoding(evaluation, tuned)
    return EXIT_OK if run(evaluation) else EXIT_BAD_FILES


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.evaluate"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=locate, help="a run folder of asr.train")
    parser.add_argument("manifest", type=Path, nargs="+", help="JSON lines of utterances with their text")
    parser.add_argument(
        "--output-dir",
        type=Path,
        help="default: RUN/evaluations/MANIFEST; of several manifests, a folder in it for each",
    )
    parser.add_argument("--root", type=Path, help="refuse a manifest with recordings outside, wherever links lead")
    parser.add_argument(
        "--commands",
        type=Path,
        help="a grammar, such as conf/commands/home.yaml; scores the manifest's intent and slots",
    )
    parser.add_argument(
        "--condition",
        metavar="FIELD",
        help="of the manifest's lines, whose values commands are scored by; else condition, snr_db or snr",
    )
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="compare references and transcripts in lower case and without punctuation; the report says so",
    )
    parser.add_argument(
        "--decoding", help="in the place of the run's own: a kind, such as ctc_beam, a YAML section or its file"
    )
    parser.add_argument("--language-model", help="for --decoding: the run folder of one, or a file of n-grams")
    parser.add_argument(
        "--tune-fusion", action="store_true", help="find its weights on this (dev) manifest; writes RUN/decodings/"
    )
    parser.add_argument(
        "--calibrate-confidence",
        action="store_true",
        help="fit the confidence of words on this (dev) manifest; kept in RUN/word_confidence.json",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="utterances at a time (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="of the model's arithmetic (default: %(default)s)",
    )
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    _add_report_options(parser)
    options = parser.parse_args(arguments)
    if options.tune_fusion or options.calibrate_confidence:
        try:
            own_run(str(options.run))
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    return options


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what the report lists, and how much of it."""
    parser.add_argument(
        "--min-repeats",
        type=int,
        default=2,
        help="a transcript spoken at least so often is listed as a command (default: %(default)s)",
    )
    parser.add_argument(
        "--audio",
        choices=("embed", "link", "none"),
        default="embed",
        help="recordings in the report (default: %(default)s)",
    )
    parser.add_argument(
        "--max-in-report", type=int, default=1000, help="utterances in the report, worst first (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")


if __name__ == "__main__":
    run_program(main)
