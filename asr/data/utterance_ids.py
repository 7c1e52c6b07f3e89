"""Ids of utterances: one rule for all programs.

An id is any string that is not empty, once in a manifest. An utterance without one is given one by `make_ids`, by
whichever program reads it. Where files are made of an utterance, they go to the place that is its id, below the output
folder and without `/` in front (`place_of`); an id with `..`, `.` or an empty part is no place (`is_place`).
"""

import os
from collections.abc import Iterable


def make_ids(recordings: Iterable[tuple[str, float]], *, taken: set[str]) -> list[str]:
    """Ids for utterances without one, from the `audio_filepath` and the offset of each: "wav/a", "wav/a@2.5".

    It is the path without its suffix and without what would not stay below a folder: a `/` at the beginning, and `.`
    and `..`; so that each id is also a place for the transcript. One that is in `taken`, to which all are added, or was
    made before is numbered: "wav/a~2".
    """
    made = []
    for audio, offset in recordings:
        stem, _ = os.path.splitext(audio)  # noqa: PTH122  (a million times a manifest)
        parts = [part for part in stem.split("/") if part not in ("", ".", "..")]
        plain = ("/".join(parts) or "recording") + (f"@{offset:.15g}" if offset else "")
        id_, number = plain, 1
        while id_ in taken:
            number += 1
            id_ = f"{plain}~{number}"
        taken.add(id_)
        made.append(id_)
    return made


def place_of(id_: str) -> str:
    """Returns the path below the output folder that an id is: one made of an absolute path has its `/` in front left
    out.
    """
    return id_.lstrip("/")


def is_place(place: str) -> bool:
    """Returns whether a name is a path that stays below the output folder."""
    return "\0" not in place and not {"", ".", ".."} & set(place.split("/"))
