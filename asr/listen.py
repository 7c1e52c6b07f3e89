"""Listen and recognise while somebody speaks: python -m asr.listen --model RUN [SOURCE]

    python -m asr.listen --model RUN --commands conf/commands/home.yaml
    python -m asr.listen --model RUN order.wav --as-fast-as-possible --json
    ffmpeg -i URL -f s16le -ar 16000 -ac 1 - | python -m asr.listen --model RUN -

SOURCE is a file, which is played in real time, or - for raw 16-bit samples of one channel on stdin; without one, a
microphone is listened to. On a terminal, the level and the words so far are on its last line; each command, or each
sentence without commands, gets a line. Exit code: 0 where the source has ended, 2 where there is none or it broke off,
130 after Ctrl-C.
"""

import argparse
from typing import Any

from asr.process.runtime import Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.live.run import run

    values: dict[str, Any] = {key: value for key, value in vars(options).items() if key != "set"}
    return run(values, options.set)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program_name("asr.listen"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="a file to play, or -; without, a microphone")
    parser.add_argument(
        "--model", metavar="RUN", help="a run folder of asr.train, or the name of a shipped model (default: english)"
    )
    parser.add_argument("--commands", help="a grammar, such as conf/commands/home.yaml: only its sentences are heard")
    parser.add_argument("--wake", metavar="PHRASES", help="to say first: 'hey coffee|hello coffee', or a file of them")
    parser.add_argument("--wake-seconds", type=float, help="in which a command may begin after a phrase (default: 8)")
    parser.add_argument("--push-to-talk", action="store_true", help="listen from one Enter to the next alone")
    parser.add_argument("--json", dest="json_lines", action="store_true", help="write a line of JSON for each event")
    parser.add_argument(
        "--recorder", choices=("auto", "sounddevice", "parec", "arecord"), help="of a microphone (default: auto)"
    )
    parser.add_argument("--device", help="the microphone, as the recorder names it (default: the recorder's)")
    parser.add_argument("--rate", type=int, help="hertz, of raw samples on stdin (default: 16000)")
    parser.add_argument(
        "--as-fast-as-possible", dest="fast", action="store_true", help="play a file as fast as it is recognised"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), help="of the model's arithmetic")
    parser.add_argument("--num-threads", type=int, help="CPU threads of the model (default: 1)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as stream.silence=1.0; see docs/live.md"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_program(main)
