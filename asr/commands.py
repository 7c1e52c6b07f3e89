"""Grammars of commands: python -m asr.commands try|check|import|export|priors|calibrate|acceptance|transcripts

try conf/commands/home.yaml order.wav        what recordings mean in a grammar, by a shipped model: no training
check conf/commands/home.yaml                its size, its words, what sounds alike, what is ambiguous
import rhino context.yaml --output x.yaml    a grammar of others as templates: rhino, jsgf, phrases, home-assistant
import home-assistant --url http://homeassistant.local:8123 --output home.yaml
                                             the names of a home that runs, with its areas and aliases
export x.yaml --format jsgf                  its sentences for other engines
priors RUN MANIFEST --weight 1               how often the model says each label, for a better search
calibrate RUN GRAMMAR --negatives MANIFEST --false-accepts-per-hour 0.5
                                             from which score on a command counts as understood
acceptance FILE ...                          what asr.evaluate --commands found, pooled over folds
transcripts RUN MANIFEST --commands x.yaml --output out.jsonl
                                             for labels of intent and slots, the sentences that the model hears
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from asr.files.packaged import locate, own_run
from asr.process.runtime import EXIT_BAD_FILES, EXIT_FAULTS, EXIT_OK, DoneAtOnce, Parser, program_name, run_program

HOME_TOKEN = "HOME_ASSISTANT_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    program: Callable[[argparse.Namespace], int] = options.program
    return program(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program_name("asr.commands"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    programs = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_try(programs)
    check = programs.add_parser("check", help="what to know of a grammar before training")
    check.add_argument("grammar", type=Path, nargs="+", help="YAML of sentence templates")
    check.add_argument("--run", type=locate, help="a run folder: can its tokenizer spell the words?")
    check.add_argument("--all-words", action="store_true", help="show every word with its pronunciation")
    check.set_defaults(program=_check)
    _add_import(programs)
    exporter = programs.add_parser("export", help="its sentences for other engines")
    exporter.add_argument("grammar", type=Path, help="YAML of sentence templates")
    exporter.add_argument("--format", choices=("jsgf",), default="jsgf", help="(default: %(default)s)")
    exporter.add_argument("--output", type=Path, help="the file to write (default: print it)")
    exporter.set_defaults(program=_export)
    _add_calibrate(programs)
    priors = programs.add_parser("priors", help="how often the model says each label, for a better search")
    priors.add_argument("run", type=own_run, help="a run folder of asr.train; the priors are kept in it")
    priors.add_argument("manifest", type=Path, help="recordings of speech, such as those of the training's dev")
    priors.add_argument("--weight", type=float, default=1.0, help="0: without them (default: %(default)s)")
    priors.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    priors.set_defaults(program=_priors)
    pooling = programs.add_parser("acceptance", help="the figures of several evaluations together")
    pooling.add_argument("files", type=Path, nargs="+", metavar="FILE", help="...-acceptance.json of asr.evaluate")
    pooling.set_defaults(program=_acceptance)
    transcripts = programs.add_parser("transcripts", help="sentences for recordings with intent and slots, to train on")
    transcripts.add_argument("run", type=locate, help="a run folder of asr.train")
    transcripts.add_argument("manifest", type=Path, help="utterances with intent and slots")
    transcripts.add_argument("--commands", type=Path, required=True, help="YAML of sentence templates")
    transcripts.add_argument("--output", type=Path, required=True, help="the manifest to write, with text in each line")
    transcripts.add_argument(
        "--cut-to-speech", action="store_true", help="write only the part of each recording that is heard twice"
    )
    transcripts.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    transcripts.set_defaults(program=_transcripts)
    return parser


def _add_import(programs: argparse._SubParsersAction[Parser]) -> None:
    importer = programs.add_parser("import", help="a grammar of others as templates")
    importer.add_argument("kind", choices=("rhino", "jsgf", "phrases", "home-assistant"))
    importer.add_argument(
        "source",
        type=Path,
        nargs="?",
        help="the file; of home-assistant without --url, YAML of your lists: `area: [kitchen, ...]`, `name: [...]`",
    )
    importer.add_argument("-o", "--output", type=Path, required=True, help="the YAML file to write")
    importer.add_argument("--language", default="en", help="of home-assistant (default: %(default)s)")
    importer.add_argument("--url", help="of a home to read, http://HOST:8123; with a token of an administrator")
    importer.add_argument("--token", help=f"which others on this machine can see; or {HOME_TOKEN} in the environment")
    importer.add_argument("--token-file", type=Path, metavar="FILE", help="a file with the token alone")
    importer.add_argument("--domains", metavar="NAME,...", help="of the entities: light,switch (default: what is said)")
    importer.add_argument("--watch", action="store_true", help="go on, and write it anew when the home's names change")
    importer.set_defaults(program=_import)


def _add_try(programs: argparse._SubParsersAction[Parser]) -> None:
    trial = programs.add_parser("try", help="what recordings mean in a grammar, without any training")
    trial.add_argument("grammar", type=Path, help="YAML of sentence templates")
    trial.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help="audio files")
    trial.add_argument(
        "--model",
        metavar="NAME_OR_RUN",
        help="a shipped model's name, or a run folder (default: the shipped model of the grammar's language)",
    )
    trial.add_argument("--json", action="store_true", help="print a line of JSON for each recording")
    trial.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    trial.set_defaults(program=_try)


def _add_calibrate(programs: argparse._SubParsersAction[Parser]) -> None:
    calibrate = programs.add_parser("calibrate", help="find the threshold of understanding")
    calibrate.add_argument("run", type=own_run, help="a run folder of asr.train; the threshold is kept in it")
    calibrate.add_argument("grammar", type=Path, help="YAML of sentence templates")
    calibrate.add_argument("--negatives", type=Path, nargs="+", required=True, help="manifests without commands")
    calibrate.add_argument(
        "--positives",
        type=Path,
        nargs="+",
        default=[],
        help="manifests of commands with text, or intent and slots; in noise too, where they will be said in noise",
    )
    calibrate.add_argument("--false-accepts-per-hour", type=float, required=True, help="the target, such as 0.5")
    calibrate.add_argument(
        "--sizes",
        metavar="NUMBER,...,all",
        help="for any grammar instead: thresholds by the number of sentences, such as 10,1000,all, drawn from this one",
    )
    calibrate.add_argument(
        "--second-opinion",
        action="store_true",
        help="ask an autoencoder too, whether the sound is like the training's; trained first, in minutes",
    )
    calibrate.add_argument(
        "--wrong-commands",
        type=float,
        metavar="SHARE",
        help="ask for a margin to other meanings, so that at most this share of the understood --positives is wrong",
    )
    calibrate.add_argument("--window", type=float, default=6.0, help="negatives are cut to it, seconds (%(default)s)")
    calibrate.add_argument("--report", type=Path, help="a page to write, with the curves (needs matplotlib)")
    calibrate.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    calibrate.set_defaults(program=_calibrate)


def _try(options: argparse.Namespace) -> int:
    gc.disable()  # nothing that an import makes is garbage, and looking for some takes a fifteenth of its time
    from asr.tryout.run import run

    gc.enable()
    is_whole = run(
        options.grammar,
        options.recordings,
        model=options.model,
        as_json=options.json,
        num_threads=options.num_threads,
    )
    return DoneAtOnce(EXIT_OK if is_whole else EXIT_BAD_FILES)


def _check(options: argparse.Namespace) -> int:
    from asr.grammar.console import check_grammars
    from asr.runs.folder import RunFolder
    from asr.text import load_tokenizer

    tokenizer = load_tokenizer(RunFolder(options.run).tokenizer_path) if options.run else None
    is_whole = check_grammars(options.grammar, tokenizer=tokenizer, all_words=options.all_words)
    return EXIT_OK if is_whole else EXIT_FAULTS


def _import(options: argparse.Namespace) -> int:
    if options.url:
        return _import_home(options)
    from asr.grammar.console import import_grammar

    for name in ("token", "token_file", "domains", "watch"):
        if getattr(options, name):
            raise ValueError(f"--{name.replace('_', '-')}: of a home that runs; expected --url beside it")
    if options.source is None:
        raise ValueError("import: nothing to import; expected a file, or --url of a home")
    import_grammar(options.kind, options.source, output=options.output, language=options.language)
    return EXIT_OK


def _import_home(options: argparse.Namespace) -> int:
    if options.kind != "home-assistant" or options.source:
        raise ValueError("--url: of home-assistant alone, without a file; expected: import home-assistant --url URL")
    token = options.token or os.environ.get(HOME_TOKEN, "")
    if options.token_file:
        token = options.token_file.read_text(encoding="utf-8")
    if not token.strip() or not token.strip().isprintable():
        raise ValueError(
            f"token: none, or not one line; expected --token-file FILE, or {HOME_TOKEN} in the environment"
        )
    try:
        from asr.homes.home import check_domains
        from asr.homes.run import HomeImport, import_home
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "websockets":
            raise
        raise ValueError(
            "import: websockets is not installed; expected the extra home: pip install 'earshot[home]'"
        ) from error
    domains = tuple(check_domains(options.domains))
    import_home(HomeImport(options.url, token.strip(), options.output, domains, options.language), watch=options.watch)
    return EXIT_OK


def _export(options: argparse.Namespace) -> int:
    from asr.grammar.console import export_grammar

    export_grammar(options.grammar, output=options.output)
    return EXIT_OK


def _calibrate(options: argparse.Namespace) -> int:
    if options.sizes:
        return _calibrate_sizes(options)
    from asr.fitting.threshold import calibrate
    from asr.process.distributed import set_num_threads

    set_num_threads(options.num_threads)
    found = calibrate(
        options.run,
        options.grammar,
        negatives=options.negatives,
        positives=options.positives,
        false_accepts_per_hour=options.false_accepts_per_hour,
        window=options.window,
        second_opinion=options.second_opinion,
        wrong_commands=options.wrong_commands,
    )
    for line in found.lines():
        print(line)
    if options.report:
        from asr.fitting.threshold_report import write_calibration_report

        write_calibration_report(options.report, found, run=options.run, grammar=options.grammar)
    for error in found.errors:
        print(f"not read: {error}", file=sys.stderr)
    return EXIT_BAD_FILES if found.errors else EXIT_OK


def _calibrate_sizes(options: argparse.Namespace) -> int:
    from asr.fitting.sizes import calibrate_sizes, read_sizes
    from asr.process.distributed import set_num_threads
    from asr.understanding.rejection import RejectionError

    for name in ("second_opinion", "wrong_commands", "report"):
        if getattr(options, name):
            raise RejectionError(f"--{name.replace('_', '-')}: of one grammar; expected it without --sizes")
    set_num_threads(options.num_threads)
    found = calibrate_sizes(
        options.run,
        options.grammar,
        sizes=read_sizes(options.sizes),
        negatives=options.negatives,
        positives=options.positives,
        false_accepts_per_hour=options.false_accepts_per_hour,
        window=options.window,
    )
    for line in found.lines():
        print(line)
    for error in found.errors:
        print(f"not read: {error}", file=sys.stderr)
    return EXIT_BAD_FILES if found.errors else EXIT_OK


def _priors(options: argparse.Namespace) -> int:
    from asr.fitting.priors import keep_priors
    from asr.process.distributed import set_num_threads
    from asr.text import BLANK_ID

    set_num_threads(options.num_threads)
    priors, faults = keep_priors(options.run, options.manifest, weight=options.weight)
    share = math.exp(priors.log_probs[BLANK_ID])
    print(f"{options.run}: priors of {priors.log_probs.size} labels, blank {share:.1%}, weight {options.weight:g}")
    for fault in faults:
        print(f"not read: {fault}", file=sys.stderr)
    return EXIT_BAD_FILES if faults else EXIT_OK


def _acceptance(options: argparse.Namespace) -> int:
    from rich.console import Console

    from asr.understanding.acceptance import pool_conditions, read_conditions, show_conditions

    show_conditions(Console(), pool_conditions([read_conditions(path) for path in options.files]))
    return EXIT_OK


def _transcripts(options: argparse.Namespace) -> int:
    from asr.fitting.transcripts import write_transcripts
    from asr.process.distributed import set_num_threads

    set_num_threads(options.num_threads)
    number, faults = write_transcripts(
        options.run,
        options.manifest,
        grammar=options.commands,
        output=options.output,
        cut_to_speech=options.cut_to_speech,
    )
    print(f"{options.output}: {number:,} transcripts")
    for fault in faults:
        print(f"no transcript: {fault}", file=sys.stderr)
    return EXIT_BAD_FILES if faults else EXIT_OK


if __name__ == "__main__":
    run_program(main)
