"""A trained run, ready to use: recordings in, transcripts out.

    recognizer = Recognizer.load("runs/bilstm_ctc")
    recognizer.transcribe("order.flac").text
    recognizer.transcribe(samples, sample_rate=48_000).words

    recognizer = Recognizer.load("runs/bilstm_ctc", commands="conf/commands/home.yaml")
    recognizer.command("order.flac").intent

This is what the programs use, and what a program of your own imports.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asr.audio.reading import AudioError, read_stretch, resample
from asr.audio.stretch import Stretch
from asr.data.cutting import cut_longest_first
from asr.data.features import FeatureConfig, LogMel, normalize
from asr.data.statistics import FeatureStatistics
from asr.decoding import DecodingConfig, choose_heads
from asr.decoding.alignment import WordSpan, align_tokens, place_tokens, reach_out, spell_words
from asr.decoding.endpointing import EndpointingConfig
from asr.decoding.evidence import EvidenceConfig
from asr.decoding.hypothesis import Hypothesis
from asr.model.acoustic import Model
from asr.recognition.confidence import WordCalibration, load_calibration
from asr.recognition.listening import Heard, evaluating, listen
from asr.recognition.precision import Precision, quantize
from asr.recognition.samples import check_samples
from asr.recognition.stream import Beginning, Look, Stream, StreamConfig
from asr.runs.language_model import open_decoding
from asr.runs.recognizer import RecognizerError, RunParts, load_run
from asr.text import Tokenizer
from asr.transcript import Transcript, Word
from asr.understanding.result import CommandResult, CommandSearch

MAX_BATCH_SECONDS = 600.0
"""Padded audio in one batch, however many recordings were asked for; bounds memory at some hundred MB."""


@dataclass(frozen=True)
class Transcription:
    """Holds what was recognised in one recording."""

    text: str  # words with single spaces
    tokens: tuple[int, ...]
    score: float  # natural-log probability, as the decoding defines it
    words: tuple[Word, ...]
    confidence: float  # 0 to 1, of the whole: a command's own, else the mean of the words'; 0 where nothing was heard
    command: CommandResult | None = None  # what it means, where the recogniser was given commands


@dataclass(frozen=True)
class Outcome:
    """Says what became of one stretch: a transcription, or why there is none."""

    index: int  # of the stretch as given
    transcription: Transcription | None
    error: AudioError | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Recognizer:
    """A model with its tokenizer, features and decoding.

    A recording's transcript does not depend on what is transcribed beside it, nor on the order. The model is used on
    the device where it is, and is put into evaluation mode for the time of each call.
    """

    model: Model  # with precision int8 it is changed (see asr.recognition.precision)
    tokenizer: Tokenizer
    feature_config: FeatureConfig
    decoding: Any  # a built one
    statistics: FeatureStatistics | None = None  # needed for globally normalised features only
    commands: CommandSearch | None = None  # if given, only those are understood: a transcript is of a command, or empty
    endpointing: EndpointingConfig | None = None  # if given, only the speech is heard
    evidence: EvidenceConfig = EvidenceConfig()  # noqa: RUF009 - frozen; how much there must be for words to be written
    calibration: WordCalibration = field(default_factory=WordCalibration)  # without one, confidence is the posterior
    decoding_key: str = ""  # names the way words are found, of which a calibration is
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if self.precision == "int8":
            quantize(self.model)

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        device: str | torch.device = "cpu",
        commands: str | Path | None = None,
        decoding: DecodingConfig | None = None,
        precision: Precision = "fp32",
    ) -> "Recognizer":
        """Returns the recogniser in a run folder; `commands` is a file of sentence templates, if only those are to be
        heard.

        `decoding` takes the place of the run's own. Raises what `asr.runs.recognizer.load_run` raises;
        LanguageModelError for a
        language model that does not fit; RejectionError and ConfidenceError where the folder has calibrations of other
        weights.
        """
        parts = load_run(run, decoding=decoding)
        search = CommandSearch.of_run(parts.folder, parts.tokenizer, commands) if commands is not None else None
        key = decoding_key(parts, search)
        return cls(
            model=parts.model.to(device),
            tokenizer=parts.tokenizer,
            feature_config=parts.features,
            decoding=open_decoding(parts.config.decoding, parts.tokenizer, device=device),
            statistics=parts.statistics,
            commands=search,
            endpointing=parts.config.endpointing,
            evidence=parts.config.evidence,
            calibration=load_calibration(parts.folder.path, decoding=key, model=parts.model_digest),
            decoding_key=key,
            precision=precision,
        )

    def with_commands(self, commands: CommandSearch) -> "Recognizer":
        """Returns the same model, hearing only these commands; the confidence of their words is the posterior."""
        key = commands_key(commands)
        return replace(self, commands=commands, calibration=WordCalibration(), decoding_key=key)

    def with_calibration(self, calibration: WordCalibration) -> "Recognizer":
        """Returns the same recogniser with another confidence of words."""
        return replace(self, calibration=calibration)

    @cached_property
    def _log_mel(self) -> LogMel:
        return LogMel(self.feature_config)

    @cached_property
    def _frames_per_encoding(self) -> float:
        """Returns how many log-mel frames one encoding stands for, read off the encoder's own arithmetic."""
        num_frames = 3840  # divisible by every usual subsampling factor
        lengths: Tensor = self.model.encoder.output_lengths(torch.tensor([num_frames]))  # type: ignore[operator]
        return num_frames / int(lengths)

    def command(self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None) -> CommandResult:
        """Returns the command in one file, or in an array of samples [sample] in -1..1 with its `sample_rate`
        in hertz.
        """
        result = self.transcribe(recording, sample_rate=sample_rate).command
        if result is None:
            raise RecognizerError(
                "command: this recogniser was given no commands; expected Recognizer.load(run, commands=GRAMMAR.yaml)"
            )
        return result

    def transcribe(self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None) -> Transcription:
        """Transcribe one file, or an array of samples [sample] in -1..1 with its `sample_rate` in hertz."""
        return self.transcribe_batch([recording], sample_rate=sample_rate)[0]

    def transcribe_batch(
        self,
        recordings: Sequence[str | Path | np.ndarray],
        *,
        sample_rate: int | None = None,
        batch_size: int = 16,
    ) -> list[Transcription]:
        """Transcribe files or arrays, in the order given; `sample_rate` is that of the arrays, in hertz.

        Raises AudioError for a file that cannot be read; RecognizerError for an array that is not sound.
        """
        log_mels = [self.log_mels(recording, sample_rate=sample_rate) for recording in recordings]
        lengths = [len(frames) * self.feature_config.hop_ms / 1000 for frames in log_mels]
        transcriptions: dict[int, Transcription] = {}
        for batch in _batches(lengths, batch_size):
            transcriptions |= zip(batch, self.recognize([log_mels[index] for index in batch]), strict=True)
        return [transcriptions[index] for index in range(len(recordings))]

    def transcribe_stretches(
        self, stretches: Sequence[Stretch], durations: Sequence[float], *, batch_size: int = 16
    ) -> Iterator[Outcome]:
        """Transcribe parts of files, longest first, holding one batch at a time; a broken file does not stop the rest.

        `durations` (seconds) only order the work, so that the recordings of a batch are of like length.
        """
        for batch in _batches(durations, batch_size):
            log_mels: dict[int, Tensor] = {}
            for index in batch:
                stretch = stretches[index]
                try:
                    log_mels[index] = self.stretch_log_mels(stretch)
                except AudioError as error:
                    yield Outcome(index, None, error)
            if log_mels:
                for index, transcription in zip(log_mels, self.recognize(list(log_mels.values())), strict=True):
                    yield Outcome(index, transcription, None)

    def features(
        self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None
    ) -> Float[Tensor, "frame mel"]:
        """Normalised log-mels of a file or an array, as the model takes them."""
        log_mels = self.log_mels(recording, sample_rate=sample_rate)
        return normalize(log_mels, config=self.feature_config, statistics=self.statistics)

    def log_mels(
        self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None
    ) -> Float[Tensor, "frame mel"]:
        """Log-mels of a file or an array, as `recognize` takes them."""
        if not isinstance(recording, np.ndarray):
            return self.stretch_log_mels(Stretch(str(recording)))
        if sample_rate is None:
            raise RecognizerError("samples: no sample rate; expected transcribe(samples, sample_rate=hertz)")
        check_samples(recording)
        samples = recording.astype(np.float32, copy=False)
        at_rate = resample(samples, from_rate=sample_rate, to_rate=self.feature_config.sample_rate)
        return self._log_mel(torch.from_numpy(at_rate))

    def transcripts(self, recordings: Sequence[Float[np.ndarray, " _"]]) -> list[Transcript]:
        """Transcribe arrays of samples at the model's own rate, as one batch."""
        rate = self.feature_config.sample_rate
        log_mels = [self.log_mels(samples, sample_rate=rate) for samples in recordings]
        return [
            as_transcript(transcription, len(samples) / rate)
            for transcription, samples in zip(self.recognize(log_mels), recordings, strict=True)
        ]

    @torch.inference_mode()
    def recognize(self, log_mels: Sequence[Float[Tensor, "_ mel"]]) -> list[Transcription]:
        """Transcribe log-mels as one batch."""
        with evaluating(self.model):
            return self._read(self.listen(log_mels), [len(frames) for frames in log_mels])

    def _read(self, heard: Heard, num_frames: Sequence[int]) -> list[Transcription]:
        """The transcriptions of recordings of so many frames; the model is in evaluation mode."""
        if self.commands is not None:
            second = self.commands.second_opinion
            familiar = second.familiarity(heard.padded, heard.lengths) if second else [0.0] * len(num_frames)
            return [self._understand(heard, row, familiarity) for row, familiarity in enumerate(familiar)]
        heads = choose_heads(self.decoding, self.model.heads)
        hypotheses = self.decoding(heads, heard.encodings, heard.encoding_lengths)
        return [
            self._written(self._transcription(heard, row, hypothesis), num_frames=num_frames[row])
            for row, hypothesis in enumerate(hypotheses)
        ]

    def stream(self, config: StreamConfig | None = None) -> Stream[Transcription]:
        """Open a stream of samples at the model's own rate, which gives events: see asr.recognition.stream."""
        return Stream(self, sample_rate=self.feature_config.sample_rate, config=config)

    def look(self, samples: Float[np.ndarray, " _"]) -> Look[Transcription]:
        """Returns what there is in the samples of a stream's segment, which may go on."""
        log_mels = self.log_mels(samples, sample_rate=self.feature_config.sample_rate)
        with evaluating(self.model):
            heard = self.listen([log_mels])
        return self._look(heard, len(log_mels))

    def _look(self, heard: Heard, num_frames: int) -> Look[Transcription]:
        @cache
        @torch.inference_mode()
        def result() -> Transcription:
            with evaluating(self.model):
                return self._read(heard, [num_frames])[0]

        frame = heard.spoken_until(0, frames_per_encoding=self._frames_per_encoding)
        return Look(
            self.commands.begin(heard.scores[0].numpy()) if self.commands else _free(result()),
            frame * self.feature_config.hop_ms / 1000 if frame is not None else None,
            result,
        )

    def listen(self, log_mels: Sequence[Float[Tensor, "_ mel"]]) -> Heard:
        """Returns what the heads read of log-mels, as one batch; the model is to be in evaluation mode."""
        return listen(
            self.model,
            log_mels,
            normalized=lambda frames: normalize(frames, config=self.feature_config, statistics=self.statistics),
            frames_per_second=1000 / self.feature_config.hop_ms,
            endpointing=self.endpointing,
            precision=self.precision,
        )

    def _understand(self, heard: Heard, row: int, familiarity: float) -> Transcription:
        assert self.commands is not None
        scores = heard.scores[row]
        if not scores.shape[1]:
            raise RecognizerError("commands: the model has no CTC head, which they are searched with; expected one")
        hop = self.feature_config.hop_ms / 1000
        result = self.commands.understand(
            scores.numpy(), seconds_per_encoding=self._frames_per_encoding * hop, familiarity=familiarity
        )
        spans = [WordSpan(word.word, word.start / hop, word.end / hop, word.confidence) for word in result.words]
        words = self._words(spans, heard, row)
        return Transcription(
            text=result.text,
            tokens=tuple(self.commands.tokenizer.encode(result.text)),
            score=result.score,
            words=words,
            confidence=result.confidence if result.understood else 0.0,
            command=replace(result, words=words),
        )

    def _transcription(self, heard: Heard, row: int, hypothesis: Hypothesis) -> Transcription:
        tokens, scores = hypothesis.tokens, heard.scores[row]
        # Without a CTC head the decoder's attention says where they are.
        has_ctc = bool(scores.shape[1])
        spans = (
            align_tokens(scores, tokens)
            if has_ctc
            else place_tokens(hypothesis.frames, hypothesis.log_probs, len(scores))
        )
        spelled = spell_words(tokens, spans, self.tokenizer, frames_per_encoding=self._frames_per_encoding)
        words = self._words(spelled, heard, row)
        return Transcription(
            text=" ".join(self.tokenizer.decode(tokens).split()),
            tokens=tokens,
            score=hypothesis.score,
            words=words,
            confidence=sum(word.confidence for word in words) / max(len(words), 1),
        )

    def _written(self, found: Transcription, *, num_frames: int) -> Transcription:
        """Returns what is written of a recording of so many frames: what was found, or no words where too little shows
        them.
        """
        milliseconds = (num_frames - 1) * self.feature_config.hop_ms + self.feature_config.window_ms
        confidences = [word.confidence for word in found.words]
        if self.evidence.is_enough(seconds=milliseconds / 1000, confidences=confidences):
            return found
        return replace(found, text="", tokens=(), words=(), confidence=0.0)

    def _words(self, spans: Sequence[WordSpan], heard: Heard, row: int) -> tuple[Word, ...]:
        hop, first = self.feature_config.hop_ms / 1000, heard.first_frames[row]
        return tuple(
            Word(
                word=span.text,
                start=round((first + span.start_frame) * hop, 3),
                end=round((first + span.end_frame) * hop, 3),
                confidence=round(self.calibration.confidence(span.posterior), 4),
            )
            for span in reach_out(spans, heard.features[row])
        )

    def stretch_log_mels(self, stretch: Stretch) -> Float[Tensor, "frame mel"]:
        """Log-mels of a part of a file, as `recognize` takes them."""
        samples = read_stretch(stretch, sample_rate=self.feature_config.sample_rate)
        return self._log_mel(torch.from_numpy(samples))


def as_transcript(transcription: Transcription, duration: float) -> Transcript:
    """Returns what output formats write of a transcription of so many seconds."""
    words = tuple(
        replace(word, start=min(word.start, duration), end=min(word.end, duration)) for word in transcription.words
    )
    command = _rounded(transcription.command.to_dict()) if transcription.command is not None else None
    return Transcript(transcription.text, round(transcription.confidence, 4), words, duration, command=command)


def _rounded(value: Any) -> Any:
    """JSON types, with four digits after the point: the others depend on how a machine adds."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def decoding_key(parts: RunParts, commands: CommandSearch | None) -> str:
    """Returns a name for the way in which words are found, by which their calibration is kept."""
    if commands is not None:
        return commands_key(commands)
    sections = parts.config.model_dump(mode="json", include={"decoding", "endpointing"})
    found = sections["decoding"] if sections["endpointing"] is None else sections
    return json.dumps(found, sort_keys=True)


def commands_key(commands: CommandSearch) -> str:
    """Returns the `decoding_key` of words of commands."""
    return f"commands {commands.grammar.digest}"


def _free(transcription: Transcription) -> Beginning:
    """Words that are not commands: they may end anywhere."""
    return Beginning(tuple(transcription.text.split()), is_whole=True, can_go_on=True)


def _batches(durations: Sequence[float], batch_size: int) -> Iterator[list[int]]:
    """Indices, longest first, cut into batches of at most `batch_size` and MAX_BATCH_SECONDS of padded audio."""
    if batch_size < 1:
        raise RecognizerError(f"batch_size: {batch_size}; expected at least 1")
    return cut_longest_first(durations, most=MAX_BATCH_SECONDS, size=batch_size)
