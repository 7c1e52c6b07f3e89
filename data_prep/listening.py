"""A page to listen to some of a corpus: what is said, by whom, and the recording to play."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from asr.data.manifest import Utterance
from asr.files.replacing import replacing

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: middle; }
.quiet { white-space: nowrap; }
th, .quiet { color: #666; font-weight: normal; font-size: .85rem; }
audio { height: 2rem; width: 14rem; display: block; }
"""


def write_page(path: Path, splits: Mapping[str, Iterable[Utterance]], *, title: str) -> None:
    """Write the page; recordings below its folder are linked relative to it, so that both can move together."""
    parts = [
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style>\n<h1>{escape(title)}</h1>",
    ]
    for split, utterances in splits.items():
        rows = [_row(path.parent.absolute(), utterance) for utterance in utterances]
        if rows:
            parts.append(f"<h2>{escape(split)}</h2>\n<table><tr><th>recording<th>transcript<th>speaker</tr>")
            parts += [*rows, "</table>"]
    with replacing(path) as beside:
        beside.write_text("\n".join(parts) + "\n</html>\n", encoding="utf-8")


def _row(folder: Path, utterance: Utterance) -> str:
    audio = Path(utterance.audio_filepath)
    source = audio.relative_to(folder).as_posix() if audio.is_relative_to(folder) else audio.as_uri()
    source = quote(source, safe="/:%")
    speaker = escape(utterance.speaker or "")
    accent = escape(str(utterance.extra.get("accent", "")))
    return (
        f'<tr><td><audio controls preload="none" src="{source}"></audio><td>{escape(utterance.text)}'
        f'<td>{speaker} <span class="quiet">{accent} {utterance.duration:.1f} s</span></tr>'
    )
