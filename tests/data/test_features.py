"""Log-mels: the same numbers as librosa, frames counted exactly, normalisation and its statistics."""

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save_file

from asr.audio.reading import read_audio
from asr.data.features import STD_FLOOR, FeatureConfig, LogMel, limit_range, normalize
from asr.data.shards import stored_settings
from asr.data.statistics import FeatureStatistics


def librosa_log_mel(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """[frame, mel] by librosa, with our framing: librosa centres a short window in the FFT's frame, so the samples are
    padded by half the difference on both sides and `center` is off. In float64: librosa is the reference here."""
    window_samples = config.window_samples
    fft_size = 1 << (window_samples - 1).bit_length()
    left = (fft_size - window_samples) // 2
    mel = librosa.feature.melspectrogram(
        y=np.pad(samples.astype(np.float64), (left, fft_size - window_samples - left)),
        sr=config.sample_rate,
        n_fft=fft_size,
        win_length=window_samples,
        hop_length=config.hop_samples,
        center=False,
        n_mels=config.num_mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
        power=2.0,
    )
    return np.log(np.maximum(mel, config.log_floor)).T


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig(sample_rate=8000, num_mels=40, high_hz=3800.0),
        FeatureConfig(num_mels=64, window_ms=32.0, hop_ms=8.0, low_hz=0.0),
        FeatureConfig(sample_rate=22050, window_ms=25.0, hop_ms=10.0),
    ],
    ids=["default", "8 kHz", "window fills the transform", "fractional window"],
)
def test_agrees_with_librosa_on_noise_and_tones(config: FeatureConfig) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(3 * config.sample_rate) / config.sample_rate
    samples = (0.3 * np.sin(2 * np.pi * 440 * time) + 0.01 * rng.standard_normal(time.size)).astype(np.float32)
    ours = LogMel(config)(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(ours, librosa_log_mel(samples, config), atol=1e-5, rtol=0)


def test_agrees_with_librosa_on_real_speech(shared_data: Path) -> None:
    config = FeatureConfig()
    for path in sorted((shared_data / "barista" / "dev").glob("*.flac"))[:10]:
        samples = read_audio(path, sample_rate=16_000)
        ours = LogMel(config)(torch.from_numpy(samples)).numpy()
        np.testing.assert_allclose(ours, librosa_log_mel(samples, config), atol=1e-5, rtol=0)


@given(num_samples=st.integers(0, 3000), window=st.integers(12, 700), hop=st.integers(1, 400))
def test_num_frames_is_exact(num_samples: int, window: int, hop: int) -> None:
    config = FeatureConfig(num_mels=2, window_ms=float(window), hop_ms=float(hop), sample_rate=1000, low_hz=0.0)
    log_mel = LogMel(config)
    features = log_mel(torch.zeros(num_samples))
    starts = [0] + [start for start in range(hop, num_samples, hop) if start + window <= num_samples]
    assert features.shape == (len(starts), 2)
    assert log_mel.num_frames(num_samples) == len(starts)


def test_a_frame_sees_its_own_samples_only() -> None:
    """Frame i covers [i * hop, i * hop + window): an impulse shows in exactly the frames that hold it."""
    config = FeatureConfig(num_mels=20)
    log_mel = LogMel(config)
    silence = log_mel(torch.zeros(16000))
    for place in (161, 399, 401, 8000):
        samples = torch.zeros(16000)
        samples[place] = 1.0
        changed = (log_mel(samples) != silence).any(dim=1).nonzero().flatten().tolist()
        # a periodic Hann window is 0 at its first sample, so a frame that starts on the impulse does not see it
        expected = [frame for frame in range(silence.shape[0]) if frame * 160 < place < frame * 160 + 400]
        assert changed == expected


def test_a_long_utterance_is_its_pieces() -> None:
    """Blocks leave no seam: frames past the block size are those of the same samples alone."""
    samples = torch.randn(16000 * 12, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(FeatureConfig())
    whole = log_mel(samples)
    torch.testing.assert_close(whole[900:1000], log_mel(samples[900 * 160 :])[:100], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [0, 1, 200, 399])
def test_short_input_is_padded_with_zeros_to_one_window(num_samples: int) -> None:
    samples = torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(FeatureConfig())
    features = log_mel(samples)
    assert features.shape == (1, 80)
    torch.testing.assert_close(features, log_mel(torch.cat([samples, torch.zeros(400 - num_samples)])))


def test_digital_silence_is_the_floor() -> None:
    config = FeatureConfig(log_floor=1e-6)
    features = LogMel(config)(torch.zeros(4000))
    torch.testing.assert_close(features, torch.full_like(features, float(np.log(1e-6))))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high_hz": 9000.0}, "high_hz: 9000 hertz; expected at most half of sample_rate, 8000"),
        ({"low_hz": 500.0, "high_hz": 400.0}, "low_hz: 500 hertz; expected below the upper edge, 400"),
        ({"hop_ms": 0.01}, "hop_ms: 0.01 is less than one sample"),
        ({"window_ms": 0.05}, "window_ms: 0.05 is less than two samples"),
        ({"num_mel": 3}, "num_mel"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureConfig(**settings)


def test_a_filter_without_a_bin_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features\.num_mels: 200 filters over 257 FFT bins leave filter"):
        LogMel(FeatureConfig(num_mels=200))


def test_statistics_are_those_of_all_frames_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [torch.from_numpy(rng.normal(-8, 3, (frames, 5)).astype(np.float32)) for frames in (1, 7, 50)]
    statistics = FeatureStatistics.from_features(iter(parts))
    together = torch.cat(parts).double()
    torch.testing.assert_close(statistics.mean.double(), together.mean(dim=0))
    torch.testing.assert_close(statistics.std.double(), together.std(dim=0, correction=0))
    statistics.save(tmp_path / "statistics.safetensors")
    loaded = FeatureStatistics.load(tmp_path / "statistics.safetensors")
    assert torch.equal(loaded.mean, statistics.mean)
    assert torch.equal(loaded.std, statistics.std)
    assert [path.name for path in tmp_path.iterdir()] == ["statistics.safetensors"]


def test_statistics_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="feature statistics: no frames"):
        FeatureStatistics.from_features([])
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file; expected the feature statistics"):
        FeatureStatistics.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("not tensors")
    with pytest.raises(ValueError, match=r"text: a header of .* bytes; expected a safetensors file"):
        FeatureStatistics.load(tmp_path / "text")
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights")
    with pytest.raises(ValueError, match=r"weights: holds \['weight'\]; expected feature statistics"):
        FeatureStatistics.load(tmp_path / "weights")
    for mean, std, message in (
        (torch.zeros(2), torch.zeros(3), r"mean is \(2,\) and std \(3,\); expected a number of each for each mel"),
        (torch.zeros(2, 2), torch.zeros(2, 2), r"mean is \(2, 2\)"),
        (torch.zeros(2), -torch.ones(2), "a standard deviation below 0; expected feature statistics"),
        (torch.full((2,), torch.nan), torch.ones(2), "mean: 2 of 2 numbers are NaN or infinite"),
    ):
        save_file({"mean": mean, "std": std}, tmp_path / "weights")
        with pytest.raises(ValueError, match=f"weights: {message}"):
            FeatureStatistics.load(tmp_path / "weights")
    with pytest.raises(ValueError, match="window_ms: 1,000,000 samples and 80 mels would fill the memory"):
        FeatureConfig(sample_rate=100_000, window_ms=10_000)


def test_utterance_normalization_gives_mean_0_and_deviation_1() -> None:
    features = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) * 3 - 7
    normalized = normalize(features, config=FeatureConfig(num_mels=8), statistics=None)
    torch.testing.assert_close(normalized.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.std(dim=0, correction=0), torch.ones(8), atol=1e-5, rtol=0)


def test_a_still_mel_is_not_blown_up() -> None:
    features = torch.full((100, 2), -23.0)
    features[::2, 1] += 1e-4
    normalized = normalize(features, config=FeatureConfig(num_mels=2), statistics=None)
    assert normalized.abs().max() <= 1e-4 / STD_FLOOR


def test_global_normalization_takes_the_statistics() -> None:
    config = FeatureConfig(num_mels=3, normalization="global")
    statistics = FeatureStatistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 0.0]))
    features = torch.tensor([[2.0, 4.0, 3.0]])
    torch.testing.assert_close(
        normalize(features, config=config, statistics=statistics), torch.tensor([[1.0, 1.0, 0.0]])
    )
    with pytest.raises(ValueError, match="'global' needs feature statistics"):
        normalize(features, config=config, statistics=None)
    with pytest.raises(ValueError, match="feature statistics: 3 mels; expected 4"):
        normalize(torch.zeros(1, 4), config=config, statistics=statistics)


def test_no_normalization_leaves_features_alone() -> None:
    features = torch.randn(4, 3)
    config = FeatureConfig(num_mels=3, normalization="none")
    assert torch.equal(normalize(features, config=config, statistics=None), features)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features() -> None:
    samples = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    on_cpu, on_gpu = (LogMel(FeatureConfig(), device)(samples) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-5, rtol=0)


def test_a_limited_range_makes_silences_alike() -> None:
    config = FeatureConfig(num_mels=4, dynamic_range_db=50.0)
    features = torch.tensor([[0.0, -4.0, -9.0, -11.0], [-23.0, -23.0, -23.0, -23.0]])
    floor = -50 * math.log(10) / 10  # in natural log of a power
    limited = limit_range(features, config=config)
    torch.testing.assert_close(limited, torch.tensor([[0.0, -4.0, -9.0, -11.0], [floor] * 4]))
    noisy = features.clone()
    noisy[1] = -13.0  # noise 56 dB below the loudest mel: the same features
    for normalization in ("utterance", "none"):
        same = FeatureConfig(num_mels=4, dynamic_range_db=50.0, normalization=normalization)
        torch.testing.assert_close(
            normalize(noisy, config=same, statistics=None), normalize(features, config=same, statistics=None)
        )
    assert limit_range(features, config=FeatureConfig(num_mels=4)) is features
    assert stored_settings(config) == stored_settings(FeatureConfig(num_mels=4))  # shards serve any range
