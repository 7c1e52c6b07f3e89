"""Damage to small files, the same for the same generator: bytes, words, numbers, lines, and the values of JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

Generator = np.random.Generator
TOKEN = re.compile(rb"[A-Za-z_]\w*|-?\d[\d.eE+-]*|\s+|[^\w\s]")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
LARGEST = 32 << 20  # bytes that are said again; twice what any reader takes, and no gibibyte of the fuzzer's own
NUMBERS = [
    b"0",
    b"-1",
    b"1e999",
    b"-1e999",
    b"NaN",
    b".inf",
    b"1000000000",
    b"9" * 30,
    b"0.5",
    b"-0.0",
    b"1e-320",
    b"2",
]
WORDS = [
    *(
        b"null",
        b"true",
        b"~",
        b"[",
        b"]",
        b"{",
        b"}",
        b"[[[[[[[[",
        b'"',
        b"'",
        b":",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"|",
        b">",
    ),
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        "\u2028".encode(),
        "ß".encode(),
        b"\\ud800",
        b"\r",
        b"\t",
        b"..",
        b"/",
        b"#",
        b"%",
        b"!!",
    ),
    *(
        b"@",
        b"$",
        b"*",
        b"+",
        b"<",
        b">",
        b"(",
        b")",
        b"=",
        b";",
        b"//",
        b"/*",
        b"\\",
        b"\n\n",
        b"---\n",
        b"<unk>",
        b"<s>",
        b"::",
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        10**9,
        10**30,
        0.5,
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        "x",
        "..",
        "\x00",
        "é",
        [],
        {},
    ),
    *([1], {"a": 1}, [[[]]], "9" * 400, "/etc/passwd", "a b", [None], {"": ""}),
]


def damage(content: bytes, others: Sequence[bytes], generator: Generator) -> bytes:
    """The content with one to four things changed in it."""
    for _ in range(int(generator.choice([1, 1, 1, 2, 4]))):
        kind = generator.integers(12)
        changed = _damage_json(content, generator) if kind < 4 else None
        content = changed if changed is not None else _damage_bytes(content, others, generator)
    return content


def soup(contents: Sequence[bytes], generator: Generator) -> bytes:
    """New content, made of the words of others in any order."""
    tokens = [token for content in contents for token in TOKEN.findall(content[:4000])] + WORDS + NUMBERS
    return b"".join(tokens[place] for place in generator.integers(len(tokens), size=int(generator.integers(1, 120))))


def damage_tensors(content: bytes, generator: Generator) -> bytes:
    """A safetensors file with another header, or other bytes."""
    size = int.from_bytes(content[:8], "little")
    if generator.random() < 0.7:
        header = _damage_json(content[8 : 8 + size], generator) or b"{}"
        size = len(header) if generator.random() < 0.9 else int(generator.choice([0, 2**31, 2**62, 7]))
        return size.to_bytes(8, "little") + header + content[8 + int.from_bytes(content[:8], "little") :]
    return _damage_bytes(content, [], generator)


def _damage_bytes(content: bytes, others: Sequence[bytes], generator: Generator) -> bytes:
    start, end = sorted(generator.integers(len(content) + 1, size=2).tolist())
    end = min(end, start + int(generator.choice([1, 8, 100, 10**6])))
    match generator.integers(10):
        case 0:  # a byte
            return content[:start] + bytes([generator.integers(256)]) + content[start + 1 :]
        case 1:  # cut off
            return content[:start]
        case 2:  # taken out
            return content[:start] + content[end:]
        case 3:  # said twice, or a thousand times
            times = min(int(generator.choice([1, 1, 1, 1000])), max(1, LARGEST // max(1, end - start)))
            return content[:end] + content[start:end] * times + content[end:]
        case 4:  # of another file
            other = others[generator.integers(len(others))] if others else b""
            return content[:start] + other[start:end] + content[end:]
        case 5:  # lines exchanged
            lines = content.splitlines(keepends=True)
            if len(lines) > 1:
                one, two = generator.integers(len(lines), size=2).tolist()
                lines[one], lines[two] = lines[two], lines[one]
            return b"".join(lines)
        case 6 | 7:
            places = list(NUMBER.finditer(content))
            if not places:
                return content + b"0"
            place = places[generator.integers(len(places))]
            return content[: place.start()] + NUMBERS[generator.integers(len(NUMBERS))] + content[place.end() :]
        case _:
            return content[:start] + WORDS[generator.integers(len(WORDS))] + content[start:]


def _damage_json(content: bytes, generator: Generator) -> bytes | None:
    """One value of a JSON file, or of a line of JSON, is another, is gone or has another key; None where it is none."""
    lines = [content]
    place = 0
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        lines = content.splitlines(keepends=True)
        if not lines:
            return None
        place = int(generator.integers(len(lines)))
        try:
            value = json.loads(lines[place])
        except (ValueError, RecursionError):
            return None
    lines[place] = json.dumps(_changed(value, generator)).encode() + (b"\n" if len(lines) > 1 else b"")
    return b"".join(lines)


def _changed(value: Any, generator: Generator) -> Any:
    new = VALUES[generator.integers(len(VALUES))]
    if not isinstance(value, dict | list) or not value or generator.random() < 0.1:
        return new
    key: Any = (list(value) if isinstance(value, dict) else range(len(value)))[generator.integers(len(value))]
    action = generator.random()
    if action < 0.15:
        del value[key]
    elif action < 0.25 and isinstance(value, dict):
        value[str(new)] = value.pop(key)
    elif action < 0.3 and isinstance(value, list):
        value.append(value[key])
    else:
        value[key] = _changed(value[key], generator)
    return value
