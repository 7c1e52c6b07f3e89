"""Long recordings: however they are cut, every word once; memory that does not grow."""

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asr.audio.voice_activity import EnergyConfig
from asr.recognizer import Recognizer
from asr.transcript import Transcript, Word
from asr.transcription.segmentation import Segment, SegmentationConfig, Segmenter, transcribe_long
from asr.transcription.stitching import Piece, join, stitch
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import SAMPLE_RATE, WORDS, speak

TEXTS = [" ".join(np.random.default_rng(seed).choice(WORDS, size=1 + seed % 5)) for seed in range(12)]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return train_tone_recognizer()


def long_recording(pauses: Sequence[float], *, seed: int = 0) -> np.ndarray:
    """The texts, spoken one after another with so many seconds of a quiet room between them."""
    generator = np.random.default_rng(seed)
    parts = []
    for text, pause in zip(TEXTS, pauses, strict=True):
        room = 0.003 * generator.standard_normal(round(pause * SAMPLE_RATE))
        parts += [room.astype(np.float32), speak(text, generator)]
    return np.concatenate(parts)


def blocks_of(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def test_a_recording_of_utterances_gives_their_words(recognizer: Recognizer) -> None:
    assert [
        recognizer.transcribe(speak(text, np.random.default_rng(5)), sample_rate=SAMPLE_RATE).text for text in TEXTS
    ] == TEXTS


# Of the overlap from 15 to 17 s the first window hears the end of "bad" alone, the second one "ab" alone.
@example(
    pauses=[0.0] * 10 + [1.0, 2.0],
    windows=(5.0, 2.0),
    shortest_pause=1.0,
    block_size=500,
    batch_size=1,
    detects=False,
)
@settings(max_examples=10, deadline=None)
@given(
    pauses=st.lists(st.floats(0.0, 3.0), min_size=len(TEXTS), max_size=len(TEXTS)),
    windows=st.tuples(st.floats(4.0, 30.0), st.floats(2.0, 6.0)).filter(lambda sizes: sizes[1] <= sizes[0] / 2),
    shortest_pause=st.floats(0.3, 1.0),
    block_size=st.integers(500, 100_000),
    batch_size=st.integers(1, 5),
    detects=st.booleans(),
)
def test_cut_any_way_it_has_the_same_words(
    recognizer: Recognizer,
    pauses: list[float],
    windows: tuple[float, float],
    shortest_pause: float,
    block_size: int,
    batch_size: int,
    detects: bool,
) -> None:
    samples = long_recording(pauses)
    config = SegmentationConfig(longest=windows[0], overlap=windows[1], shortest_pause=shortest_pause)
    if not detects:
        config = config.model_copy(update={"detector": None})
    found = transcribe_long(
        recognizer, blocks_of(samples, block_size), sample_rate=SAMPLE_RATE, config=config, batch_size=batch_size
    )
    assert found.pred_text == " ".join(TEXTS)
    assert found.duration == len(samples) / SAMPLE_RATE
    edges = [edge for word in found.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= found.duration


def test_words_are_where_they_were_said(recognizer: Recognizer) -> None:
    pauses = [1.0 + 0.1 * number for number in range(len(TEXTS))]
    found = transcribe_long(recognizer, [long_recording(pauses)], sample_rate=SAMPLE_RATE)
    time, number = 0.0, 0
    for text, pause in zip(TEXTS, pauses, strict=True):
        time += pause + 0.12
        for word in text.split():
            assert found.words[number].start == pytest.approx(time, abs=0.1)
            assert found.words[number].end == pytest.approx(time + 0.12 * len(word), abs=0.1)
            time += 0.12 * (len(word) + 1)
            number += 1


def segments_of(samples: np.ndarray, size: int = 4000, **settings: object) -> list[Segment]:
    config = SegmentationConfig(**settings)  # type: ignore[arg-type]
    return list(Segmenter(config, SAMPLE_RATE).cut(blocks_of(samples, size)))


def test_segments_are_the_same_however_the_blocks_come_and_hold_what_was_said() -> None:
    samples = long_recording([1.5] * len(TEXTS))
    whole = segments_of(samples, len(samples), longest=10.0)
    assert len(whole) == len(TEXTS)
    for size in (777, 8000, 50_000):
        for one, other in zip(segments_of(samples, size, longest=10.0), whole, strict=True):
            assert (one.start, one.overlap) == (other.start, other.overlap)
            assert np.array_equal(one.samples, other.samples)
    for segment in whole:
        start = round(segment.start * SAMPLE_RATE)
        assert np.array_equal(segment.samples, samples[start : start + len(segment.samples)])


def test_what_is_short_enough_is_left_whole() -> None:
    samples = long_recording([1.0] * len(TEXTS))
    (segment,) = segments_of(samples, longest=len(samples) / SAMPLE_RATE)
    assert (segment.start, segment.overlap) == (0.0, 0.0)
    assert np.array_equal(segment.samples, samples)
    assert segments_of(samples[:0]) == []


def test_speech_without_a_pause_is_cut_into_windows() -> None:
    samples = speak(" ".join(["bad", "cab"] * 30), np.random.default_rng(0))  # 29 s
    windows = segments_of(samples, longest=10.0, overlap=3.0)
    assert [window.start for window in windows] == pytest.approx(
        [windows[0].start + 7.0 * n for n in range(len(windows))]
    )
    assert [window.overlap for window in windows] == [0.0] + [3.0] * (len(windows) - 1)
    assert {len(window.samples) for window in windows[:-1]} == {10 * SAMPLE_RATE}
    assert windows[-1].start + len(windows[-1].samples) / SAMPLE_RATE > len(samples) / SAMPLE_RATE - 0.3


def test_clicks_and_digital_silence_are_left_out() -> None:
    generator = np.random.default_rng(0)
    utterance = speak("cab", generator)
    click = np.zeros(160, np.float32)
    click[:40] = 0.5
    silence = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples = np.concatenate((silence, click, silence, utterance, silence))
    (segment,) = segments_of(samples, longest=5.0, overlap=2.0, shortest_speech=0.1)
    assert np.array_equal(segment.samples, utterance)


def test_silence_has_no_words(recognizer: Recognizer) -> None:
    found = transcribe_long(recognizer, [np.zeros(60 * SAMPLE_RATE, np.float32)], sample_rate=SAMPLE_RATE)
    assert (found.pred_text, found.words, found.confidence, found.duration) == ("", (), 0.0, 60.0)


class Deaf:
    """Hears nothing, to see what the cutting costs."""

    def transcripts(self, recordings: Sequence[np.ndarray]) -> list[Transcript]:
        return [Transcript("", 0.0, (), len(samples) / SAMPLE_RATE) for samples in recordings]


def test_memory_does_not_grow_with_the_recording() -> None:
    some = long_recording([2.0] * len(TEXTS))[: 20 * SAMPLE_RATE]
    config = SegmentationConfig(detector=EnergyConfig(around=3.0), longest=5.0, overlap=2.0)

    def peak(number: int) -> int:
        tracemalloc.start()
        blocks = (block for _ in range(number) for block in blocks_of(some, 20_000))
        transcribe_long(Deaf(), blocks, sample_rate=SAMPLE_RATE, config=config)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(12) < 1.1 * peak(3)


def test_windows_that_hardly_move_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="overlap: 6 seconds of windows of 10; expected at most half of longest"):
        SegmentationConfig(longest=10.0, overlap=6.0)


def spoken(texts: Sequence[str], *, start: float = 0.0) -> list[Word]:
    return [
        Word(text, round(start + 0.5 * number, 3), round(start + 0.5 * number + 0.4, 3), 0.9)
        for number, text in enumerate(texts)
    ]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.sampled_from(["on", "off", "the", "the", "light"]), min_size=20, max_size=60),
    overlap=st.floats(3.0, 6.0),
    seed=st.integers(0, 100),
)
def test_windows_that_hear_badly_at_their_edges_lose_and_double_nothing(
    texts: list[str], overlap: float, seed: int
) -> None:
    """Within a second of its edges a window mishears, leaves out and makes up words, and is never quite on time."""
    generator = np.random.default_rng(seed)
    said, pieces, start, size = spoken(texts), [], 0.0, 12.0
    end = said[-1].end + 0.5
    while True:
        until = min(start + size, end)
        heard = []
        for word in said:
            if word.start < start - 0.3 or word.end > until + 0.3:
                continue
            edge = min(word.start - start if start else 9.0, until - word.end if until < end else 9.0)
            late = generator.uniform(-0.1, 0.1)
            word = replace(word, start=max(word.start + late, start), end=min(word.end + late, until))
            if edge > 1.0 or generator.random() < 0.3:
                heard.append(word)
            elif generator.random() < 0.6:
                heard.append(replace(word, word=word.word[1:] or "x"))
        words = tuple(replace(word, start=word.start - start, end=word.end - start) for word in heard)
        pieces.append(Piece(start, overlap if start else 0.0, Transcript("", 0.9, words, until - start)))
        if until == end:
            break
        start += size - overlap
    assert join(pieces, duration=end).pred_text.split() == texts


def test_windows_that_agree_on_nothing_change_over_in_the_middle() -> None:
    before, after = spoken(["a", "b", "c", "d"]), spoken(["w", "x", "y", "z"])
    assert [word.word for word in stitch(before, after, start=0.0, end=2.0)] == ["a", "b", "y", "z"]
    assert stitch(before, [], start=0.0, end=2.0)[:1] == before[:1]
    assert stitch([], after, start=0.0, end=2.0)[-1:] == after[-1:]
    assert stitch([], [], start=0.0, end=2.0) == []


def command(text: str, *, understood: bool = True) -> dict:
    words = [{"text": text, "start": 0.1, "end": 0.4, "confidence": 0.8}] if understood else []
    return {"understood": understood, "text": text, "intent": "Turn", "slots": {"to": text}, "words": words}


def test_commands_keep_their_places() -> None:
    def piece(start: float, given: dict) -> Piece:
        words = tuple(Word(word["text"], word["start"], word["end"], word["confidence"]) for word in given["words"])
        return Piece(start, 0.0, Transcript(given["text"], 0.8, words, 1.0, command=given))

    one = join([piece(5.0, command("on"))], duration=40.0)
    assert one.command is not None
    assert one.command["intent"] == "Turn"
    assert (one.command["start"], one.command["end"], one.command["words"][0]["start"]) == (5.0, 6.0, 5.1)
    several = join(
        [piece(5.0, command("on")), piece(9.0, command("", understood=False)), piece(20.0, command("off"))],
        duration=40.0,
    )
    assert several.pred_text == several.command["text"] == "on off"
    assert (several.command["understood"], several.command["intent"]) == (True, None)
    assert [each["start"] for each in several.command["commands"]] == [5.0, 9.0, 20.0]
    assert [word.start for word in several.words] == [5.1, 20.1]


@pytest.mark.parametrize(
    ("batch_size", "batch_seconds", "most"), [(16, 120.0, 4), (3, 120.0, 3), (16, 65.0, 2), (16, 1, 1)]
)
def test_segments_are_heard_by_number_and_by_seconds(batch_size: int, batch_seconds: float, most: int) -> None:
    sizes: list[int] = []

    class Counting:
        def transcripts(self, recordings: Sequence[np.ndarray]) -> list[Transcript]:
            sizes.append(len(recordings))
            return [Transcript("", 0.0, (), len(each) / SAMPLE_RATE) for each in recordings]

    samples = np.ones(8 * 30 * SAMPLE_RATE, np.float32)
    config = SegmentationConfig(detector=None, overlap=0.001)
    settings = {"config": config, "batch_size": batch_size, "batch_seconds": batch_seconds}
    transcribe_long(Counting(), [samples], sample_rate=SAMPLE_RATE, **settings)
    assert max(sizes) == most
    assert sum(sizes) == 9
