"""The worker of a job: a recogniser and the processes that decode audio ahead of it.

Whatever engine runs it, it takes shares (some hundred recordings that follow each other in the job) and gives what
became of each. A recording's batch is chosen within its share, so that it does not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32

from asr.audio.levels import SILENCE
from asr.audio.pool import AudioPool, Decoded
from asr.audio.reading import AudioError
from asr.audio.stretch import Stretch
from asr.data.cutting import cut_longest_first
from asr.engines.work import Item, Outcome, Share
from asr.process.runtime import count_cores
from asr.process.signals import use_signal_stack
from asr.transcript import Transcript

if TYPE_CHECKING:
    from asr.recognizer import Recognizer
    from asr.transcription.config import JobConfig
    from asr.transcription.segmentation import Listener

# What a library raises where it does not load, or fails on one recording: never a mistake of ours such as TypeError.
LIBRARY_FAILURES = (ImportError, OSError, RuntimeError, ValueError)
BESIDE_SAMPLES = 400  # of what is put beside an utterance that is alone
BUFFER_SECONDS = 1200.0  # of audio that is sorted by length at a time: 77 MB at 16 kHz


@dataclass
class _Progress:
    """A recording whose channels are being transcribed."""

    item: Item
    num_channels: int = 1
    sha256: str = ""
    size: int = 0
    seconds: float = 0.0
    sample_rate: int = 0  # hertz, the file's own
    transcripts: dict[int | None, Transcript] = field(default_factory=dict)
    warnings: dict[int | None, str | None] = field(default_factory=dict)  # of each channel
    error: AudioError | None = None
    is_taken: bool = False

    def hear(self, decoded: Decoded) -> None:
        if decoded.error is not None:
            self.error = self.error or decoded.error
        elif (facts := decoded.facts) is not None:
            self.sha256, self.size = facts.sha256, facts.size
            self.sample_rate = facts.sample_rate
            self.seconds += facts.seconds
            self.warnings[decoded.stretch.channel] = facts.warning

    def add(self, channel: int | None, transcript: Transcript, seconds: float) -> None:
        self.transcripts[channel] = transcript.with_channel(channel)
        self.seconds += seconds

    @property
    def is_complete(self) -> bool:
        return self.error is not None or len(self.transcripts) == self.num_channels

    def take_outcome(self) -> Iterator[Outcome]:
        """Yields the outcome, once it is known, and then never again: several channels may be complete at a time."""
        if self.is_complete and not self.is_taken:
            self.is_taken = True
            yield self.outcome()

    def outcome(self) -> Outcome:
        if self.error is not None:
            return Outcome(self.item.number, error=str(self.error), error_kind=self.error.kind)
        channels = sorted(self.transcripts, key=lambda channel: -1 if channel is None else channel)
        transcripts = tuple(
            replace(self.transcripts[channel], warning=self.warnings.get(channel)) for channel in channels
        )
        return Outcome(
            self.item.number, self.sha256, self.size, self.seconds, transcripts, sample_rate=self.sample_rate
        )


@dataclass(frozen=True)
class _Utterance:
    """A channel that is short enough to be one row of a batch."""

    recording: _Progress
    channel: int | None
    samples: Float32[np.ndarray, " sample"]


class Transcriber:
    """Loads the run and starts the decoding processes; both end with `close`."""

    def __init__(self, config: JobConfig, *, device: str, num_decoders: int) -> None:
        self.config = config
        self._pools: list[AudioPool] = []
        self.recognizer = _load(config, device)
        self.sample_rate = self.recognizer.feature_config.sample_rate
        self.pool = self._open_pool(num_decoders)

    def _open_pool(self, num_processes: int) -> AudioPool:
        self._pools.append(
            AudioPool(
                sample_rate=self.sample_rate,
                num_processes=num_processes,
                whole_seconds=self.config.segmentation.longest,
                limits=self.config.limits,
            )
        )
        return self._pools[-1]

    def close(self) -> None:
        for pool in self._pools:
            pool.close()

    def __call__(self, share: Share) -> list[Outcome]:
        """Returns one share alone."""
        return list(self.run([share]))

    def run(self, shares: Iterable[Share]) -> Iterator[Outcome]:
        """Yields what became of each recording, in no certain order; audio is decoded ahead, across shares too."""
        waiting: list[_Utterance] = []
        num_samples = 0
        asked: deque[tuple[Item, bool]] = deque()  # which recordings are decoded, and whether each ends its share
        for decoded in self.pool.read(self._stretches(shares, asked)):
            item, is_last = asked.popleft()
            recording = _Progress(item)
            for utterance in self._channels(recording, decoded):
                waiting.append(utterance)
                num_samples += len(utterance.samples)
            yield from recording.take_outcome()
            if is_last or num_samples > BUFFER_SECONDS * self.sample_rate:
                yield from self._transcribe(waiting)
                waiting, num_samples = [], 0

    def _stretches(self, shares: Iterable[Share], asked: deque[tuple[Item, bool]]) -> Iterator[Stretch]:
        """Yields what to decode; answers come in this order, so that `asked` tells whose they are."""
        channel = self.config.channel
        first = None if channel == "mix" else 0 if channel == "each" else channel
        for share in shares:
            for item in share.items:
                asked.append((item, item is share.items[-1]))
                yield replace(item.stretch, channel=first)

    def _channels(self, recording: _Progress, first: Decoded) -> Iterator[_Utterance]:
        """Yields the short ones, to be put into batches; long ones are transcribed at once."""
        yield from self._channel(recording, first)
        if self.config.channel != "each" or recording.error is not None or first.facts is None:
            return
        recording.num_channels = first.facts.num_channels
        if recording.num_channels == 1:
            return
        if len(self._pools) == 1:  # one of its own: the other is busy with what comes later
            self._open_pool(1)
        others = (replace(first.stretch, channel=channel) for channel in range(1, recording.num_channels))
        for decoded in self._pools[1].read(others, num_ahead=1):
            yield from self._channel(recording, decoded)

    def _channel(self, recording: _Progress, decoded: Decoded) -> Iterator[_Utterance]:
        channel, samples = decoded.stretch.channel, decoded.samples
        if samples is not None and decoded.rest is not None:
            start = time.perf_counter()
            try:
                recording.add(channel, self._transcribe_long(decoded), time.perf_counter() - start)
            except AudioError as error:
                recording.error = error
            except MemoryError as error:
                recording.error = _too_long(recording.item, error)
            except LIBRARY_FAILURES as error:
                recording.error = _library_error(recording.item, error)
        elif samples is not None:
            if len(samples) and np.abs(samples).max() >= SILENCE:
                yield _Utterance(recording, channel, samples)
            else:
                recording.add(channel, Transcript("", 0.0, (), len(samples) / self.sample_rate), 0.0)
        recording.hear(decoded)

    def _transcribe_long(self, decoded: Decoded) -> Transcript:
        from asr.transcription.segmentation import transcribe_long

        return transcribe_long(
            self,
            decoded.blocks(),
            sample_rate=self.sample_rate,
            config=self.config.segmentation,
            batch_size=self.config.batch_size,
            batch_seconds=self.config.batch_seconds,
        )

    def _transcribe(self, waiting: list[_Utterance]) -> Iterator[Outcome]:
        """Transcribes batches of like length, longest first."""
        seconds = [len(utterance.samples) / self.sample_rate for utterance in waiting]
        for places in cut_longest_first(seconds, most=self.config.batch_seconds, size=self.config.batch_size):
            batch = [waiting[place] for place in places]
            self._transcribe_batch(batch)
            for utterance in batch:
                yield from utterance.recording.take_outcome()

    def _transcribe_batch(self, batch: Sequence[_Utterance]) -> None:
        """Half of it at a time where the memory does not suffice, and each alone where a library fails."""
        start, recording = time.perf_counter(), batch[0].recording
        try:
            transcripts = self.transcripts([utterance.samples for utterance in batch])
        except LIBRARY_FAILURES as error:
            if len(batch) == 1:
                recording.error = _library_error(recording.item, error)
                return
            for utterance in batch:
                self._transcribe_batch([utterance])
            return
        except MemoryError as error:
            if len(batch) == 1:
                recording.error = _too_long(recording.item, error)
                return
            self._transcribe_batch(batch[: len(batch) // 2])
            self._transcribe_batch(batch[len(batch) // 2 :])
            return
        share = (time.perf_counter() - start) / sum(len(utterance.samples) for utterance in batch)
        for utterance, transcript in zip(batch, transcripts, strict=True):
            utterance.recording.add(utterance.channel, transcript, share * len(utterance.samples))

    def transcripts(self, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]:
        """Returns one batch. Raises MemoryError where it is too much for the device."""
        import torch

        try:
            return transcripts_alike(self.recognizer, recordings)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error).splitlines()[0]) from None
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # torch's word for it on a CPU
                raise MemoryError(str(error).splitlines()[0]) from None
            raise


def transcripts_alike(recognizer: Listener, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]:
    """Transcribe one batch. A row's numbers are the same to the last bit whatever the others are.

    One alone would take another matrix product, so it has its own beginning beside it.
    """
    if len(recordings) > 1:
        return recognizer.transcripts(recordings)
    return recognizer.transcripts([*recordings, recordings[0][:BESIDE_SAMPLES]])[:1]


def _too_long(item: Item, error: MemoryError) -> AudioError:
    return AudioError(f"{item.stretch.path}: too long for the memory ({error})", kind="memory")


def _library_error(item: Item, error: Exception) -> AudioError:
    """Returns the same words for the same cause, so that the report can tell whether all recordings failed alike."""
    cause = next(iter(str(error).strip().splitlines()), "")
    remedy = (
        "expected libraries that load; install again what pyproject.toml names (pip install -e .)"
        if isinstance(error, ImportError | OSError)
        else "expected it to be computed; try it with --device cpu, --precision fp32 or another --decoding"
    )
    return AudioError(f"{item.stretch.path}: {type(error).__name__}: {cause}; {remedy}", kind="library")


def _load(config: JobConfig, device: str) -> Recognizer:
    import torch

    from asr.recognizer import Recognizer

    torch.set_num_threads(1)
    return Recognizer.load(
        config.run,
        device=device,
        commands=config.commands,
        decoding=config.decoding,
        precision=config.precision,
    )


def make_transcriber(config: JobConfig, number: int, *, num_workers: int) -> Transcriber:
    """Returns the worker of this number, with its share of the machine: one GPU, or one core."""
    import torch

    use_signal_stack()  # whatever program this is: Ray starts it too
    num_gpus = torch.cuda.device_count() if config.device != "cpu" else 0
    if config.device == "cuda" and not num_gpus:
        raise ValueError("device: 'cuda', but there is no CUDA device here; expected one, or device cpu")
    device = f"cuda:{number % num_gpus}" if num_gpus else "cpu"
    num_cores = max(1, count_cores() // num_workers)
    try:
        return Transcriber(config, device=device, num_decoders=config.num_decoders or num_cores)
    except ImportError as error:
        raise ValueError(
            f"run: {config.run} needs a library that does not load ({error}); expected it to; install again what "
            "pyproject.toml names (pip install -e .)"
        ) from error
