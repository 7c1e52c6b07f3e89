"""Serve a run to other programs: python -m asr.serve RUN --commands conf/commands/home.yaml

OpenAI's API of transcriptions, streams over WebSockets as Vosk's and sherpa-onnx' clients send them, and Wyoming for
Home Assistant. docs/serving.md says what is answered, what is refused, and the limits. A signal (Ctrl-C, SIGTERM) lets
what was begun be finished.
"""

import argparse
from typing import Any

from asr.files.packaged import locate
from asr.process.runtime import Parser, program_name, run_program

NESTED = {
    "limits": ("body_mb", "seconds", "sessions", "connections", "requests_per_minute", "idle_seconds", "drain_seconds"),
    "batching": ("batch_size", "batch_seconds", "batch_wait_ms"),
}
PACKAGES = {"fastapi", "uvicorn", "starlette", "wyoming", "prometheus_client", "multipart", "python_multipart"}
PACKAGES |= {"h11", "websockets"}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        from asr.serving.run import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PACKAGES:
            raise
        raise ValueError(
            f"serve: {error.name} is not installed; expected the extra serve: pip install 'earshot[serve]'"
        ) from error
    return run(_values(options))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program_name("asr.serve"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("run", type=_path, help="a run folder of asr.train")
    parser.add_argument("--commands", type=_path, help="a grammar: only its sentences are understood; watched")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1; 0.0.0.0: all of this machine's)")
    parser.add_argument("--port", type=int, help="(default: 8000; 0: any free one)")
    parser.add_argument("--wyoming-port", type=int, help="for Home Assistant, usually 10300 (default: no Wyoming)")
    parser.add_argument("--wyoming-host", help="address of that port, which has no token (default: 127.0.0.1)")
    parser.add_argument("--websocket", choices=("vosk", "sherpa"), help="what the root speaks (default: vosk)")
    parser.add_argument("--model-name", help="that clients ask for (default: the name of the run's folder)")
    parser.add_argument("--language", help="of the model, as clients name it (default: en)")
    parser.add_argument("--token-file", metavar="FILE", help="with the bearer token that clients must send")
    parser.add_argument("--tls-cert", metavar="FILE", help="a certificate (PEM), for HTTPS")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), help="of the model's arithmetic")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where the model computes (default: cpu)")
    parser.add_argument("--num-threads", type=int, help="CPU threads of the model (default: one a core)")
    parser.add_argument("--num-decoders", type=int, help="processes that decode recordings (default: 2)")
    parser.add_argument("--log-transcripts", action="store_true", help="write what was recognised into the log")
    _add_limits(parser)
    return parser.parse_args(arguments)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    limits.add_argument("--body-mb", type=float, help="megabytes of a request's body (default: 25)")
    limits.add_argument("--seconds", type=float, help="of audio in a request or an utterance (default: 600)")
    limits.add_argument("--sessions", type=int, help="requests and streams at a time (default: 64)")
    limits.add_argument("--connections", type=int, help="open connections (default: 256)")
    limits.add_argument("--requests-per-minute", type=int, help="of one address (default: 600; 0: any number)")
    limits.add_argument("--idle-seconds", type=float, help="after which a silent client is dropped (default: 15)")
    limits.add_argument("--drain-seconds", type=float, help="to finish what was begun, at the end (default: 10)")
    limits.add_argument("--batch-size", type=int, help="utterances that are recognised together (default: 16)")
    limits.add_argument("--batch-seconds", type=float, help="of their padded audio (default: 120)")
    limits.add_argument("--batch-wait-ms", type=float, help="that an utterance waits for others (default: 5)")


def _path(text: str) -> str:
    return str(locate(text))


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that were given, as the configuration nests them."""
    values = dict(vars(options))
    for section, names in NESTED.items():
        given = {name.removeprefix("batch_"): values.pop(name) for name in names if name in values}
        if given:
            values[section] = given
    return values


if __name__ == "__main__":
    run_program(main)
