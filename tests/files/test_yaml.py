"""YAML as people mean it: nothing re-typed, nothing expanded before it is counted, every refusal with key and line."""

import resource
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.config.reading import ConfigError
from asr.config.recognizer import load_config
from asr.files import yaml as yaml_file
from asr.files.yaml import YAMLError, parse_yaml, read_yaml_file, write_yaml


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "N",
        "12:00",
        "07:30:15",
        "0123",
        "-012",
        "0x1f",
        "0o17",
        "1_000",
        "2026-11-28",
        "=",
        "00.5",
        "1e",
        ".",
        "+",
        "C#",
        "@home",
        "１２",
    ],
)
def test_what_looks_like_text_is_the_text_that_is_written(text: str) -> None:
    quoted = f"'{text}'" if text == "@home" else text
    assert parse_yaml(f"a: {quoted}\nb: '{text}'").values == {"a": text, "b": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("-0.25", -0.25),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_numbers_and_words_of_the_core_schema(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}").values["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_what_is_written() -> None:
    assert parse_yaml("on: 1\n0123: 2\n12:00: 3\ntrue: 4").values == {"on": 1, "0123": 2, "12:00": 3, "true": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: .inf", r"line 1: a: found \.inf; expected a finite number"),
        ("a:\n  b: -.INF", r"line 2: a\.b: found -\.INF; expected a finite number"),
        ("a: [1, .nan]", r"line 1: a\.1: found \.nan; expected a finite number"),
        ("a: 1e999", "line 1: a: found 1e999, which is beyond every float"),
        ("a: " + "9" * 5000, "line 1: a: a number of 5,000 characters; expected at most 300"),
        ("a: 1\nb: 2\na: 3", "line 3: a: the key 'a' is there twice, the same key as in line 1"),
        ("a: !!set {b, c}", "line 1: a: the tag !!set is not read"),
        ("a: !!binary aGk=", "line 1: a: the tag !!binary is not read"),
        ("a: !!timestamp 2026-11-28", "line 1: a: the tag !!timestamp is not read"),
        ("a: !!float 3", "line 1: a: the tag !!float is not read"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: a: the tag !!python/object/apply:os.system is not read"),
        ("!!str b: 1\n!!int 3: 1", "line 2: 3: the tag !!int is not read"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "line 3: c.<<: merge keys are not read"),
        ("? [a, b]\n: c", "line 1: a key that is no text; expected `key: value`"),
        ("a: &x [*x]", r"line 1: a\.0: \*x stands for what it is in itself"),
        ("a: *x", r"line 1: a: \*x stands for nothing; expected &x before it"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins; expected one in a file"),
        ("a: " + "[" * 50 + "]" * 50, "more than 40 levels deep; expected fewer"),
        ("[" * 100_000, "nesting depth"),
        ("a: \0", "control characters are not allowed"),
    ],
)
def test_what_would_be_something_else_is_refused_with_key_and_line(text: str, message: str) -> None:
    with pytest.raises(YAMLError, match=message):
        parse_yaml(text)


def test_an_alias_stands_for_its_value() -> None:
    assert parse_yaml("a: &x {b: [1, 2]}\nc: *x\nd: &y on\ne: *y").values == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": "on",
        "e": "on",
    }


@pytest.mark.parametrize("form", ["flow", "mappings"])
def test_a_billion_laughs_are_refused_before_they_are_laughed(form: str) -> None:
    lines = ["a0: &a0 [l, l, l, l, l, l, l, l, l]"]
    for number in range(1, 12):
        parts = [f"*a{number - 1}"] * 9
        inner = ", ".join(parts if form == "flow" else [f"k{place}: {part}" for place, part in enumerate(parts)])
        lines.append(f"a{number}: &a{number} " + (f"[{inner}]" if form == "flow" else f"{{{inner}}}"))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(YAMLError, match=r"line \d: .*more than 2,000,000 values, with those that aliases"):
        parse_yaml("\n".join(lines))
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_a_file_is_measured_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: 1")
    monkeypatch.setattr(yaml_file, "MAX_BYTES", 3)
    with pytest.raises(YAMLError, match="4 bytes; expected at most 3 of YAML"):
        read_yaml_file(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml_file(path).values == {"a": 1}
    path.write_bytes(b"a: \xff")
    with pytest.raises(YAMLError, match=r"not UTF-8 \(invalid start byte at byte 3\); expected YAML in UTF-8"):
        read_yaml_file(path)


def test_a_configuration_is_read_alike(tone_config: Path) -> None:
    tone_config.write_text(tone_config.read_text() + "init_from: 0123\n")
    assert load_config(tone_config).init_from == "0123"
    with pytest.raises(ConfigError, match=r"train\.compile: found 'on'; input should be a valid boolean"):
        load_config(tone_config, ["train.compile=on"])
    with pytest.raises(ConfigError, match=r"optim\.learning_rate=\.inf': the value is not valid YAML: .*finite"):
        load_config(tone_config, ["optim.learning_rate=.inf"])


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff"), max_size=12)
    | st.sampled_from(["on", "12:00", "0123", "1e-3", "1e3", "~", "null", "<<", ".inf", "0x1f", "2026-11-28", "-3"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<:0. ", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(value=values)
def test_what_is_written_reads_back_as_itself(value: object) -> None:
    assert parse_yaml(write_yaml({"a": value})).values == {"a": value}


@given(text=st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@`?,.<~01\n \t"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_yaml(text)
    except YAMLError:
        return
