"""A trained run, ready to use: recordings in, transcripts out.

    recognizer = Recognizer.load("runs/bilstm_ctc")
    recognizer.transcribe("order.flac").text
    recognizer.transcribe(samples, sample_rate=48_000).words

    recognizer = Recognizer.load("runs/bilstm_ctc", commands="conf/commands/home.yaml")
    recognizer.command("order.flac").intent

This is what the programs use, and what a program of your own imports.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.audio import AudioError, read_audio, resample
from asr.checkpoint import file_digest
from asr.commands.rejection import load_rejection
from asr.commands.templates import load_grammar
from asr.commands.understanding import CommandResult, CommandSearch
from asr.config import Config, load_config
from asr.decoding.hypothesis import Hypothesis
from asr.features import FeatureConfig, FeatureStatistics, LogMel, normalize
from asr.heads.ctc import CTCHead
from asr.model import Model
from asr.run import STATISTICS_KEY, RunFolder, flatten
from asr.tokenizer import Tokenizer, load_tokenizer

MAX_BATCH_SECONDS = 600.0
"""Padded audio in one batch, however many recordings were asked for; bounds memory at some hundred MB."""


class RecognizerError(ValueError):
    """A run that cannot be used, or a recording given in a form that is not understood."""


@dataclass(frozen=True)
class Word:
    """A word of a transcript."""

    text: str
    start: float  # seconds from the beginning of what was transcribed; where CTC first shows the word, often late


@dataclass(frozen=True)
class Transcription:
    """What was heard in one recording."""

    text: str  # words with single spaces
    tokens: tuple[int, ...]
    score: float  # natural-log probability, as the decoding defines it
    words: tuple[Word, ...]
    command: CommandResult | None = None  # what it means, where the recogniser was given commands


@dataclass(frozen=True)
class Stretch:
    """A part of a recording."""

    path: Path
    offset: float = 0.0  # seconds
    duration: float | None = None  # seconds; None: to the end


@dataclass(frozen=True)
class Outcome:
    """What became of one stretch: a transcription, or why there is none."""

    index: int  # of the stretch as given
    transcription: Transcription | None
    error: AudioError | None


class Recognizer:
    """A model with its tokenizer, features and decoding.

    A recording's transcript does not depend on what is transcribed beside it, nor on the order.
    """

    def __init__(
        self,
        *,
        model: Model,
        tokenizer: Tokenizer,
        features: FeatureConfig,
        decoding: Any,
        statistics: FeatureStatistics | None = None,
        commands: CommandSearch | None = None,
    ) -> None:
        """`decoding` is a built decoding; `statistics` are needed for globally normalised features only.

        With `commands`, only those are understood: a transcript is that of a command, or empty.

        The model is used on the device where it is, and is put into evaluation mode for the time of each call.
        """
        self.model, self.tokenizer, self.decoding = model, tokenizer, decoding
        self.feature_config, self.statistics = features, statistics
        self.commands = commands
        self._log_mel = LogMel(features)
        self._seconds_per_encoding = _frames_per_encoding(model) * features.hop_ms / 1000

    @classmethod
    def load(
        cls, run: str | Path, *, device: str | torch.device = "cpu", commands: str | Path | None = None
    ) -> "Recognizer":
        """The recogniser in a run folder; `commands` is a file of sentence templates, if only those are to be heard.

        Raises RecognizerError with the difference where the parts of the folder do not belong together: other
        weights, another tokenizer, other feature settings or statistics than run.json says, or weights of another
        shape than config.yaml describes; and what reading its parts raises.
        """
        folder = RunFolder(Path(run))
        if not folder.config_path.is_file():
            raise RecognizerError(f"{folder.path}: no config.yaml in it; expected a run folder written by asr.train")
        config, record = load_config(folder.config_path), folder.read_record()
        tokenizer = load_tokenizer(folder.tokenizer_path)
        _check_digest(folder.tokenizer_path, tokenizer.digest, record.get("tokenizer"))
        _check_features(folder, config, record.get("features"))
        is_global = config.features.normalization == "global"
        return cls(
            model=_load_model(folder, config, tokenizer, record).to(device),
            tokenizer=tokenizer,
            features=config.features,
            decoding=config.decoding.build(),
            statistics=_load_statistics(folder, record) if is_global else None,
            commands=_load_commands(folder, Path(commands), tokenizer, record) if commands is not None else None,
        )

    def command(self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None) -> CommandResult:
        """The command in one file, or in an array of samples [sample] in -1..1 with its `sample_rate` in hertz."""
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
        features = [self.features(recording, sample_rate=sample_rate) for recording in recordings]
        lengths = [len(frames) * self.feature_config.hop_ms / 1000 for frames in features]
        transcriptions: dict[int, Transcription] = {}
        for batch in _batches(lengths, batch_size):
            transcriptions |= zip(batch, self.recognize([features[index] for index in batch]), strict=True)
        return [transcriptions[index] for index in range(len(recordings))]

    def transcribe_stretches(
        self, stretches: Sequence[Stretch], durations: Sequence[float], *, batch_size: int = 16
    ) -> Iterator[Outcome]:
        """Transcribe parts of files, longest first, holding one batch at a time; a broken file does not stop the rest.

        `durations` (seconds) only order the work, so that the recordings of a batch are of like length.
        """
        for batch in _batches(durations, batch_size):
            features: dict[int, Tensor] = {}
            for index in batch:
                stretch = stretches[index]
                try:
                    features[index] = self._stretch_features(stretch)
                except AudioError as error:
                    yield Outcome(index, None, error)
            if features:
                for index, transcription in zip(features, self.recognize(list(features.values())), strict=True):
                    yield Outcome(index, transcription, None)

    def features(
        self, recording: str | Path | np.ndarray, *, sample_rate: int | None = None
    ) -> Float[Tensor, "frame mel"]:
        """Normalised log-mels of a file or an array, as `recognize` takes them."""
        if not isinstance(recording, np.ndarray):
            return self._stretch_features(Stretch(Path(recording)))
        _check_array(recording, sample_rate)
        assert sample_rate is not None
        samples = recording.astype(np.float32, copy=False)
        return self._normalized(resample(samples, from_rate=sample_rate, to_rate=self.feature_config.sample_rate))

    @torch.inference_mode()
    def recognize(self, features: Sequence[Float[Tensor, "_ mel"]]) -> list[Transcription]:
        """Transcribe normalised log-mels as one batch."""
        was_training = self.model.training
        self.model.eval()
        try:
            device = next(self.model.parameters()).device
            lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int64, device=device)
            padded = nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(device)
            encodings, encoding_lengths = self.model.encode(padded, lengths)
            if self.commands is not None:
                return self._understand(encodings, encoding_lengths)
            hypotheses = self.decoding(self.model.heads[0], encodings, encoding_lengths)
        finally:
            self.model.train(was_training)
        return [self._transcription(hypothesis) for hypothesis in hypotheses]

    def _understand(
        self, encodings: Float[Tensor, "batch time encoding"], lengths: Int[Tensor, " batch"]
    ) -> list[Transcription]:
        assert self.commands is not None
        head = next((head for head in self.model.heads if isinstance(head, CTCHead)), None)
        if head is None:
            raise RecognizerError("commands: the model has no CTC head, which they are searched with; expected one")
        scores = head(encodings).cpu().numpy()
        results = [
            self.commands.understand(scores[row, :length], seconds_per_encoding=self._seconds_per_encoding)
            for row, length in enumerate(lengths.tolist())
        ]
        return [
            Transcription(
                text=result.text,
                tokens=tuple(self.tokenizer.encode(result.text)),
                score=result.score,
                words=tuple(Word(word.text, word.start) for word in result.words),
                command=result,
            )
            for result in results
        ]

    def _stretch_features(self, stretch: Stretch) -> Float[Tensor, "frame mel"]:
        return self._normalized(
            read_audio(
                stretch.path,
                sample_rate=self.feature_config.sample_rate,
                offset=stretch.offset,
                duration=stretch.duration,
            )
        )

    def _normalized(self, samples: Float[np.ndarray, " sample"]) -> Float[Tensor, "frame mel"]:
        log_mel = self._log_mel(torch.from_numpy(samples))
        return normalize(log_mel, config=self.feature_config, statistics=self.statistics)

    def _transcription(self, hypothesis: Hypothesis) -> Transcription:
        words = " ".join(self.tokenizer.decode(hypothesis.tokens).split())
        return Transcription(
            text=words,
            tokens=hypothesis.tokens,
            score=hypothesis.score,
            words=tuple(self._words(hypothesis)),
        )

    def _words(self, hypothesis: Hypothesis) -> Iterator[Word]:
        """A word starts with the token that makes the text so far one word longer: t o _ g|o: 1 1 1 2 2."""
        text = self.tokenizer.decode(hypothesis.tokens).split()
        num_words = 0
        for position, frame in enumerate(hypothesis.frames):
            num_so_far = len(self.tokenizer.decode(hypothesis.tokens[: position + 1]).split())
            if num_so_far > num_words:
                yield Word(text[num_words], round(frame * self._seconds_per_encoding, 3))
                num_words = num_so_far


def _load_commands(folder: RunFolder, path: Path, tokenizer: Tokenizer, record: dict[str, Any]) -> CommandSearch:
    grammar = load_grammar(path)
    rejection = load_rejection(folder.path, grammar=grammar.digest, model=str(record.get("model")))
    return CommandSearch(grammar, tokenizer, rejection=rejection)


def _load_statistics(folder: RunFolder, record: dict[str, Any]) -> FeatureStatistics:
    statistics = FeatureStatistics.load(folder.statistics_path)
    if STATISTICS_KEY in record:  # the first runs were trained before it was written down
        _check_digest(folder.statistics_path, file_digest(folder.statistics_path), record[STATISTICS_KEY])
    return statistics


def _load_model(folder: RunFolder, config: Config, tokenizer: Tokenizer, record: dict[str, Any]) -> Model:
    path = folder.model_path
    if not path.is_file():
        raise RecognizerError(f"{path}: no such file; the training has not finished its first epoch yet")
    _check_digest(path, file_digest(path), record.get("model"))
    with torch.random.fork_rng(devices=[]):  # the weights it draws are replaced: leave the caller's generator alone
        model = Model(
            num_mels=config.features.num_mels,
            encoder=config.encoder,
            heads=config.heads,
            vocabulary_size=tokenizer.vocabulary_size,
        )
    weights = load_file(path)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if differences := _differences(found, expected):
        raise RecognizerError(f"{path}: not the weights of the model in config.yaml:\n{differences}")
    model.load_state_dict(weights)
    return model.eval()


def _check_features(folder: RunFolder, config: Config, recorded: dict[str, Any] | None) -> None:
    """The weights fit only the features that they were trained on."""
    differences = _differences(flatten(config.features.model_dump(mode="json")), flatten(recorded or {}))
    if differences:
        raise RecognizerError(
            f"{folder.config_path}: its features are not those of the training, as {folder.record_path.name} says:\n"
            f"{differences}\nput the old settings back, or train again"
        )


def _check_digest(path: Path, found: str, recorded: Any) -> None:
    if found != recorded:
        raise RecognizerError(
            f"{path}: its SHA-256 is {found}; expected {recorded} as run.json says. "
            "It is damaged or of another run: copy the whole run folder again"
        )


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """One line for each key whose value is another, or is on one side only; empty where all agree."""
    missing = "nothing"
    return "\n".join(
        f"  {key}: found {found.get(key, missing)}; expected {expected.get(key, missing)}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key, missing) != expected.get(key, missing)
    )


def _check_array(samples: np.ndarray, sample_rate: int | None) -> None:
    if sample_rate is None:
        raise RecognizerError("samples: no sample rate; expected transcribe(samples, sample_rate=hertz)")
    if samples.ndim != 1 or samples.size == 0 or not np.issubdtype(samples.dtype, np.floating):
        raise RecognizerError(
            f"samples: an array of {samples.dtype} {list(samples.shape)}; expected floating-point samples in -1..1 "
            "of one channel, [sample], at least one (int16: divide by 32768; stereo: take the mean)"
        )
    if not np.isfinite(samples).all():
        raise RecognizerError("samples: NaN or infinite; expected finite samples in -1..1")


def _batches(durations: Sequence[float], batch_size: int) -> Iterator[list[int]]:
    """Indices, longest first, cut into batches of at most `batch_size` and MAX_BATCH_SECONDS of padded audio."""
    if batch_size < 1:
        raise RecognizerError(f"batch_size: {batch_size}; expected at least 1")
    order = sorted(range(len(durations)), key=lambda index: (-durations[index], index))
    while order:
        size = max(1, min(batch_size, int(MAX_BATCH_SECONDS / max(durations[order[0]], 1e-3))))
        yield order[:size]
        order = order[size:]


def _frames_per_encoding(model: Model) -> float:
    """How many log-mel frames one encoding stands for, read off the encoder's own arithmetic."""
    num_frames = 3840  # divisible by every usual subsampling factor
    lengths: Tensor = model.encoder.output_lengths(torch.tensor([num_frames]))  # type: ignore[operator]
    return num_frames / int(lengths)
