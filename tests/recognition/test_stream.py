"""A stream gives what the recogniser gives for each segment as one recording, however its samples were cut."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asr.audio.reading import read_audio
from asr.audio.voice_activity import RunningEnergyConfig
from asr.decoding.endpointing import EndpointingConfig
from asr.recognition.stream import Beginning, Event, Final, Look, Partial, Rejected, SpeechBegan, Stream, StreamConfig
from asr.recognizer import Recognizer, RecognizerError
from asr.understanding.rejection import Rejection
from asr.understanding.result import CommandSearch
from tests.grammar.test_templates import write_grammar
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import SAMPLE_RATE, speak

BARISTA = Path(__file__).parents[2] / "recipes" / "barista_bilstm_ctc"
GRAMMAR = """
language: en
intents:
  Short: {data: [{sentences: ["ab"]}]}
  Long: {data: [{sentences: ["ab cab bad", "cd {what}"]}]}
lists:
  what: {values: [ba, dac]}
"""


@pytest.fixture(scope="module")
def free() -> Recognizer:
    """Writes every word, in two passes."""
    return replace(train_tone_recognizer(), endpointing=EndpointingConfig(first_look=0.5))


@pytest.fixture(scope="module")
def commanded(free: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    grammar = write_grammar(tmp_path_factory.mktemp("grammar"), GRAMMAR)
    return free.with_commands(CommandSearch.load(grammar, free.tokenizer, rejection=Rejection(threshold=-20.0)))


def said(*parts: str | float, seed: int = 0) -> np.ndarray:
    """Words, and seconds of silence between them."""
    generator = np.random.default_rng(seed)
    pieces = [
        speak(part, generator)
        if isinstance(part, str)
        else (0.003 * generator.standard_normal(round(part * SAMPLE_RATE))).astype(np.float32)
        for part in parts
    ]
    return np.concatenate(pieces)


def events_of(recognizer: Recognizer, samples: np.ndarray, cuts: list[int], **config: object) -> list[Event]:
    stream = recognizer.stream(StreamConfig(**config))  # type: ignore[arg-type]
    found = [event for piece in np.split(samples, sorted(cuts)) for event in stream.push(piece)]
    return found + stream.finish()


def results(events: list[Event]) -> list[Final | Rejected]:
    return [event for event in events if isinstance(event, Final | Rejected)]


SPEECH = said(0.6, "ab cab bad", 1.4, "cd dac", 0.5, "ab", 1.0, "ba ba", 1.3)


@settings(max_examples=6)
@given(st.lists(st.integers(0, len(SPEECH)), max_size=40), st.booleans())
def test_cuts_change_no_event(free: Recognizer, commanded: Recognizer, cuts: list[int], has_commands: bool) -> None:
    recognizer = commanded if has_commands else free
    assert events_of(recognizer, SPEECH, cuts) == events_of(recognizer, SPEECH, [])


def test_one_sample_at_a_time_changes_no_event(commanded: Recognizer) -> None:
    samples = said(0.3, "ab", 1.0)
    assert events_of(commanded, samples, list(range(len(samples)))) == events_of(commanded, samples, [])


@pytest.mark.parametrize("has_commands", [False, True])
def test_a_result_is_that_of_the_segment_as_one_recording(
    free: Recognizer, commanded: Recognizer, has_commands: bool
) -> None:
    recognizer = commanded if has_commands else free
    found = results(events_of(recognizer, SPEECH, [1000, 30_000]))
    assert [each.result.text for each in found][:3] == ["ab cab bad", "cd dac", "ab"]
    for each in found:
        segment = SPEECH[round(each.start * SAMPLE_RATE) : round(each.end * SAMPLE_RATE)]
        assert each.result == recognizer.transcribe(segment, sample_rate=SAMPLE_RATE)


def test_a_command_that_nothing_longer_begins_with_ends_sooner(commanded: Recognizer) -> None:
    """The words are over 0.12 s before the end of each `speak`; "ab" can go on with "cab bad", "cd dac" cannot."""
    for text, reason, silence in (("cd dac", "command", 0.2), ("ab", "silence", 0.7), ("ab cab", "silence", 1.2)):
        samples = said(0.6, text, 3.0)
        (found,) = results(events_of(commanded, samples, []))
        assert found.reason == reason
        spoken = 0.6 + (len(text) + 1) * 0.12
        assert found.end - spoken == pytest.approx(silence, abs=0.1)
    (found,) = results(events_of(commanded, samples, [], silence_inside_command=2.0))
    assert found.end - spoken == pytest.approx(2.0, abs=0.1)


def test_partial_words_grow_and_become_stable(free: Recognizer) -> None:
    events = events_of(free, said(0.6, "ab cab bad dac", 1.5), [])
    assert isinstance(events[0], SpeechBegan)
    partials = [event for event in events if isinstance(event, Partial)]
    assert len(partials) >= 3
    for before, after in itertools.pairwise(partials):
        assert after.words[: after.num_stable] == before.words[: after.num_stable]
        assert before.end < after.end
    assert partials[-1].words == ("ab", "cab", "bad", "dac")
    assert partials[-1].num_stable == 4
    silent = events_of(free, said(0.6, "ab cab bad dac", 1.5), [], partial_every=None)
    assert results(silent) == results(events)
    assert not [event for event in silent if isinstance(event, Partial)]


def test_what_is_no_command_is_rejected(commanded: Recognizer) -> None:
    strict = commanded.with_commands(
        CommandSearch.load(commanded.commands.grammar.path, commanded.tokenizer, rejection=Rejection(threshold=2.0))
    )
    events = results(events_of(strict, said(0.6, "bad dac bad ba", 1.5, "cd ba", 1.0), []))
    assert [type(event) for event in events] == [Rejected, Final]
    assert events[0].result.text == ""
    assert events[0].result.command.guesses
    assert events[1].result.command.slots == {"what": "ba"}


def test_long_speech_is_cut(free: Recognizer) -> None:
    samples = said(0.3, "ab cab bad " * 9, 1.0)
    found = results(events_of(free, samples, [], longest=4.0))
    assert [each.reason for each in found[:-1]] == ["longest"] * (len(found) - 1)
    assert len(found) >= 3
    assert all(each.end - each.start <= 4.02 for each in found)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))


def test_push_to_talk_is_one_segment(free: Recognizer) -> None:
    samples = said(0.6, "ab", 1.5, "cd", 0.2)
    events = events_of(free, samples, [5, 7000], detector=None)
    assert events[0] == SpeechBegan(0.0)
    (found,) = results(events)
    assert (found.start, found.end, found.reason) == (0.0, len(samples) / SAMPLE_RATE, "finished")
    assert found.result == free.transcribe(samples, sample_rate=SAMPLE_RATE)


def test_a_stream_that_ends_in_a_word_is_recognised_to_there(free: Recognizer) -> None:
    samples = said(0.6, "ab cab")[: -round(0.15 * SAMPLE_RATE)]
    (found,) = results(events_of(free, samples, []))
    assert found.reason == "finished"
    assert found.end == len(samples) / SAMPLE_RATE


@pytest.mark.parametrize("detector", [RunningEnergyConfig(), None])
def test_nothing_comes_of_nothing(free: Recognizer, detector: RunningEnergyConfig | None) -> None:
    stream = free.stream(StreamConfig(detector=detector))
    assert stream.push(np.zeros(0, np.float32)) == []
    assert stream.finish() == []
    assert stream.finish() == []
    assert results(events_of(free, said(5.0), [])) == []


class Says:
    """A recogniser that writes the same words of anything, and notes how much it was given."""

    def __init__(self, text: str, spoken_until: float | None = None) -> None:
        self.text, self.spoken_until, self.lengths = text, spoken_until, []

    def look(self, samples: np.ndarray) -> Look:
        self.lengths.append(len(samples))
        return Look(Beginning((self.text,), is_whole=True, can_go_on=True), self.spoken_until, lambda: self)


def test_silence_takes_no_memory() -> None:
    stream = Stream(Says("x"), sample_rate=SAMPLE_RATE)
    silence = np.zeros(10 * SAMPLE_RATE, np.float32)
    held = set()
    for _ in range(12):
        assert stream.push(silence) == []
        held.add(stream._buffer.end - stream._buffer.start)
        assert len(stream._buffer._room) <= 8 * len(silence)
    assert max(held) < SAMPLE_RATE
    assert stream.seconds == 120.0


def test_speech_without_end_is_held_no_longer_than_the_longest() -> None:
    """In noise that the detector takes for speech, words come less and less often, so that they cost no more."""
    recognizer = Says("x")
    stream = Stream(recognizer, sample_rate=SAMPLE_RATE, config=StreamConfig(longest=10.0))
    generator = np.random.default_rng(0)
    for _ in range(40):
        swelling = np.linspace(0.01, 0.3, SAMPLE_RATE) * generator.standard_normal(SAMPLE_RATE)
        stream.push(swelling.astype(np.float32))
        assert stream._buffer.end - stream._buffer.start < 11 * SAMPLE_RATE
    assert max(recognizer.lengths) <= 10.02 * SAMPLE_RATE
    assert len(recognizer.lengths) < 40 / 10 * 30


def test_in_noise_the_model_says_when_nobody_speaks_any_more() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(3 * SAMPLE_RATE) * np.geomspace(0.003, 0.3, 3 * SAMPLE_RATE)
    for spoken_until, reason in ((0.5, "silence"), (None, "finished")):
        stream = Stream(Says("x", spoken_until), sample_rate=SAMPLE_RATE)
        found = results(stream.push(noise.astype(np.float32)) + stream.finish())
        assert found[0].reason == reason
        if spoken_until is not None:
            assert found[0].end - found[0].start == pytest.approx(0.5 + 0.2 + 0.7, abs=0.31)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1, np.nan], np.float32), "NaN or infinite"),
        (np.array([np.inf], np.float32), "NaN or infinite"),
        (np.zeros(5, np.int16), r"array of int16 \[5\]; expected floating-point samples"),
        (np.zeros((5, 2), np.float32), "one channel"),
    ],
)
def test_what_are_no_samples_is_refused_and_not_taken(samples: np.ndarray, message: str) -> None:
    stream = Stream(Says("x"), sample_rate=SAMPLE_RATE)
    with pytest.raises(RecognizerError, match=message):
        stream.push(samples)
    assert stream.seconds == 0.0


def test_nothing_may_follow_the_end() -> None:
    stream = Stream(Says("x"), sample_rate=SAMPLE_RATE)
    stream.finish()
    with pytest.raises(RecognizerError, match=r"samples after its end; .* open another stream"):
        stream.push(np.zeros(5, np.float32))


def test_silences_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected each at least as long as the one before"):
        StreamConfig(silence_after_command=0.9)


def test_orders_one_after_another_are_understood_as_each_alone() -> None:
    """The model of coffee orders, in two passes, on its example recordings."""
    recognizer = Recognizer.load(
        BARISTA / "model_finetuned", commands=BARISTA.parents[1] / "conf" / "commands" / "barista.yaml"
    )
    recordings = [
        read_audio(BARISTA / "examples" / f"{name}.opus", sample_rate=16_000)
        for name in ("cappuccino", "weather", "latte")
    ]
    pause = (0.001 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    samples = np.concatenate([pause, *(each for recording in recordings for each in (recording, pause))])
    found = results(events_of(recognizer, samples, [20_000, 20_001, 90_000]))
    assert [each.result.text for each in found] == [
        recognizer.transcribe(each, sample_rate=16_000).text for each in recordings
    ]
    assert [each.reason for each in found] == ["command", "silence", "silence"]
