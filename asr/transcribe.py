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
from pathlib import Path
from typing import Any

from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.transcription.run import run

    return run(options.config, _values(options), options.set)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    from asr.transcription.formats import FORMAT_NAMES

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
    parser.add_argument("--format", help=f"{', '.join(FORMAT_NAMES)}; several with commas")
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
    """Returns the options that were given, as a YAML file would hold them."""
    values = {key: value for key, value in vars(options).items() if key not in ("config", "set")}
    if not values.get("paths"):
        values.pop("paths", None)
    if "format" in values:
        from asr.transcription.formats import FORMAT_NAMES

        proper = {each.lower(): each for each in FORMAT_NAMES}
        names = [name.strip().lower() for name in values["format"].split(",")]
        values["format"] = [proper.get(name, name) for name in names]
    elif values.get("output", "").endswith(".txt"):
        values["format"] = ["txt"]
    if values.get("channel", "").isdecimal():
        values["channel"] = int(values["channel"])
    return values


if __name__ == "__main__":
    run_program(main)
