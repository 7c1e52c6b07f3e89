"""Hours of audio in pieces that a model can hear: cut where nobody speaks, or else into windows that overlap.

    blocks of samples -> Segmenter -> segments -> transcripts -> join -> one transcript

Nothing here holds more than the longest segment, and half a minute around it, of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from pydantic import Field, model_validator

from asr.audio.levels import SILENCE
from asr.audio.voice_activity import EnergyConfig, VoiceActivityConfig
from asr.data.cutting import cut_in_order
from asr.section import Section
from asr.transcript import Transcript
from asr.transcription.stitching import Piece, join


class SegmentationConfig(Section):
    """Says how long recordings are cut."""

    detector: VoiceActivityConfig | None = Field(EnergyConfig(), description="of speech; null: windows throughout")
    longest: float = Field(
        30.0, gt=0, description="seconds; shorter recordings are left whole, longer speech is cut into windows of it"
    )
    overlap: float = Field(4.0, gt=0, description="seconds that two windows share")
    shortest_pause: float = Field(0.5, gt=0, description="seconds without speech, from which on a recording is cut")
    shortest_speech: float = Field(0.06, ge=0, description="seconds; what is shorter is a click")
    padding: float = Field(0.1, ge=0, description="seconds kept before and after speech")

    @model_validator(mode="after")
    def _windows_move_on(self) -> SegmentationConfig:
        if self.overlap > self.longest / 2:
            raise ValueError(
                f"overlap: {self.overlap:g} seconds of windows of {self.longest:g}; expected at most half of longest"
            )
        return self


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording."""

    start: float  # seconds from the beginning of the recording
    overlap: float  # seconds at its beginning that the segment before it holds too
    samples: Float32[np.ndarray, " sample"]


class Segmenter:
    """Cuts one recording, block by block; how it comes in blocks changes nothing.

    A stretch of speech ends where `shortest_pause` seconds have none. One that gets longer than `longest` is cut into
    windows of so many seconds:

        speech     . . . = = = = = . . . = = = = = = = = = = = . .
        segments       [           ]   [           ]
                                               [             ]     the last window is as long as it need be
    """

    def __init__(self, config: SegmentationConfig, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        self._detector = config.detector.build(sample_rate) if config.detector is not None else None
        self._held = np.zeros(0, np.float32)  # samples from `_first` on
        self._first = 0
        self._num_frames = 0  # that were told to be speech or not
        self._last = 0  # sample after the last that is speech
        self._speech: int | None = None  # first sample of the present stretch of speech
        self._start: int | None = None  # and of its present segment, padding included
        self._overlap = 0  # samples of that segment in the one before
        self._end = 0  # of the last stretch, padding included

    def cut(self, blocks: Iterable[Float[np.ndarray, " _"]]) -> Iterator[Segment]:
        """Yields the segments of a recording, in order."""
        start: list[Float32[np.ndarray, " _"]] = []
        missing = self._samples(self.config.longest)
        for block in blocks:
            samples = block.astype(np.float32, copy=False)
            if missing < 0:
                yield from self._push(samples)
                continue
            start.append(samples)
            missing -= len(samples)
            if missing < 0:
                yield from self._push(np.concatenate(start))
        if missing < 0:
            yield from self._finish()
        elif sum(map(len, start)):
            yield Segment(0.0, 0.0, np.concatenate(start))

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)

    def _push(self, samples: Float32[np.ndarray, " sample"]) -> Iterator[Segment]:
        self._held = np.concatenate((self._held, samples))
        if self._detector is None:
            self._start = 0 if self._start is None else self._start
            self._last = self._first + len(self._held)
            yield from self._windows()
        else:
            yield from self._follow(self._detector.push(samples), self._detector.hop)
        self._forget()

    def _finish(self) -> Iterator[Segment]:
        if self._detector is not None:
            yield from self._follow(self._detector.finish(), self._detector.hop)
        if self._start is not None:
            yield from self._close()

    def _follow(self, is_speech: np.ndarray, hop: float) -> Iterator[Segment]:
        """Further frames: a stretch of speech begins, goes on or ends."""
        pause = self._samples(self.config.shortest_pause)
        for speech in is_speech.tolist():
            frame = round(self._num_frames * hop)
            self._num_frames += 1
            if speech:
                self._last = round(self._num_frames * hop)
                if self._start is None:
                    self._speech = frame
                    self._start = max(self._end, frame - self._samples(self.config.padding), 0)
            if self._start is None:
                continue
            if round(self._num_frames * hop) - self._last >= pause:
                yield from self._close()
            else:
                yield from self._windows()

    def _windows(self) -> Iterator[Segment]:
        """Yields what of the present stretch fills whole windows."""
        size, step = self._samples(self.config.longest), self._samples(self.config.longest - self.config.overlap)
        while self._start is not None and self._last - self._start > size:
            yield self._segment(self._start, self._start + size)
            self._start += step
            self._overlap = size - step

    def _close(self) -> Iterator[Segment]:
        """The present stretch has ended."""
        assert self._start is not None
        end = min(self._last + self._samples(self.config.padding), self._first + len(self._held))
        is_click = self._speech is not None and self._last - self._speech < self._samples(self.config.shortest_speech)
        if not is_click:
            yield self._segment(*self._audible(self._start, end))
        self._start, self._speech, self._overlap, self._end = None, None, 0, end

    def _audible(self, start: int, end: int) -> tuple[int, int]:
        """Without digital silence as padding: models trained on recordings of rooms never heard any."""
        if self._overlap:
            return start, end
        places = np.flatnonzero(np.abs(self._held[start - self._first : end - self._first]) >= SILENCE)
        return (start + int(places[0]), start + int(places[-1]) + 1) if len(places) else (start, end)

    def _segment(self, start: int, end: int) -> Segment:
        samples = self._held[start - self._first : end - self._first].copy()
        return Segment(start / self.sample_rate, self._overlap / self.sample_rate, samples)

    def _forget(self) -> None:
        """Let go of what no segment will hold."""
        padding = self._samples(self.config.padding)
        hop = self._detector.hop if self._detector is not None else 0
        needed = self._start if self._start is not None else round(self._num_frames * hop) - padding
        drop = max(0, needed - self._first)
        self._held, self._first = self._held[drop:], self._first + drop


@runtime_checkable
class Listener(Protocol):
    """A recogniser, as far as it is needed here."""

    def transcripts(self, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]: ...


def transcribe_long(
    listener: Listener,
    blocks: Iterable[Float[np.ndarray, " _"]],
    *,
    sample_rate: int,
    config: SegmentationConfig | None = None,
    batch_size: int = 16,
    batch_seconds: float = 120.0,
) -> Transcript:
    """Transcribe a recording of any length from its blocks of samples, at the model's own `sample_rate`.

    Its memory does not grow with the recording, but for the words: of its segments, `batch_size` or `batch_seconds` of
    padded audio are transcribed at a time.
    """
    num_samples = 0

    def counted() -> Iterator[Float[np.ndarray, " _"]]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    segments = Segmenter(config or SegmentationConfig(), sample_rate).cut(counted())
    measured = ((segment, len(segment.samples) / sample_rate) for segment in segments)
    batches = cut_in_order(measured, most=batch_seconds, size=batch_size)
    pieces = [piece for batch in batches for piece in _hear(listener, batch)]
    return join(pieces, duration=num_samples / sample_rate)


def _hear(listener: Listener, batch: Sequence[Segment]) -> Iterator[Piece]:
    for segment, transcript in zip(batch, listener.transcripts([each.samples for each in batch]), strict=True):
        yield Piece(segment.start, segment.overlap, transcript)
