"""Runs a transcription: settles its settings, runs the job, and prints transcripts or where they are."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from asr.engines.local import EngineError
from asr.engines.ray_data import RayError
from asr.process.runtime import EXIT_BAD_FILES, EXIT_INTERRUPTED, EXIT_OK
from asr.runs.language_model import LanguageModelError, read_decoding
from asr.transcription.config import JobConfig, check_section, read_job_values
from asr.transcription.console import result_lines
from asr.transcription.job import JobResult, run_job
from asr.transcription.journal import Journal, JournalFullError
from asr.transcription.output import readable
from asr.transcription.progress import JobProgress
from asr.transcription.record import fault_of_record

EXIT_STOPPED = 3


def run(config_path: Path | None, values: dict[str, Any], overrides: Sequence[str]) -> int:
    """Runs the job of a file, of `values` in the place of the file's and of overrides; returns the exit code."""
    add_decoding(values)
    merged = read_job_values(config_path, values, overrides)
    if merged.get("output") is None and merged.get("output_dir") is None and not merged.get("watch"):
        return _print_results(merged, is_plain="format" not in merged)
    config = check_section(merged, JobConfig, where=str(config_path or "options"))
    result = _run(config, shows_results=None)
    return result if isinstance(result, int) else _show(result)


def _run(config: JobConfig, *, shows_results: bool | None) -> JobResult | int:
    """Returns the job's result, or the exit code if it was stopped."""
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
    """Transcribes to the console: of one recording its words alone, of several a line each with its name.

    With a format, it prints what the file would hold. The job's files go into a folder that is gone afterwards.
    """
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
    return EXIT_BAD_FILES if report.num_errors else EXIT_OK


def _printed(result: JobResult, config: JobConfig, *, is_one: bool, is_plain: bool) -> Iterator[str]:
    """Yields what is printed of all recordings in order; nothing of one that failed alone, as the error is said."""
    if is_plain or config.format == ("txt",):
        journal = Journal(result.output.state_folder, fault_of=fault_of_record)
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


def add_decoding(values: dict[str, Any]) -> None:
    """Puts the section that --decoding and --language-model stand for in their place."""
    language_model = values.pop("language_model", None)
    if "decoding" in values:
        chosen = read_decoding(values["decoding"], language_model=language_model)
        values["decoding"] = chosen.model_dump(mode="json")
    elif language_model is not None:
        raise LanguageModelError("--language-model: of which decoding? expected --decoding too, say ctc_beam")


def _show(result: JobResult) -> int:
    report = result.report
    for line in report.summary():
        print(line, file=sys.stderr if _is_fault(line) else sys.stdout)
    print(f"transcripts: {result.output.collection_path}")
    return EXIT_BAD_FILES if report.num_errors else EXIT_OK


def _is_fault(line: str) -> bool:
    return "not transcribed" in line or line.startswith(("  ", "warning: "))
