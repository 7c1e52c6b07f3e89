"""Score a trained run on manifests: python -m asr.evaluate RUN MANIFEST ...

Writes into RUN/evaluations/MANIFEST (or --output-dir): report.html (open it in a browser), results.json (the
figures) and utterances.jsonl (a manifest with `pred_text` and the errors of each utterance). With --commands, the
share of commands that is accepted in each manifest, such as one for each level of noise, is shown side by side.

    python -m asr.evaluate RUN DEV --decoding ctc_beam --language-model runs/lm_lstm --tune-fusion
    python -m asr.evaluate RUN TEST --decoding RUN/decodings/ctc_beam-lm_lstm.yaml
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asr.files.packaged import locate, own_run, results_parent
from asr.files.replacing import absolute_path, distinct_names
from asr.runtime import EXIT_BAD_FILES, EXIT_OK, Parser, program_name, run_program

if TYPE_CHECKING:
    from rich.console import Console

    from asr.data.manifest import Manifest
    from asr.decoding import DecodingConfig
    from asr.evaluation.report import Evaluation
    from asr.metrics import GroupScore
    from asr.recognizer import Recognizer
    from asr.understanding.acceptance import Condition

NUM_SHOWN = 10  # rows of each table on the console


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from rich.console import Console

    from asr.data.manifest import Manifest
    from asr.distributed import set_num_threads
    from asr.recognition.confidence import WordCalibration
    from asr.recognizer import Recognizer

    set_num_threads(options.num_threads)
    decoding = _decoding(options)
    recognizer = Recognizer.load(
        options.run,
        device=options.device,
        commands=options.commands,
        decoding=decoding,
        precision=options.precision,
    )
    manifests = {path: Manifest.read(path, root=options.root) for path in options.manifest}
    names = dict(zip(options.manifest, distinct_names(options.manifest)))
    folders = _folders(options, decoding)
    console = Console()
    if options.tune_fusion:
        _tune(console, recognizer, manifests, decoding=decoding, options=options)
    if options.calibrate_confidence:
        recognizer.calibration = WordCalibration()  # what is fitted is the posterior
    conditions, is_whole = [], True
    for path, manifest in manifests.items():
        evaluation, seconds = evaluate(recognizer, manifest, path=path, options=options)
        if options.calibrate_confidence:
            _calibrate(console, recognizer, evaluation, options)
        _write(folders[path], evaluation, options)
        show(console, evaluation, folders[path], in_full=len(manifests) == 1)
        is_whole = is_whole and not evaluation.failures
        if evaluation.understanding is not None:
            conditions.append(_condition(names[path], evaluation, manifest, seconds))
    if conditions:
        _compare(console, conditions, options)
    return EXIT_OK if is_whole else EXIT_BAD_FILES


def evaluate(
    recognizer: "Recognizer", manifest: "Manifest", *, path: Path, options: argparse.Namespace
) -> "tuple[Evaluation, float]":
    """The figures of one manifest, and what recognising it cost: seconds of the processor, or of a GPU by the clock."""
    from asr.evaluation.scoring import ScoringOptions, recognize_manifest, summarize

    clock = time.process_time if options.device == "cpu" else time.perf_counter
    scoring = ScoringOptions(options.min_repeats, options.seed, options.normalize, options.condition)
    start = clock()
    scored, failures = recognize_manifest(
        recognizer, manifest, batch_size=options.batch_size, normalize=options.normalize
    )
    seconds = clock() - start
    evaluation = summarize(scored, failures, recognizer=recognizer, run=options.run, manifest=path, options=scoring)
    return evaluation, seconds


def _decoding(options: argparse.Namespace) -> "DecodingConfig | None":
    """What takes the place of the run's own. Raises EvaluationError for options that do not go together."""
    from asr.evaluation.scoring import EvaluationError
    from asr.runs.language_model import read_decoding

    if options.decoding is None and (options.language_model is not None or options.tune_fusion):
        raise EvaluationError(
            "--language-model, --tune-fusion: of which decoding? expected --decoding too, say ctc_beam"
        )
    for name in ("tune_fusion", "calibrate_confidence"):
        if getattr(options, name) and len(options.manifest) > 1:
            option = f"--{name.replace('_', '-')}"
            raise EvaluationError(f"{option}: {len(options.manifest)} manifests; expected one, of a dev split")
    if options.decoding is None:
        return None
    return read_decoding(options.decoding, language_model=options.language_model)


def _tune(
    console: "Console",
    recognizer: "Recognizer",
    manifests: "dict[Path, Manifest]",
    *,
    decoding: "DecodingConfig | None",
    options: argparse.Namespace,
) -> None:
    """Find the weights of the fusion on the manifest, keep them in the run folder, and go on with them."""
    from asr.fitting.fusion import Trial, tune_fusion, write_decoding
    from asr.runs.language_model import decoding_name, open_decoding

    def report(trial: Trial) -> None:
        weights = ", ".join(f"{name} {value:g}" for name, value in trial.weights.items())
        console.print(f"{weights}: WER {trial.words.rate:.2%}, CER {trial.characters.rate:.2%}", highlight=False)

    assert decoding is not None
    (manifest,) = manifests.values()
    tuned, trials = tune_fusion(recognizer, decoding, manifest, report=report)
    path = options.run / "decodings" / f"{decoding_name(tuned)}.yaml"
    write_decoding(path, tuned)
    recognizer.decoding = open_decoding(tuned, recognizer.tokenizer, device=options.device)
    console.print(f"the best of {len(trials)}, for --decoding: {path}", soft_wrap=True, highlight=False, markup=False)


def _calibrate(
    console: "Console", recognizer: "Recognizer", evaluation: "Evaluation", options: argparse.Namespace
) -> None:
    """Fit the confidence of words on this evaluation, and keep it in the run folder."""
    from asr.evaluation.scoring import calibrate_words
    from asr.recognition.confidence import FILE_NAME
    from asr.runs.folder import RunFolder

    found = calibrate_words(RunFolder(options.run), recognizer, evaluation.utterances)
    console.print(
        f"confidence of words: {found.error_before:.1%} from the share that is right, calibrated "
        f"{found.error_after:.1%} (five folds over {found.num_words:,} words): {options.run / FILE_NAME}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _folders(options: argparse.Namespace, decoding: "DecodingConfig | None") -> dict[Path, Path]:
    """Where the files of each manifest go. Raises EvaluationError where two would go to the same place."""
    from asr.evaluation.scoring import EvaluationError
    from asr.runs.language_model import decoding_name

    if options.output_dir is not None and len(options.manifest) == 1:
        return {options.manifest[0]: options.output_dir}
    parent = options.output_dir or results_parent(options.run) / "evaluations"
    suffix = "" if decoding is None else f"-{decoding_name(decoding)}"
    suffix += "" if options.precision == "fp32" else f"-{options.precision}"
    names = distinct_names(options.manifest, num_folders=1, between="-")
    folders = {path: _own_folder(parent, path, name, suffix) for path, name in zip(options.manifest, names)}
    if len(set(folders.values())) < len(options.manifest):
        raise EvaluationError(
            f"{len(options.manifest)} manifests: two of the same name in folders of the same name, or one twice; "
            f"expected different ones, each once"
        )
    return folders


def _own_folder(parent: Path, manifest: Path, name: str, suffix: str) -> Path:
    """Returns parent/NAME, behind more of the manifest's folders where that holds the results of another manifest."""
    from asr.evaluation.scoring import evaluated_manifest

    own, num_folders = absolute_path(manifest), 1
    while True:
        folder = parent / f"{name}{suffix}"
        other = evaluated_manifest(folder / "results.json")
        if other is None or absolute_path(other) == own or num_folders == len(Path(own).parts):
            return folder
        num_folders += 1
        (name,) = distinct_names([manifest], num_folders=num_folders, between="-")


def _write(folder: Path, evaluation: "Evaluation", options: argparse.Namespace) -> None:
    from asr.evaluation.command_report import write_command_report
    from asr.evaluation.report import write_report
    from asr.evaluation.scoring import write_results, write_utterances

    write_utterances(folder / "utterances.jsonl", evaluation)
    write_results(folder / "results.json", evaluation)
    write = write_report if evaluation.understanding is None else write_command_report
    write(folder / "report.html", evaluation, audio=options.audio, max_utterances=options.max_in_report)


def _compare(console: "Console", conditions: "list[Condition]", options: argparse.Namespace) -> None:
    """The commands of all manifests side by side, on the console and in a file that can be pooled with others."""
    from asr.understanding.acceptance import show_conditions, write_conditions

    show_conditions(console, conditions)
    folder = options.output_dir or results_parent(options.run) / "evaluations"
    path = folder / f"{options.manifest[0].absolute().parent.name}-acceptance.json"
    write_conditions(path, conditions)
    console.print(f"acceptance: {path}", soft_wrap=True, highlight=False, markup=False)


def _condition(name: str, evaluation: "Evaluation", manifest: "Manifest", seconds: float) -> "Condition":
    from asr.understanding.acceptance import Condition, noise_of

    assert evaluation.understanding is not None
    return Condition(
        name,
        evaluation.understanding,
        snr_db=noise_of(manifest),
        audio_seconds=evaluation.duration,
        seconds=seconds,
    )


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
    """What the report lists, and how much of it."""
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


def show(console: "Console", evaluation: "Evaluation", folder: Path, *, in_full: bool) -> None:
    """The figures on the console; the failures last, where they are seen. Commands only `in_full`."""
    if evaluation.understanding is not None and in_full:
        _show_understanding(console, evaluation)
    # Labels of commands often come without transcripts.
    if evaluation.understanding is None or evaluation.has_transcripts:
        _show_rates(console, evaluation)
    if evaluation.confusions:
        console.print("most confused words", style="italic")
    for confusion in evaluation.confusions[:NUM_SHOWN]:
        console.print(
            f"  {confusion.count:4d} x {confusion.reference} heard as {confusion.hypothesis}", highlight=False
        )
    for fault in evaluation.form_faults:
        console.print(f"warning: the references hold {fault.line}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False, markup=False)
    for failure in evaluation.failures:
        console.print(f"not scored: {failure.id}: {failure.error}", style="red", soft_wrap=True, markup=False)


def _show_rates(console: "Console", evaluation: "Evaluation") -> None:
    """WER and CER, of all and of the worst speakers and transcripts."""
    from rich.table import Table

    table = Table(
        "", "rate", "95 % interval", "sub", "del", "ins", "of", title=f"{evaluation.run} on {evaluation.manifest}"
    )
    if evaluation.normalized:
        table.caption = "references and transcripts normalised: lower case, no punctuation"
    for name, group, interval in (
        ("WER", evaluation.words, evaluation.word_interval),
        ("CER", evaluation.characters, evaluation.character_interval),
    ):
        counts = group.counts
        edits = (counts.substitutions, counts.deletions, counts.insertions, counts.reference_length)
        between = f"{interval.low:.2%} to {interval.high:.2%}"
        table.add_row(name, f"{counts.rate:.2%}", between, *(f"{number:,}" for number in edits))
    console.print(table)
    if (invented := evaluation.invented) is not None:
        console.print(
            f"{invented.num_words:,} words hallucinated in {invented.minutes:.1f} min in which nothing is said: "
            f"{invented.words_a_minute:.2f} a minute",
            highlight=False,
        )
    right, number = evaluation.words.num_exact, evaluation.words.num_utterances
    console.print(f"{right:,} of {number:,} utterances without an error ({right / number:.2%})", highlight=False)
    for title, groups in (("speakers", evaluation.speakers), ("commands", evaluation.commands)):
        _show_groups(console, title, groups)


def _show_understanding(console: "Console", evaluation: "Evaluation") -> None:
    """Acceptance first, then intents, slots, false accepts, and the commands under each condition."""
    from rich.markup import escape
    from rich.table import Table

    from asr.evaluation.breakdown import by_condition, score_by
    from asr.understanding.acceptance import NUM_SHOWN as NUM_CONDITIONS

    understanding = evaluation.understanding
    assert understanding is not None
    rows = {
        "accepted (intent and all slots right)": understanding.accepted,
        "right, before any is rejected": understanding.guessed,
        "understood, rightly or wrongly": understanding.understood,
        "intents right": understanding.intents,
        "slots right": understanding.all_slots,
        **{f"  {slot}": share for slot, share in understanding.slots.items()},
        f"false accepts in {understanding.other_hours:.2f} h": understanding.false_accepts,
    }
    conditions = score_by(evaluation.judged, by_condition)
    if 1 < len(conditions) <= NUM_CONDITIONS:
        rows |= {f"accepted, {name}": score.accepted for name, score in conditions.items()}
    title = f"{evaluation.run} on {evaluation.manifest}"
    table = Table("commands", "number", "of", "share", title=None if evaluation.has_transcripts else title)
    for name, share in rows.items():
        if share.total:
            table.add_row(escape(name), f"{share.number:,}", f"{share.total:,}", f"{share.rate:.1%}")
    console.print(table)


def _show_groups(console: "Console", title: str, groups: "dict[str, GroupScore]") -> None:
    """The worst of them."""
    from rich.markup import escape
    from rich.table import Table

    if not groups:
        return
    worst = sorted(groups.items(), key=lambda item: (-item[1].counts.rate, item[0]))[:NUM_SHOWN]
    table = Table(
        title, "utterances", "right", "WER", title=f"{title}, the worst first ({len(worst)} of {len(groups)})"
    )
    for name, group in worst:
        table.add_row(escape(name), str(group.num_utterances), str(group.num_exact), f"{group.counts.rate:.2%}")
    console.print(table)


if __name__ == "__main__":
    run_program(main)
