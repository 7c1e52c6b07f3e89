"""asr/text/normalization.py: one form for transcripts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.text.normalization import normalize_transcript


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  Turn\tON \n the  light ", "turn on the light"),
        ("Don’t -- STOP!", "don't stop"),
        ("rock 'n' roll, the dogs' bowl", "rock n roll the dogs bowl"),
        ("it´s o`clock ‘quoted’", "it's o'clock quoted"),
        ("well-known e.g. 3.5%", "well known e g 3 5"),
        ("ＦＵＬＬ　ｗｉｄｔｈ ﬁne", "full width fine"),
        ("soft\u00adly snake_case", "softly snake case"),
        ("Ça va, où? ÇA", "ça va où ça"),
        ("Привет, МИР!", "привет мир"),
        ("नमस्ते दुनिया।", "नमस्ते दुनिया"),
        ("e\u0301te\u0301", "été"),
        ("''it'''s''", "it s"),
    ],
)
def test_examples(text, expected):
    assert normalize_transcript(text) == expected


@given(st.text())
def test_properties(text):
    normal = normalize_transcript(text)
    assert normalize_transcript(normal) == normal
    assert normal == " ".join(normal.split())
    assert all(character in " '" or unicodedata.category(character)[0] in "LMN" for character in normal)
    assert "' " not in normal
    assert " '" not in normal
    assert unicodedata.is_normalized("NFKC", normal)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz '", max_size=30))
def test_plain_words_stay(text):
    words = [word.strip("'") for word in text.split()]
    if "''" not in text:
        assert normalize_transcript(text).split() == [word for word in words if word]


def test_every_character_that_changes_changes_once():
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.is_normalized("NFKC", character) and character.lower() == character:
            continue
        for text in (character, f"a{character}", f"{character}a"):
            normal = normalize_transcript(text)
            assert normalize_transcript(normal) == normal == normal.lower(), hex(code)
            assert unicodedata.is_normalized("NFKC", normal), hex(code)
