"""JSON lines of strangers: bounded in length, without keys that are there twice, and finite."""

import json
import math
from collections.abc import Iterator
from typing import IO, Any

LONGEST_LINE = 16 << 20  # bytes; a transcript of hours with all its words is shorter


class LineError(ValueError):
    """A line that is no JSON object; the message says what it is and what was expected."""


def bounded_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yields the lines of a binary file, each with its end. Raises LineError for one that memory should not have to
    hold.
    """
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise LineError(f"a line of more than {LONGEST_LINE >> 20} MiB; expected one JSON object a line")
        yield line


def parse_object(line: bytes | str, *, is_finite: bool = True) -> dict[str, Any]:
    """Returns the object of a line.

    Raises LineError where it is not UTF-8 or not JSON, something else than an object, has a key twice (readers differ
    on which of them counts), or a number that is not finite (unless `is_finite` is False: who reads it looks at them).
    """
    try:
        text = line if isinstance(line, str) else line.decode("utf-8")
        value = (_DECODER if is_finite else _ANY_NUMBER).decode(text)
    except LineError:
        raise
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON ({error}); expected one JSON object a line") from error
    if not isinstance(value, dict):
        raise LineError(f"{type(value).__name__}; expected a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LineError(f"the key {twice!r} twice; expected each key once")
    return values


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise LineError(f"the number {text[:40]}; expected a finite one")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
_ANY_NUMBER = json.JSONDecoder(object_pairs_hook=_unique)
