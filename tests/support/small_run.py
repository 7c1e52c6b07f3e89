"""A run folder with a tiny untrained model that says something, and recordings for it to hear."""

from pathlib import Path

import numpy as np
import torch

from asr.audio.reading import write_audio
from asr.config.recognizer import Config
from asr.data.dataset import DataConfig, SourceConfig
from asr.data.features import FeatureConfig
from asr.data.statistics import FeatureStatistics
from asr.files.digest import file_digest
from asr.model.acoustic import Model
from asr.model.cells.lstm import LSTMConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.layers.subsampling import ConvSubsamplingConfig
from asr.runs.folder import STATISTICS_KEY, RunFolder
from asr.text import CharTokenizerConfig, SentencePieceTokenizerConfig, TokenizerConfig

TEXTS = ["turn the light on", "play some music", "stop"]
SENTENCEPIECE = SentencePieceTokenizerConfig(vocabulary_size=24)


def small_config(**sections: object) -> Config:
    source = SourceConfig(manifest="train.jsonl")
    encoder = RecurrentEncoderConfig(
        subsampling=ConvSubsamplingConfig(num_channels=4, output_size=16), num_layers=2, cell=LSTMConfig(hidden_size=12)
    )
    values = {"run_dir": "run", "data": DataConfig(train=(source,), dev=source), "encoder": encoder}
    return Config(**{**values, **sections})  # type: ignore[arg-type]


def small_model(config: Config, vocabulary_size: int) -> Model:
    """Random weights, made large and balanced: it hears many different tokens, each as decidedly as if trained."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        model = config.build_model(vocabulary_size).eval()
        for parameter in model.encoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
        projection = model.heads[0].projection
        noise = torch.randn(4, 400, config.features.num_mels)
        encodings, _ = model.encode(noise, torch.full((4,), 400))
        centred = encodings.flatten(0, 1) - encodings.mean(dim=(0, 1))
        projection.weight.copy_(
            20.0 * torch.nn.functional.normalize(projection.weight, dim=1) / centred.norm(dim=1).mean()
        )
        projection.bias.copy_(-projection.weight @ encodings.mean(dim=(0, 1)))
        projection.bias[1:5] = -100.0  # an untrained model would spell pad, bos and eos
    return model


def write_small_run(
    path: Path, *, tokenizer: TokenizerConfig | None = None, features: FeatureConfig | None = None
) -> RunFolder:
    """What a training leaves behind, as far as recognising needs it."""
    tokenizer = tokenizer or CharTokenizerConfig()
    config = small_config(tokenizer=tokenizer, features=features or FeatureConfig(num_mels=20))
    folder = RunFolder(path)
    folder.claim(config, {}).close()
    trained = config.tokenizer.train(TEXTS)
    trained.save(folder.tokenizer_path)
    folder.write_record({"tokenizer": trained.digest})
    if config.features.normalization == "global":
        statistics = FeatureStatistics(torch.full((20,), -8.0), torch.full((20,), 2.0))
        statistics.save(folder.statistics_path)
        folder.write_record({STATISTICS_KEY: file_digest(folder.statistics_path)})
    folder.write_model(small_model(config, trained.vocabulary_size).state_dict())
    return folder


def some_speech(seed: int, duration: float = 1.0, sample_rate: int = 16_000) -> np.ndarray:
    """Tones that come and go with some noise: changing features, the same for the same seed."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(duration * sample_rate)) / sample_rate
    frequencies = generator.uniform(200, 3000, size=(8, 1))
    rates = generator.uniform(1, 6, size=(8, 1))
    tones = np.sin(2 * np.pi * frequencies * time) * np.clip(np.sin(2 * np.pi * rates * time), 0, 1)
    return (0.05 * tones.sum(axis=0) + 0.003 * generator.standard_normal(len(time))).astype(np.float32)


def write_recordings(folder: Path, durations: list[float]) -> list[Path]:
    """One recording of each duration: 00.wav, 01.wav, ..."""
    paths = [folder / f"{number:02d}.wav" for number in range(len(durations))]
    for number, (path, duration) in enumerate(zip(paths, durations, strict=True)):
        write_audio(path, some_speech(number, duration), sample_rate=16_000)
    return paths
