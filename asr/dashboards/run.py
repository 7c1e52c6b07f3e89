"""Writes a dashboard, or serves it on loopback while trainings go on."""

import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from markupsafe import Markup

from asr.dashboards.curves import DashboardError, differing_keys, read_run
from asr.dashboards.reference import load_reference, save_reference
from asr.files.replacing import replacing
from asr.pages.render import FOLDER, render
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK

LOOPBACK = "127.0.0.1"


def run(paths: Sequence[Path], reference: Path | None, *, output: Path) -> int:
    """Writes the page; gives EXIT_BAD_FILES where a file or a line of it could not be read."""
    data = gather(paths, reference)
    with replacing(output) as beside:
        beside.write_text(draw(data), encoding="utf-8")
    print(*data["problems"], sep="\n", end="\n" if data["problems"] else "", file=sys.stderr)
    print(f"the dashboard is in {output}")
    return EXIT_BAD_FILES if data["problems"] else EXIT_OK


def store_curve(path: Path, output: Path) -> int:
    """Stores the curves of a run as a reference."""
    curves = read_run(path)
    save_reference(curves, output)
    print(*curves.problems, sep="\n", end="\n" if curves.problems else "", file=sys.stderr)
    print(f"the reference curve is in {output}")
    return EXIT_BAD_FILES if curves.problems else EXIT_OK


def watch(paths: Sequence[Path], reference: Path | None, *, port: int) -> int:
    """Serves the page until it is interrupted; each answer reads the files again."""
    gather(paths, reference)  # what is wrong with them is said now, not in the browser
    with open_server(paths, reference, port=port) as server:
        print(f"the dashboard is at http://{LOOPBACK}:{server.server_port}/ ; Ctrl-C ends it", flush=True)
        server.serve_forever()
    return EXIT_OK


def open_server(paths: Sequence[Path], reference: Path | None, *, port: int) -> ThreadingHTTPServer:
    """Returns a server on loopback; raises DashboardError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site may lead its own name to loopback; a page of it would then read ours.
            if self.headers.get("Host", "").partition(":")[0] not in (LOOPBACK, "localhost"):
                return self.send_error(403)
            if self.path not in ("/", "/data.json"):
                return self.send_error(404)
            try:
                data = gather(paths, reference)
            except DashboardError as error:
                return self.send_error(500, explain=str(error))
            is_page = self.path == "/"
            content = (draw(data, is_live=True) if is_page else json.dumps(data, allow_nan=False)).encode()
            self.send_response(200)
            self.send_header("Content-Type", f"{'text/html' if is_page else 'application/json'}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)
            return None

        def log_message(self, format: str, *args: Any) -> None: ...

    try:
        return ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise DashboardError(f"--port {port}: cannot be opened ({error.strerror}); take another, or 0") from None


def gather(paths: Sequence[Path], reference: Path | None) -> dict[str, Any]:
    """Returns all that the page shows, as JSON has it. Raises DashboardError where no run has a figure."""
    runs = [read_run(path) for path in paths]
    problems = [problem for each in runs for problem in each.problems]
    if not any(each.series for each in runs):
        raise DashboardError("\n".join([*problems, "no run has any figure; expected a metrics.jsonl with lines"]))
    names = [each.name for each in runs]
    shown = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return {
        "runs": [
            {"name": name, "series": each.series, "epochs": each.epochs, "evaluations": each.evaluations}
            for name, each in zip(shown, runs, strict=True)
        ],
        "reference": load_reference(reference) if reference else None,
        "differences": differing_keys(runs),
        "problems": problems,
    }


def draw(data: dict[str, Any], *, is_live: bool = False) -> str:
    """Returns the page, with its script and data in it."""
    script = (FOLDER / "dashboard.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "dashboard.html.j2",
        data=Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
        script=Markup(script),
        script_digest=digest,
        is_live=is_live,
        **{key: data[key] for key in ("runs", "differences", "problems", "reference")},
    )
