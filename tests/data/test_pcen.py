"""PCEN: the same numbers as librosa, what it does to level and noise, and that every program computes it alike."""

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from asr.audio.reading import read_audio
from asr.data.dataset import Dataset, SourceConfig
from asr.data.features import FeatureConfig, LogMel, normalize, unnormalized
from asr.data.manifest import Manifest
from asr.data.pcen import PCENConfig, pcen
from asr.data.shards import stored_settings
from asr.recognizer import Recognizer
from asr.train import main as train


def random_log_mels(num_frames: int, num_mels: int = 8) -> torch.Tensor:
    return 3 * torch.randn(num_frames, num_mels, generator=torch.Generator().manual_seed(0)) - 7


def by_librosa(log_mels: torch.Tensor, config: PCENConfig) -> np.ndarray:
    """[frame, mel] in float64; its smoothing starts as if the first frame had always been there, as ours does."""
    power = np.exp(log_mels.double().numpy().T) * 2.0**30
    return librosa.pcen(
        power,
        gain=config.gain,
        bias=config.bias,
        power=config.exponent,
        b=config.smoothing,
        eps=1e-6,
        zi=(1 - config.smoothing) * power[:, :1],
    ).T


@pytest.mark.parametrize(
    "config",
    [PCENConfig(), PCENConfig(smoothing=0.2, gain=0.5, bias=10.0, exponent=0.25), PCENConfig(bias=0.0, smoothing=1.0)],
    ids=["default", "other settings", "no memory"],
)
@pytest.mark.parametrize("num_frames", [1, 63, 64, 65, 128, 1000])
def test_agrees_with_librosa(config: PCENConfig, num_frames: int) -> None:
    log_mels = random_log_mels(num_frames)
    ours = pcen(log_mels, config)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), by_librosa(log_mels, config), rtol=1e-4, atol=2e-5)


def test_agrees_with_librosa_on_real_speech(shared_data: Path) -> None:
    log_mel = LogMel(FeatureConfig())
    for path in sorted((shared_data / "barista" / "dev").glob("*.flac"))[:10]:
        log_mels = log_mel(torch.from_numpy(read_audio(path, sample_rate=16_000)))
        np.testing.assert_allclose(
            pcen(log_mels, PCENConfig()).numpy(), by_librosa(log_mels, PCENConfig()), rtol=1e-4, atol=2e-5
        )


def test_a_frame_sees_itself_and_what_was_before() -> None:
    log_mels = random_log_mels(300)
    changed = log_mels.clone()
    changed[150:] += 5
    assert torch.equal(pcen(log_mels, PCENConfig())[:150], pcen(changed, PCENConfig())[:150])
    assert not torch.isclose(pcen(log_mels, PCENConfig())[150:], pcen(changed, PCENConfig())[150:]).all()


def test_a_quiet_recording_looks_like_a_loud_one() -> None:
    log_mels = random_log_mels(300)
    quieter = pcen(log_mels - 20 * math.log(10) / 10, PCENConfig(gain=1.0))
    torch.testing.assert_close(quieter, pcen(log_mels, PCENConfig(gain=1.0)), rtol=1e-3, atol=1e-3)


def test_steady_noise_fades_and_what_begins_stands_out() -> None:
    log_mels = torch.full((400, 2), -9.0)
    log_mels[200:220, 0] += 3
    shaped = pcen(log_mels, PCENConfig(gain=1.0))
    torch.testing.assert_close(shaped[:200], torch.full((200, 2), math.sqrt(3) - math.sqrt(2)), rtol=1e-4, atol=1e-4)
    assert shaped[200, 0] > 5 * shaped[199, 0]
    assert shaped[219, 0] < 0.6 * shaped[200, 0]


def test_it_comes_before_every_normalisation() -> None:
    log_mels = random_log_mels(100)
    shaped = pcen(log_mels, PCENConfig())
    config = FeatureConfig(num_mels=8, pcen=PCENConfig(), normalization="none")
    assert torch.equal(normalize(log_mels, config=config, statistics=None), shaped)
    assert torch.equal(unnormalized(log_mels, config=config), shaped)
    each = normalize(log_mels, config=config.model_copy(update={"normalization": "utterance"}), statistics=None)
    torch.testing.assert_close(each, (shaped - shaped.mean(dim=0)) / shaped.std(dim=0, correction=0).clamp(min=0.1))
    limited = config.model_copy(update={"dynamic_range_db": 20.0})
    floor = float(log_mels.max()) - 20 * math.log(10) / 10
    expected = pcen(log_mels.clamp(min=floor), PCENConfig())
    torch.testing.assert_close(normalize(log_mels, config=limited, statistics=None), expected)


def test_stored_log_mels_serve_it_and_nothing_changes_where_it_is_unset() -> None:
    with_pcen = FeatureConfig(pcen=PCENConfig())
    assert stored_settings(with_pcen) == stored_settings(FeatureConfig())
    assert "pcen" not in stored_settings(FeatureConfig())
    log_mels = random_log_mels(10, 80)
    assert unnormalized(log_mels, config=FeatureConfig()) is log_mels


def test_training_and_recognition_have_the_same(tone_corpus: Path, tone_config: Path, tmp_path: Path) -> None:
    """The statistics are of PCEN, an example of the data set is what the recogniser hears, and another is refused."""
    words = ["features.pcen={}", "features.normalization=global", f"run_dir={tmp_path}/run", "train.max_steps=1"]
    assert train([str(tone_config), *words]) == 0
    recognizer = Recognizer.load(tmp_path / "run")
    features = recognizer.feature_config
    assert features.pcen == PCENConfig()
    recordings = [utterance.audio_filepath for utterance in Manifest.read(tone_corpus / "train.jsonl")]
    shaped = [
        pcen(LogMel(features)(torch.from_numpy(read_audio(path, sample_rate=8000))), PCENConfig())
        for path in recordings
    ]
    assert recognizer.statistics is not None
    torch.testing.assert_close(recognizer.statistics.mean, torch.cat(shaped).mean(dim=0))
    source = SourceConfig(manifest=str(tone_corpus / "train.jsonl"))
    dataset = Dataset([source], features=features, tokenizer=recognizer.tokenizer, statistics=recognizer.statistics)
    for index in range(3):
        heard = recognizer.features(recordings[index])
        torch.testing.assert_close(heard, dataset.example(index).features, rtol=0, atol=0)
        mean, std = recognizer.statistics.mean, recognizer.statistics.std.clamp(min=0.1)
        torch.testing.assert_close(heard, (shaped[index] - mean) / std)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("smoothing: 0.025", "smoothing: 0.05"))
    with pytest.raises(ValueError, match=r"(?s)features are not those of the training.*pcen\.smoothing: found 0\.05"):
        Recognizer.load(tmp_path / "run")


@pytest.mark.parametrize(
    "settings", [{"smoothing": 0.0}, {"gain": 1.5}, {"bias": -1.0}, {"exponent": 0.0}, {"time_constant": 0.4}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        PCENConfig(**settings)
