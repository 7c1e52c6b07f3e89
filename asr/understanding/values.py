"""Tells whether two slot values are the same: as what they are, with their signs and symbols."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from asr.text.normalization import APOSTROPHES

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")  # as a number is written, which 0123 and +3 are not
NEAR = 1e-9  # numbers that differ by less of themselves were the same before they were computed with


def same_value(found: Any, expected: Any) -> bool:
    """Compares as people say values: 21 is "21" and "Living Room" is "living room", but -3 is not 3, nor C# C.

    A text is compared with a number as a number, where it is written as one; two texts are compared as texts, so that
    1.10 is not 1.1. None is no value, and like none.
    """
    if found is None or expected is None:
        return False
    if isinstance(found, list | tuple) or isinstance(expected, list | tuple):
        return _same_members(found, expected)
    if isinstance(found, str) and isinstance(expected, str):
        return _plain(found) == _plain(expected)
    if isinstance(found, bool) or isinstance(expected, bool):
        return _plain(_shown(found)) == _plain(_shown(expected))
    one, other = _number(found), _number(expected)
    if one is None or other is None:
        return False
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=NEAR)


def _same_members(found: Any, expected: Any) -> bool:
    if not isinstance(found, list | tuple) or not isinstance(expected, list | tuple) or len(found) != len(expected):
        return False
    return all(same_value(*pair) for pair in zip(found, expected))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> int | float | None:
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or not NUMBER.fullmatch(value.strip()):
        return None
    return float(value) if "." in value else int(value)


def _plain(text: str) -> str:
    """A text without what nobody says: capitals, forms of letters, more than one space."""
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).translate(APOSTROPHES)
    return " ".join(text.casefold().split())
