"""Augmentations: the family's contract for every kind, and what each of them promises."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from asr.audio import AudioError, write_audio
from asr.augment import (
    AugmentationConfig,
    GainConfig,
    NoiseConfig,
    ReverbConfig,
    SpecAugmentConfig,
    SpeedConfig,
    recorded,
)
from asr.features import FeatureConfig

FEATURES = FeatureConfig()
KINDS = [config.model_fields["kind"].default for config in get_args(get_args(AugmentationConfig)[0])]


def random_samples(num_samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, a short and a long one, that serve as noise and as impulse responses."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, num_samples in (("short.wav", 1000), ("below/long.flac", 20000)):
        samples = rng.standard_normal(num_samples) * np.maximum(np.exp(-np.arange(num_samples) / 200), 0.05) * 0.2
        write_audio(folder / name, samples.astype(np.float32), sample_rate=16000)
    return folder


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, folder: Path) -> AugmentationConfig:
    """One config of every kind in the union, by its own defaults; a new kind joins by being in the union."""
    needs_folder = request.param in ("noise", "reverb")
    settings = {"kind": request.param, **({"folder": str(folder)} if needs_folder else {})}
    return TypeAdapter(AugmentationConfig).validate_python(settings)


def example_input(config: AugmentationConfig) -> torch.Tensor:
    return random_samples(16000) if config.domain == "samples" else random_samples(80 * 100).view(100, 80)


def test_same_generator_state_same_result(config: AugmentationConfig) -> None:
    changed = config.build(FEATURES)
    first, second = generator(), generator()
    for _ in range(20):
        torch.testing.assert_close(
            changed(example_input(config), first), changed(example_input(config), second), rtol=0, atol=0
        )
        assert torch.equal(first.get_state(), second.get_state())
    # built anew (as in another worker, with nothing cached): still the same
    last = generator()
    for _ in range(20):
        again = config.build(FEATURES)(example_input(config), last)
    assert torch.equal(again, changed(example_input(config), _after(19, changed, config)))


def _after(num_calls: int, changed: Callable, config: AugmentationConfig) -> torch.Generator:
    state = generator()
    for _ in range(num_calls):
        changed(example_input(config), state)
    return state


def test_draws_from_its_generator_only_and_changes_something(config: AugmentationConfig) -> None:
    changed = config.build(FEATURES)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    results = [changed(example_input(config), generator(seed)) for seed in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    assert any(result.shape != example_input(config).shape or not result.equal(results[0]) for result in results)


def test_input_stays_as_it_was_and_output_is_finite_float32(config: AugmentationConfig) -> None:
    changed = config.build(FEATURES)
    for size in (1, 80, 16000):
        inputs = random_samples(size) if config.domain == "samples" else random_samples(size * 80).view(size, 80)
        for inputs_now in (inputs, torch.zeros_like(inputs)):
            copy = inputs_now.clone()
            for seed in range(4):
                outputs = changed(inputs_now, generator(seed))
                assert outputs.dtype == torch.float32
                assert outputs.isfinite().all()
                assert outputs.ndim == inputs_now.ndim
                assert outputs.shape[0] >= 1
            assert torch.equal(inputs_now, copy)


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_speed_moves_pitch_and_length_by_the_factor(factor: float) -> None:
    time = torch.arange(16000) / 16000
    tone = torch.sin(2 * math.pi * 1000 * time)
    fast = SpeedConfig(factors=(factor,)).build(FEATURES)(tone, generator())
    assert fast.shape[0] == pytest.approx(16000 / factor, abs=1)
    spectrum = torch.fft.rfft(fast * torch.hann_window(fast.shape[0])).abs()
    assert spectrum.argmax() * 16000 / fast.shape[0] == pytest.approx(1000 * factor, abs=2)
    # the level stays: a tone's root mean square is 1 / sqrt(2) away from the ends
    assert fast[1000:-1000].square().mean().sqrt() == pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_speed_draws_every_factor_and_leaves_the_share_it_should() -> None:
    speed = SpeedConfig(factors=(0.9, 1.0, 1.1), probability=0.5).build(FEATURES)
    state = generator()
    lengths = [speed(torch.zeros(9900), state).shape[0] for _ in range(600)]
    assert set(lengths) == {11000, 9900, 9000}
    assert lengths.count(9900) == pytest.approx(400, abs=60)  # half untouched, and a third of the other half


@given(st.integers(0, 1000))
def test_gain_is_in_decibels_and_does_not_clip(seed: int) -> None:
    samples = torch.tensor([0.5, -0.9])
    louder = GainConfig(low_db=10.0, high_db=20.0).build(FEATURES)(samples, generator(seed))
    gain_db = 20 * math.log10(float(louder[0]) / 0.5)
    assert 10 - 1e-4 <= gain_db <= 20 + 1e-4
    assert float(louder[1]) == pytest.approx(-0.9 * 10 ** (gain_db / 20), rel=1e-4)
    assert float(louder[1]) < -1


@pytest.mark.parametrize("num_samples", [500, 3000, 50000])
def test_noise_has_the_ratio_it_should(folder: Path, num_samples: int) -> None:
    """Whether the recording is cut or goes round: energy of speech over energy of what was added."""
    noise = NoiseConfig(folder=str(folder), low_snr_db=6.0, high_snr_db=6.0, probability=1.0).build(FEATURES)
    samples = random_samples(num_samples)
    starts = set()
    for seed in range(10):
        added = (noise(samples, generator(seed)) - samples).double()
        ratio_db = 10 * torch.log10(samples.double().square().sum() / added.square().sum())
        assert ratio_db == pytest.approx(6.0, abs=0.01)
        starts.add(float(added[0]))
    assert len(starts) == 10


def test_a_noise_recording_goes_round(tmp_path: Path) -> None:
    ramp = np.arange(1, 101, dtype=np.float32) / 128
    write_audio(tmp_path / "ramp.wav", ramp, sample_rate=16000)
    noise = NoiseConfig(folder=str(tmp_path), low_snr_db=0.0, high_snr_db=0.0, probability=1.0).build(FEATURES)
    samples = random_samples(1000)
    added = noise(samples, generator()) - samples
    steps = added.diff() / added.diff().median()  # a ramp rises by the same step but where it starts again
    assert ((steps - 1).abs() < 0.05).sum() == 999 - 10
    assert ((steps + 99).abs() < 0.5).sum() == 10


def test_silent_noise_leaves_the_utterance(tmp_path: Path) -> None:
    write_audio(tmp_path / "silence.wav", np.zeros(2000, np.float32), sample_rate=16000)
    samples = random_samples(1000)
    assert torch.equal(
        NoiseConfig(folder=str(tmp_path), probability=1.0).build(FEATURES)(samples, generator()), samples
    )


def test_reverb_keeps_length_place_and_level(tmp_path: Path) -> None:
    """A response of a late direct path and an echo 100 samples after it: speech stays in place, the echo follows."""
    response = np.zeros(400, np.float32)
    response[50], response[150] = 0.8, -0.4
    write_audio(tmp_path / "response.wav", response, sample_rate=16000)
    samples = random_samples(5000)
    wet = ReverbConfig(folder=str(tmp_path), probability=1.0).build(FEATURES)(samples, generator())
    assert wet.shape == samples.shape
    assert wet.square().mean() == pytest.approx(float(samples.square().mean()), rel=1e-5)
    expected = samples.clone()
    expected[100:] -= 0.5 * samples[:-100]
    expected *= (samples.square().mean() / expected.square().mean()).sqrt()
    torch.testing.assert_close(wet, expected, atol=1e-4, rtol=0)


def test_reverb_by_a_response_of_one_sample_changes_nothing(tmp_path: Path) -> None:
    write_audio(tmp_path / "response.wav", np.array([0.5], np.float32), sample_rate=16000)
    samples = random_samples(5000)
    wet = ReverbConfig(folder=str(tmp_path), probability=1.0).build(FEATURES)(samples, generator())
    torch.testing.assert_close(wet, samples, atol=1e-6, rtol=0)


@given(num_frames=st.integers(1, 120), seed=st.integers(0, 10_000))
def test_spec_augment_masks_no_more_than_it_may(num_frames: int, seed: int) -> None:
    config = SpecAugmentConfig(
        num_time_masks=1, max_time_frames=20, max_time_fraction=0.3, num_frequency_masks=1, max_frequency_bins=5
    )
    masked = config.build(FEATURES)(torch.ones(num_frames, 16), generator(seed)) == 0
    frames, mels = masked.all(dim=1), masked.all(dim=0)
    full = mels.all() or frames.all()
    assert not full
    assert frames.sum() <= min(20, int(0.3 * num_frames))
    assert mels.sum() <= 5
    # nothing else is touched, and each mask is one stretch
    assert torch.equal(masked, frames[:, None] | mels[None, :])
    for mask in (frames, mels):
        assert (mask.int().diff() == 1).sum() + mask[0].int() <= 1


def test_spec_augment_reaches_the_ends_and_the_widest_mask() -> None:
    config = SpecAugmentConfig(num_time_masks=1, max_time_frames=5, max_time_fraction=1.0, num_frequency_masks=0)
    state = generator()
    masks = [config.build(FEATURES)(torch.ones(10, 4), state)[:, 0] == 0 for _ in range(500)]
    assert {int(mask.sum()) for mask in masks} == {0, 1, 2, 3, 4, 5}
    assert any(mask[0] for mask in masks)
    assert any(mask[-1] for mask in masks)


@pytest.mark.parametrize("kind", ["noise", "reverb"])
def test_a_folder_without_recordings_is_named(kind: str, tmp_path: Path) -> None:
    missing = TypeAdapter(AugmentationConfig).validate_python({"kind": kind, "folder": str(tmp_path / "nowhere")})
    with pytest.raises(AudioError, match=rf"augment: {kind}: folder: .*nowhere: not a folder"):
        missing.build(FEATURES)
    (tmp_path / "notes.txt").write_text("no recording")
    empty = TypeAdapter(AugmentationConfig).validate_python({"kind": kind, "folder": str(tmp_path)})
    with pytest.raises(AudioError, match=rf"augment: {kind}: folder: .*: no recordings in it; expected one or more"):
        empty.build(FEATURES)


def test_recordings_are_read_when_drawn_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counting(path: Path, **settings: object) -> np.ndarray:
        reads.append(path)
        return read_audio(path, **settings)

    read_audio = recorded.read_audio
    monkeypatch.setattr(recorded, "read_audio", counting)
    noise = NoiseConfig(folder=str(folder), probability=1.0).build(FEATURES)
    assert reads == []
    for seed in range(30):
        noise(random_samples(100), generator(seed))
    assert len(reads) == len(set(reads)) == 2
    monkeypatch.setattr(recorded, "MAX_CACHED_SAMPLES", 0)
    noise = NoiseConfig(folder=str(folder), probability=1.0).build(FEATURES)
    for seed in range(30):
        noise(random_samples(100), generator(seed))
    assert len(reads) == 32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "gain", "low_db": 3.0, "high_db": -3.0}, "low_db: 3; expected at most high_db, -3"),
        (
            {"kind": "noise", "folder": "x", "low_snr_db": 9.0, "high_snr_db": 3.0},
            "low_snr_db: 9; expected at most high_snr_db, 3",
        ),
        ({"kind": "speed", "factors": ()}, "factors"),
        ({"kind": "speed", "factors": (0.0,)}, "factors"),
        ({"kind": "noise", "folder": "x", "probability": 1.5}, "probability"),
        ({"kind": "echo"}, "'speed', 'pitch', 'silence', 'gain', 'noise', 'colored_noise', 'reverb'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(AugmentationConfig).validate_python(settings)


def test_real_noise_and_rooms(shared_data: Path) -> None:
    for settings in ({"kind": "noise", "folder": "noise"}, {"kind": "reverb", "folder": "rir"}):
        settings = {**settings, "folder": str(shared_data / settings["folder"]), "probability": 1.0}
        changed = TypeAdapter(AugmentationConfig).validate_python(settings).build(FEATURES)
        state, samples = generator(), random_samples(32000)
        for _ in range(10):
            result = changed(samples, state)
            assert result.shape == samples.shape
            assert result.isfinite().all()
