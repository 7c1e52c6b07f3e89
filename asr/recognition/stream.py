"""Recognition while somebody speaks: samples in, in pieces of any size, and events out.

    stream = recognizer.stream()
    for samples in microphone:          # [sample], float32 in -1..1, at stream.sample_rate
        for event in stream.push(samples):
            ...                         # SpeechBegan, Partial, Final or Rejected
    stream.finish()

What is said without a long silence is a segment. A segment is recognised again and again while it grows, for partial
words, and once more when it has ended: the result is what the recogniser gives for the same samples as one recording.
Everything happens after numbers of samples, never at times of a clock, so how the samples were cut changes no event.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field, model_validator

from asr.audio.voice_activity import Detector, RunningEnergyConfig, VoiceActivityConfig
from asr.recognition.sample_buffer import SampleBuffer
from asr.recognition.samples import check_samples
from asr.runs.recognizer import RecognizerError
from asr.section import Section

BLOCK_SECONDS = 0.01  # of samples that are taken together, whatever the pieces they came in
PARTIAL_SHARE = 0.1  # of a segment's length: partial words come at least so far apart, or long speech would cost most
LATE_SECONDS = 0.2  # by which a word may go on after the model has written its last token


class StreamConfig(Section):
    """When a segment begins and ends."""

    detector: VoiceActivityConfig | None = Field(
        RunningEnergyConfig(), description="of speech; null: all samples are one segment, as push-to-talk has it"
    )
    silence: float = Field(0.7, gt=0, le=60, description="seconds without speech that end a segment")
    silence_after_command: float = Field(
        0.2, gt=0, le=60, description="the same, once a command is whole and no longer one begins like it"
    )
    silence_inside_command: float = Field(
        1.2, gt=0, le=60, description="the same, while what was said is not yet a whole command"
    )
    padding: float = Field(0.3, ge=0, le=10, description="seconds kept before the first speech of a segment")
    shortest_speech: float = Field(0.06, gt=0, le=10, description="seconds; what is shorter is a click")
    longest: float = Field(20.0, ge=1, le=600, description="seconds; a longer segment is cut")
    partial_every: float | None = Field(0.3, ge=0.05, description="seconds between partial words; null: none")

    @model_validator(mode="after")
    def _silences_are_ordered(self) -> StreamConfig:
        if not self.silence_after_command <= self.silence <= self.silence_inside_command:
            raise ValueError(
                f"silence_after_command, silence, silence_inside_command: {self.silence_after_command:g}, "
                f"{self.silence:g}, {self.silence_inside_command:g}; expected each at least as long as the one before"
            )
        return self


@dataclass(frozen=True)
class Beginning:
    """Holds what a segment's speech is so far."""

    words: tuple[str, ...]
    is_whole: bool  # whether the words are a command by themselves; True without commands
    can_go_on: bool  # whether words could follow; True without commands


@runtime_checkable
class Result(Protocol):
    """Is what a recogniser gives for a recording, as far as a stream needs it."""

    @property
    def text(self) -> str: ...  # empty where nothing was recognised, or no command was understood


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Look(Generic[AnyResult]):
    """A recogniser's view of a segment that may still go on."""

    beginning: Beginning
    spoken_until: float | None  # seconds from the segment's start to the last token; None where none was written
    result: Callable[[], AnyResult]  # of the samples as one recording


@runtime_checkable
class Looking(Protocol[AnyResult]):
    """A recogniser, as far as a stream needs it."""

    def look(self, samples: Float32[np.ndarray, " sample"]) -> Look[AnyResult]: ...


Reason = Literal["silence", "command", "longest", "finished"]


@dataclass(frozen=True)
class SpeechBegan:
    """A segment has begun."""

    start: float  # seconds from the stream's first sample, as in all events


@dataclass(frozen=True)
class Partial:
    """Words so far of a segment that goes on; sent when they change."""

    words: tuple[str, ...]
    num_stable: int  # of these, the first ones that the partial words before had too
    end: float  # up to where they were recognised


@dataclass(frozen=True)
class Final(Generic[AnyResult]):
    """A segment has ended, and words, or a command, were recognised in it."""

    start: float  # of the segment's first sample
    end: float  # after its last
    result: AnyResult
    reason: Reason  # for which it ended: a silence, a whole command, its length, or the end of the stream


@dataclass(frozen=True)
class Rejected(Generic[AnyResult]):
    """A segment has ended without words, or without a command that was understood."""

    start: float
    end: float
    result: AnyResult
    reason: Reason


Event = SpeechBegan | Partial | Final[AnyResult] | Rejected[AnyResult]


@dataclass
class _Segment:
    """The segment that goes on."""

    start: int  # samples from the beginning of the stream
    next_partial: int  # sample after which words are looked for again
    silence: float  # seconds without speech that end it, by what it is so far
    words: tuple[str, ...] = ()
    num_stable: int = 0
    is_asked: bool = False  # whether it was looked at in this silence


class Stream(Generic[AnyResult]):
    """One microphone's, or one connection's. Its memory does not grow with what was said, nor with silence."""

    def __init__(self, recognizer: Looking[AnyResult], *, sample_rate: int, config: StreamConfig | None = None) -> None:
        """Raises VoiceActivityError where the detector is not installed."""
        self.sample_rate = sample_rate
        # Both may be changed at any time, such as for another grammar; but for the detector, which stays.
        self.recognizer, self.config = recognizer, config or StreamConfig()
        self._detector: Detector | None = self.config.detector.build(sample_rate) if self.config.detector else None
        self._block = max(1, round(BLOCK_SECONDS * sample_rate))
        self._buffer = SampleBuffer()  # of the segment, or of the last moments, and what fills no block yet
        self._num_taken = 0  # samples of the whole blocks
        self._num_told = 0  # frames that the detector has told
        self._num_speaking = 0  # of these, the last ones, all speech
        self._speech_end = 0  # sample after the last frame of speech
        self._free_from = 0  # sample after the last segment
        self._segment: _Segment | None = None
        self._is_finished = False

    @property
    def seconds(self) -> float:
        """Returns how much audio was given."""
        return self._buffer.end / self.sample_rate

    def push(self, samples: np.ndarray) -> list[Event[AnyResult]]:
        """Take further samples [sample], of any number, and return the events that they cause.

        Raises RecognizerError for what are no finite floating-point samples, which are then not taken, and after
        `finish`.
        """
        check_samples(samples, fewest=0)
        if self._is_finished:
            raise RecognizerError("stream: samples after its end; expected none after finish(); open another stream")
        self._buffer.append(samples)
        events: list[Event[AnyResult]] = []
        while self._buffer.end - self._num_taken >= self._block:
            events += self._take(self._block)
        return events

    def finish(self) -> list[Event[AnyResult]]:
        """Say that nothing follows, and return the last events."""
        if self._is_finished:
            return []
        self._is_finished = True
        events = list(self._take(self._buffer.end - self._num_taken))
        if self._detector is not None:
            events += self._follow(self._detector.finish())
        if self._segment is not None and self._num_taken > self._segment.start:
            events += self._end("finished", self._look())
        return events

    def _take(self, number: int) -> Iterator[Event[AnyResult]]:
        """Go on by so many samples."""
        samples = self._buffer.view(self._num_taken, self._num_taken + number)
        self._num_taken += number
        if self._detector is not None:
            yield from self._follow(self._detector.push(samples))
        elif self._segment is None and number:
            yield self._begin(self._free_from)
        if self._segment is not None:
            yield from self._go_on(self._segment)
        self._forget()

    def _follow(self, told: Bool[np.ndarray, " frame"]) -> Iterator[Event[AnyResult]]:
        """Take note of what the detector tells of further frames."""
        assert self._detector is not None
        for is_speech in told.tolist():
            self._num_told += 1
            self._num_speaking = self._num_speaking + 1 if is_speech else 0
            if not is_speech:
                continue
            self._speech_end = round(self._num_told * self._detector.hop)
            if self._segment is not None:
                self._segment.is_asked = False
            elif self._num_speaking * self._detector.hop >= self.config.shortest_speech * self.sample_rate - 0.5:
                first = round((self._num_told - self._num_speaking) * self._detector.hop)
                yield self._begin(max(self._free_from, first - self._samples(self.config.padding)))

    def _begin(self, start: int) -> SpeechBegan:
        self._segment = _Segment(start, self._next_partial(start), self.config.silence)
        return SpeechBegan(start / self.sample_rate)

    def _next_partial(self, start: int) -> int:
        """The sample after which words are looked for, in a segment that begins at `start`."""
        every = self._samples(self.config.partial_every or 0.0)
        return self._num_taken + max(every, round(PARTIAL_SHARE * (self._num_taken - start)))

    def _go_on(self, segment: _Segment) -> Iterator[Event[AnyResult]]:
        """Look at the segment where it is time to, and end it where nothing more is to come."""
        quiet = self._quiet()
        asks = self._detector is not None and quiet >= self.config.silence_after_command and not segment.is_asked
        is_due = self.config.partial_every is not None and self._num_taken >= segment.next_partial
        look = None
        if asks or is_due:
            look = self._look()
            segment.is_asked = segment.is_asked or asks
            segment.next_partial = self._next_partial(segment.start)
            segment.silence = self._needed(look)
            quiet = max(quiet, self._unwritten(segment, look))
            yield from self._partial(segment, look.beginning.words)
        if self._detector is not None and quiet >= segment.silence:
            is_command = segment.silence < self.config.silence
            yield from self._end("command" if is_command else "silence", look or self._look())
        elif self._num_taken - segment.start >= self._samples(self.config.longest):
            yield from self._end("longest", look or self._look())

    def _needed(self, look: Look[AnyResult]) -> float:
        """Returns how many seconds without speech end a segment, by what was said so far."""
        if not look.beginning.is_whole:
            return self.config.silence_inside_command
        if look.beginning.can_go_on or not look.result().text:
            return self.config.silence
        return self.config.silence_after_command

    def _quiet(self) -> float:
        """Seconds since the last frame of speech."""
        return max(0, self._num_taken - self._speech_end) / self.sample_rate

    def _unwritten(self, segment: _Segment, look: Look[AnyResult]) -> float:
        """Seconds since the model's last token: in noise it knows better than a detector that nobody speaks."""
        if look.spoken_until is None:
            return 0.0
        return (self._num_taken - segment.start) / self.sample_rate - look.spoken_until - LATE_SECONDS

    def _partial(self, segment: _Segment, words: tuple[str, ...]) -> Iterator[Partial]:
        """Send the words where they, or how many of them are stable, have changed."""
        agreed = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(words, segment.words))
        num_stable = sum(1 for _ in agreed)
        if self.config.partial_every is not None and (words, num_stable) != (segment.words, segment.num_stable):
            yield Partial(words, num_stable, self._num_taken / self.sample_rate)
        segment.words, segment.num_stable = words, num_stable

    def _look(self) -> Look[AnyResult]:
        """The recogniser's view of the whole segment."""
        assert self._segment is not None
        return self.recognizer.look(self._buffer.view(self._segment.start, self._num_taken))

    def _end(self, reason: Reason, look: Look[AnyResult]) -> Iterator[Event[AnyResult]]:
        assert self._segment is not None
        start, end = self._segment.start / self.sample_rate, self._num_taken / self.sample_rate
        result = look.result()
        self._segment, self._free_from, self._num_speaking = None, self._num_taken, 0
        yield Final(start, end, result, reason) if result.text else Rejected(start, end, result, reason)

    def _forget(self) -> None:
        """Let go of what no segment will hold."""
        if self._segment is None:
            # Of speech that is no segment yet, and was not told yet, the beginning is still needed.
            hop = self._detector.hop if self._detector is not None else 0
            unsure = round((self._num_told - self._num_speaking) * hop) - self._samples(self.config.padding)
            self._buffer.forget(max(self._free_from, unsure))

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)
