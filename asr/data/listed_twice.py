"""Finds stretches that manifests list with different transcripts, and those that two splits share."""

from array import array
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Int64

from asr.data.manifest import Utterance

Key = tuple[str, int, int]


def stretch_keys(utterances: Iterable[Utterance]) -> Int64[np.ndarray, " utterance"]:
    """Returns a number for each that is the same where the stretch is; of two others it hardly ever is."""
    return np.frombuffer(array("q", (hash(_key(each)) for each in utterances)), dtype=np.int64)


def find_contradicted(
    keys: Int64[np.ndarray, " utterance"], utterance: Callable[[int], Utterance]
) -> dict[int, list[Utterance]]:
    """Returns the places of utterances whose stretch is listed with something else said in it, with all that list it.

    `keys` are from `stretch_keys`, and `utterance` gives the one at a place. A transcript counts as it is written,
    and so do an intent and slots. Only utterances whose key is there twice are read again.
    """
    order = np.argsort(keys, kind="stable")
    is_same = np.diff(keys[order]) == 0
    twice = order[np.append(is_same, False) | np.insert(is_same, 0, False)] if len(keys) > 1 else order[:0]
    listed: dict[Key, list[int]] = {}
    for place in sorted(twice.tolist()):
        listed.setdefault(_key(utterance(place)), []).append(place)
    found: dict[int, list[Utterance]] = {}
    for places in listed.values():
        members = [utterance(place) for place in places]
        if any(_said(member) != _said(members[0]) for member in members):
            found |= dict.fromkeys(places, members)
    return found


def say_contradiction(members: Iterable[Utterance]) -> str:
    """Returns what is listed of one stretch, each with its id."""
    parts = " and ".join(f"{_shown(member)} ({member.id})" for member in members)
    return f"its recording is listed with different transcripts: {parts}"


def _key(utterance: Utterance) -> Key:
    end = utterance.offset + utterance.duration
    return utterance.audio_filepath, round(1000 * utterance.offset), round(1000 * end)  # milliseconds


def _said(utterance: Utterance) -> tuple[object, ...]:
    return utterance.text, utterance.extra.get("intent"), utterance.extra.get("slots")


def _shown(utterance: Utterance) -> str:
    text, intent, slots = _said(utterance)
    return f"'{text}'" if intent is None else f"'{text}' as {intent} {slots}"
