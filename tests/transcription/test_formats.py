"""Output formats, read back by the readers that others use."""

import csv
import html
import io
import itertools
import json
from pathlib import Path

import pysubs2
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from asr.transcript import Transcript, Word
from asr.transcription.formats import FORMATS
from asr.transcription.formats.captions import LINE_CHARACTERS, LONGEST, LONGEST_PAUSE, Caption, cut_captions


def spoken(text: str, *, start: float = 0.4, word_seconds: float = 0.25, pause: float = 0.05) -> list[Word]:
    """Words one after another; a `|` between them is a pause of a second."""
    words = []
    for word in text.split():
        if word == "|":
            start += 1.0
            continue
        words.append(Word(word, round(start, 3), round(start + word_seconds, 3), 0.875))
        start += word_seconds + pause
    return words


def transcript_of(words: list[Word], *, duration: float | None = None, channel: int | None = None) -> Transcript:
    text = " ".join(word.word for word in words)
    confidence = 0.875 if words else 0.0
    if duration is None:
        duration = words[-1].end + 0.5 if words else 1.0
    return Transcript(text, confidence, tuple(words), duration, channel)


LONG_TEXT = (
    "please set the lights in the kitchen to forty percent and then turn them off again in ten minutes | "
    'tell me "what time" it is & play <some> music | stop'
)

WORDS = st.lists(
    st.tuples(
        st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=12),
        st.floats(0.01, 2.0),
        st.floats(0.0, 3.0),
    ),
    max_size=40,
).map(
    lambda parts: [
        Word(text, round(sum(p[1] + p[2] for p in parts[:number]), 3), 0.0, 0.5)
        for number, (text, _, _) in enumerate(parts)
    ]
)
"""Words of any characters that come one after another; their ends are set below."""


def with_ends(words: list[Word]) -> list[Word]:
    ends = [min(word.start + 0.6, after.start) for word, after in itertools.pairwise(words)]
    ends += [words[-1].start + 0.6] if words else []
    return [Word(word.word, word.start, end, 0.5) for word, end in zip(words, ends, strict=True)]


def render(name: str, words: list[Word], **settings: object) -> str:
    return FORMATS[name].render(transcript_of(words, **settings), name="kitchen/an order.wav")  # type: ignore[arg-type]


def test_txt_is_the_text() -> None:
    assert render("txt", spoken("turn it on")) == "turn it on\n"
    assert render("txt", []) == "\n"


def test_json_holds_everything() -> None:
    transcript = transcript_of(spoken('turn "it" ön'), channel=1)
    values = json.loads(FORMATS["json"].render(transcript, name="a.wav"))
    assert values.pop("id") == "a.wav"
    assert Transcript.from_dict(values) == transcript


@settings(max_examples=30, deadline=None)
@given(WORDS)
def test_tsv_is_read_by_csv(words: list[Word]) -> None:
    words = with_ends(words)
    rows = list(csv.DictReader(io.StringIO(render("tsv", words)), dialect="excel-tab"))
    assert [row["word"] for row in rows] == [word.word for word in words]
    for row, word in zip(rows, words, strict=True):
        assert float(row["start"]) == pytest.approx(word.start, abs=6e-4)
        assert float(row["end"]) == pytest.approx(word.end, abs=6e-4)
        assert float(row["confidence"]) == 0.5


def test_ctm_is_read_by_lhotse(tmp_path: Path) -> None:
    from lhotse import SupervisionSegment, SupervisionSet

    words = spoken("turn it on | now")
    path = tmp_path / "words.ctm"
    path.write_text(render("ctm", words, channel=1))
    assert path.read_text().splitlines()[0] == "kitchen/an_order.wav 2 0.400 0.250 turn 0.8750"
    whole = SupervisionSegment("1", "kitchen/an_order.wav", start=0.0, duration=60.0, channel=2)
    aligned = SupervisionSet.from_segments([whole]).with_alignment_from_ctm(path)
    items = next(iter(aligned)).alignment["word"]
    assert [(item.symbol, item.start, round(item.end, 3), item.score) for item in items] == [
        (word.word, word.start, word.end, 0.875) for word in words
    ]
    assert render("ctm", []) == ""


@settings(max_examples=20, deadline=None)
@given(words=WORDS)
def test_textgrid_is_read_by_praatio(tmp_path_factory: pytest.TempPathFactory, words: list[Word]) -> None:
    words = with_ends(words)
    path = tmp_path_factory.mktemp("grid") / "words.TextGrid"
    path.write_text(render("TextGrid", words), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="error")
    assert grid.tierNames == ("words", "confidence")
    assert grid.maxTimestamp == pytest.approx(transcript_of(words).duration)
    assert [entry.label for entry in grid.getTier("words").entries] == [word.word for word in words]
    assert {entry.label for entry in grid.getTier("confidence").entries} <= {"0.5000"}
    for entry, word in zip(grid.getTier("words").entries, words, strict=True):
        assert entry.start == pytest.approx(word.start, abs=2e-3)
        assert entry.end == pytest.approx(word.end, abs=2e-3)


def test_words_of_no_length_have_a_place_in_a_textgrid(tmp_path: Path) -> None:
    words = [Word(text, 1.0, 1.0, 0.5) for text in "abcd"]
    path = tmp_path / "words.TextGrid"
    path.write_text(render("TextGrid", words, duration=1.0))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="error")
    entries = grid.getTier("words").entries
    assert [entry.label for entry in entries] == ["", "a", "b", "c", "d"]
    assert [entry.end for entry in entries][:-1] == [entry.start for entry in entries][1:]
    path.write_text(render("TextGrid", words, duration=0.0))  # all in the shortest file there is
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="error")
    assert len(grid.getTier("words").entries) == 4


def test_silence_is_an_empty_textgrid(tmp_path: Path) -> None:
    path = tmp_path / "words.TextGrid"
    path.write_text(render("TextGrid", [], duration=2.5))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="error")
    assert [(entry.start, entry.end, entry.label) for entry in grid.getTier("words").entries] == [(0, 2.5, "")]


def expected_captions(words: list[Word]) -> list[tuple[float, float, str]]:
    captions = cut_captions(words, duration=transcript_of(words).duration)
    return [(each.start, each.end, "\n".join(each.lines)) for each in captions]


@pytest.mark.parametrize("start", [0.4, 3_599.2, 359_000.0])
def test_subtitles_are_read_by_pysubs2(start: float) -> None:
    words = spoken(LONG_TEXT, start=start)
    expected = expected_captions(words)
    assert len(expected) > 2
    for name in ("srt", "vtt"):
        events = pysubs2.SSAFile.from_string(render(name, words), format_=name)
        found = [(event.start / 1000, event.end / 1000, event.plaintext) for event in events]
        # pysubs2 drops what looks like a tag from srt, and leaves vtt's entities as they are
        said = [html.unescape(text) for _, _, text in found]
        assert [text.replace("<some>", "") for text in said] == [text.replace("<some>", "") for _, _, text in expected]
        for (begin, end, _), (expected_begin, expected_end, _) in zip(found, expected, strict=True):
            assert begin == pytest.approx(expected_begin, abs=6e-4)
            assert end == pytest.approx(expected_end, abs=6e-4)


def test_subtitles_of_browsers_are_read_by_webvtt(tmp_path: Path) -> None:
    words = spoken(LONG_TEXT, start=3_599.2)
    path = tmp_path / "words.vtt"
    path.write_text(render("vtt", words))
    cues = webvtt.read(str(path))
    assert [html.unescape(cue.text) for cue in cues] == [text for _, _, text in expected_captions(words)]
    assert cues[0].start == "00:59:59.200"
    path.write_text(render("vtt", []))
    assert len(webvtt.read(str(path))) == 0
    assert render("srt", []) == ""


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_captions_hold_every_word_in_lines_that_fit(words: list[Word]) -> None:
    words = with_ends(words)
    captions = cut_captions(words, duration=transcript_of(words).duration)
    assert " ".join(line for caption in captions for line in caption.lines) == " ".join(w.word for w in words)
    for caption, after in zip(captions, [*captions[1:], None]):
        assert len(caption.lines) <= 2
        assert all(len(line) <= LINE_CHARACTERS for line in caption.lines)
        assert caption.start <= caption.end <= caption.start + LONGEST
        assert after is None or caption.end <= after.start


def test_captions_are_cut_at_pauses_rather_than_where_they_are_full() -> None:
    words = spoken("turn off the lights in the kitchen please | set a timer for ten minutes | thanks")
    assert [" ".join(caption.lines) for caption in cut_captions(words, duration=20.0)] == [
        "turn off the lights in the kitchen please",
        "set a timer for ten minutes",
        "thanks",
    ]
    late = Word("again", words[-1].end + LONGEST_PAUSE + 0.01, words[-1].end + 2.0, 0.9)
    assert len(cut_captions([words[-1], late], duration=20.0)) == 2


def test_fluent_speech_is_cut_where_a_caption_is_full_into_lines_alike() -> None:
    words = spoken("the quick brown fox jumps over the lazy dog and runs away from all the hounds " * 3)
    captions = cut_captions(words, duration=60.0)
    assert len(captions) == 3
    for caption in captions:
        first, second = caption.lines
        assert abs(len(first) - len(second)) < 8


def test_a_caption_stays_long_enough_to_be_read_but_not_into_the_next() -> None:
    words = [Word("incomprehensibilities", 1.0, 1.2, 0.9), Word("no", 9.0, 9.2, 0.9)]
    first, second = cut_captions(words, duration=9.15)
    assert first == Caption(1.0, 1.0 + 21 / 17, ("incomprehensibilities",))
    assert second.end == 9.2


def test_words_too_long_for_a_line_or_for_the_screen() -> None:
    words = [Word("a" * 50, 0.0, 9.0, 0.5), Word("b", 9.1, 9.2, 0.5)]
    first, second = cut_captions(words, duration=10.0)
    assert first == Caption(0.0, LONGEST, ("a" * 50,))
    assert second.lines == ("b",)
