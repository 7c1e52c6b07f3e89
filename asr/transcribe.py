"""Transcribe recordings, as a job that can be killed, resumed and trusted: python -m asr.transcribe RUN PATH...

    python -m asr.transcribe RUN order.wav
    python -m asr.transcribe RUN recordings/ --output-dir out/ --format txt,srt
    python -m asr.transcribe RUN recordings/ --output transcripts.jsonl
    python -m asr.transcribe --config job.yaml
    find /data -name '*.wav' -print0 | python -m asr.transcribe RUN - --output-dir out/

PATH is a folder (searched with the folders in it), a file, a pattern, a manifest (.jsonl), or - for a list of paths on
stdin. Without an output, what is recognised is printed, and nothing is kept. OUT/transcripts.jsonl holds all
transcripts and errors, OUT/report.json what happened; the other formats mirror the tree of the recordings. Run again,
the job goes on where it was. Exit code: 0 all done, 4 done but for bad files, 2 cannot be done as asked, 3 stopped
(disk full, a worker failed).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.runtime import EXIT_INTERRUPTED, EXIT_OK, Parser, program_name, run_program

if TYPE_CHECKING:
    from asr.transcription.config import JobConfig
    from asr.transcription.job import JobResult

EXIT_DONE_WITH_BAD_FILES = 4
EXIT_STOPPED = 3


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    values = _values(options)

    from asr.transcription.config import JobConfig, check_section, read_job_values

    _add_decoding(values)
    merged = read_job_values(options.config, values, options.set)
    if merged.get("output") is None and merged.get("output_dir") is None and not merged.get("watch"):
        return _print_results(merged, is_plain="format" not in merged)
    config = check_section(merged, JobConfig, where=str(options.config or "options"))
    result = _run(config, shows_results=None)
    return result if isinstance(result, int) else _show(result)


def _run(config: "JobConfig", *, shows_results: bool | None) -> "JobResult | int":
    """The job's result, or the exit code where it was stopped."""
    from rich.console import Console

    from asr.engines.local import EngineError
    from asr.engines.ray_data import RayError
    from asr.transcription.job import run_job
    from asr.transcription.journal import JournalFullError
    from asr.transcription.progress import JobProgress

    listed = sys.stdin.buffer.read() if "-" in config.paths else None
    progress = JobProgress(Console(stderr=True), shows_results=shows_results)
    try:
        return run_job(config, progress=progress, listed=listed)
    except (JournalFullError, EngineError, RayError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        kept = "; what is done is kept: run the same command to go on from it" if shows_results is None else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _print_results(values: dict[str, Any], *, is_plain: bool) -> int:
    """Transcribe to the console: of one recording its words alone, of several a line each with its name.

    With a format, what its file would hold. The job's files go into a folder that is gone afterwards.
    """
    import tempfile

    from asr.transcription.config import JobConfig, check_section

    with tempfile.TemporaryDirectory(prefix="transcribe-") as folder:
        config = check_section({**values, "output_dir": folder}, JobConfig, where="options")
        paths = [Path(path) for path in config.paths]
        is_one = len(paths) == 1 and paths[0].is_file() and paths[0].suffix != ".jsonl"
        if not is_one and (others := [each for each in config.format if each not in ("txt", "jsonl")]):
            raise ValueError(
                f"format: {others[0]} of several recordings, and no place for it; expected --output-dir FOLDER"
            )
        is_live = is_plain and not is_one and sys.stdout.isatty() and sys.stderr.isatty()
        result = _run(config, shows_results=is_live)
        if isinstance(result, int):
            return result
        if not is_live:
            for line in _printed(result, config, is_one=is_one, is_plain=is_plain):
                print(line)
    report = result.report
    lines = report.summary() if report.num_recordings > 1 else report.warnings_and_errors()
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
    return EXIT_DONE_WITH_BAD_FILES if report.num_errors else EXIT_OK


def _printed(result: "JobResult", config: "JobConfig", *, is_one: bool, is_plain: bool) -> Iterator[str]:
    """What is printed of all recordings, in their order; of one that failed alone nothing, as the error is said."""
    from asr.transcription.console import result_lines
    from asr.transcription.journal import Journal
    from asr.transcription.output import readable

    if is_plain or config.format == ("txt",):
        journal = Journal(result.output.state_folder)
        journal.load(())
        for record in journal.others():
            if not (is_one and "error" in record):
                yield from result_lines("" if is_one else readable(record["name"]), record)
        journal.close()
        return
    for each in config.format:
        if each == "jsonl":
            yield from result.output.collection_path.read_text(encoding="utf-8").splitlines()
            continue
        for path in sorted(result.output.folder.glob(f"*.{each}")):
            yield path.read_text(encoding="utf-8").rstrip("\n")


def _add_decoding(values: dict[str, Any]) -> None:
    """The section that --decoding and --language-model stand for, in their place."""
    from asr.runs.language_model import LanguageModelError, read_decoding

    language_model = values.pop("language_model", None)
    if "decoding" in values:
        chosen = read_decoding(values["decoding"], language_model=language_model)
        values["decoding"] = chosen.model_dump(mode="json")
    elif language_model is not None:
        raise LanguageModelError("--language-model: of which decoding? expected --decoding too, say ctc_beam")


def _show(result: "JobResult") -> int:
    report = result.report
    for line in report.summary():
        print(line, file=sys.stderr if _is_fault(line) else sys.stdout)
    print(f"transcripts: {result.output.collection_path}")
    return EXIT_DONE_WITH_BAD_FILES if report.num_errors else EXIT_OK


def _is_fault(line: str) -> bool:
    return "not transcribed" in line or line.startswith(("  ", "warning: "))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program_name("asr.transcribe"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("run", nargs="?", help="a run folder of asr.train")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="what to transcribe")
    parser.add_argument("--config", type=Path, default=None, help="a YAML file with any of these options, and more")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of that file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output-dir", help="folder that mirrors the tree of the recordings")
    where.add_argument("--output", help="one file instead, of jsonl or txt")
    parser.add_argument("--format", help="txt, jsonl, json, srt, vtt, ctm, TextGrid, tsv; several with commas")
    parser.add_argument("--channel", help="counted from 0; mix: the mean of all (default); each: one after the other")
    parser.add_argument("--merge", action="store_true", help="of --channel each: one conversation, turn by turn")
    parser.add_argument(
        "--root", metavar="FOLDER", help="refuse a manifest with recordings outside, wherever links lead"
    )
    parser.add_argument("--commands", help="a grammar, such as conf/commands/home.yaml: only its sentences are heard")
    parser.add_argument("--decoding", help="in the place of the run's own: a kind, a YAML section or its file")
    parser.add_argument("--language-model", help="for --decoding: the run folder of one, or a file of n-grams")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), help="of the model's arithmetic")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="auto (default): all GPUs, or all cores")
    parser.add_argument("--engine", choices=("local", "ray"), help="what the workers run under (default: local)")
    parser.add_argument("--num-workers", type=int, help="processes with a model (default: one a GPU or core)")
    parser.add_argument("--batch-size", type=int, help="recordings at a time (default: 32)")
    parser.add_argument("--batch-seconds", type=float, help="of padded audio at a time (default: 120)")
    parser.add_argument("--watch", action="store_true", help="go on with what arrives, until Ctrl-C")
    parser.add_argument("--overwrite", action="store_true", help="replace files that no job has written")
    parser.add_argument("--rtf", action="store_true", help="time for a second of audio in jsonl: never twice the same")
    options = parser.parse_args(arguments)
    if "run" not in options and options.config is None:
        parser.error("expected RUN and PATH..., or --config; --help says more")
    return options


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as a YAML file would hold them."""
    values = {key: value for key, value in vars(options).items() if key not in ("config", "set")}
    if not values.get("paths"):
        values.pop("paths", None)
    if "format" in values:
        proper = {each.lower(): each for each in ("TextGrid",)}
        names = [name.strip().lower() for name in values["format"].split(",")]
        values["format"] = [proper.get(name, name) for name in names]
    elif values.get("output", "").endswith(".txt"):
        values["format"] = ["txt"]
    if values.get("channel", "").isdecimal():
        values["channel"] = int(values["channel"])
    return values


if __name__ == "__main__":
    run_program(main)
