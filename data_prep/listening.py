"""A page to listen to some of a corpus: what is said, by whom, and the recording to play."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from asr.data.manifest import Utterance
from asr.files.replacing import replacing
from asr.pages.render import render


def write_page(path: Path, splits: Mapping[str, Iterable[Utterance]], *, title: str) -> None:
    """Write the page; recordings below its folder are linked relative to it, so that both can move together."""
    rows = {
        split: [{"utterance": each, "source": _source(path.parent.absolute(), each)} for each in utterances]
        for split, utterances in splits.items()
    }
    page = render("listening.html.j2", title=title, splits={split: found for split, found in rows.items() if found})
    with replacing(path) as beside:
        beside.write_text(page + "\n", encoding="utf-8")


def _source(folder: Path, utterance: Utterance) -> str:
    audio = Path(utterance.audio_filepath)
    source = audio.relative_to(folder).as_posix() if audio.is_relative_to(folder) else audio.as_uri()
    return quote(source, safe="/:%")
