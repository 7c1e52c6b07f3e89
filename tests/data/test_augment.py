"""Augmentations: the family's contract for every kind, and what each of them promises."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from asr.audio.reading import AudioError, write_audio
from asr.data.augment import (
    AugmentationConfig,
    ClippingConfig,
    CodecConfig,
    ColoredNoiseConfig,
    EqualizerConfig,
    GainConfig,
    LowPassConfig,
    NoiseConfig,
    PitchConfig,
    ReverbConfig,
    RoomConfig,
    SilenceConfig,
    SpecAugmentConfig,
    SpeedConfig,
    TelephoneConfig,
    VocalTractConfig,
    recorded,
)
from asr.data.features import FeatureConfig, mel_centers
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest

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
    write_manifest(
        folder / "all.jsonl",
        [
            Utterance("short", str(folder / "short.wav"), 0.0625),
            Utterance("long", str(folder / "below/long.flac"), 1.25),
        ],
    )
    needed = {"noise": {"folder": str(folder)}, "reverb": {"folder": str(folder)}}
    needed["babble"] = {"manifest": str(folder / "all.jsonl")}
    return TypeAdapter(AugmentationConfig).validate_python({"kind": request.param, **needed.get(request.param, {})})


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


@pytest.mark.parametrize(("decay_ms", "direct_db"), [(200.0, 10.0), (600.0, -3.0)])
def test_a_room_rings_as_long_and_is_as_far_as_it_should(decay_ms: float, direct_db: float) -> None:
    ranges = {"low_decay_ms": decay_ms, "high_decay_ms": decay_ms, "low_direct_db": direct_db}
    room = RoomConfig(probability=1.0, high_direct_db=direct_db, **ranges).build(FEATURES)
    response = room.response(generator())
    direct, walls = response[0], response[1:]
    assert 10 * math.log10(direct.square() / walls.square().sum()) == pytest.approx(direct_db, abs=0.01)
    # Schroeder's backward integral falls by 20 dB in a third of the time
    left_db = 10 * torch.log10(walls.square().flip(0).cumsum(0).flip(0) / walls.square().sum())
    assert int((left_db > -20).sum()) / 16 == pytest.approx(decay_ms / 3, rel=0.15, abs=12)
    click = torch.zeros(16000)
    click[4000] = 0.5
    inside = room(click, generator())
    assert inside.abs().argmax() == 4000
    assert not inside[:3999].abs().max() > 1e-4
    assert inside.square().sum() == pytest.approx(0.25, rel=1e-3)


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


def tone(hertz: float, num_samples: int = 16000) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(num_samples) / 16000)


def level_db(samples: torch.Tensor, hertz: float) -> float:
    """How strong a frequency is, decibels."""
    spectrum = torch.fft.rfft(samples.double() * torch.hann_window(samples.shape[0], dtype=torch.float64)).abs()
    place = round(hertz * samples.shape[0] / 16000)
    return 20 * math.log10(float(spectrum[max(0, place - 2) : place + 3].max()) + 1e-9)


@pytest.mark.parametrize("semitones", [-3.0, 4.0])
def test_pitch_moves_the_pitch_and_nothing_in_time(semitones: float) -> None:
    config = PitchConfig(low_semitones=semitones, high_semitones=semitones, probability=1.0)
    shifted = config.build(FEATURES)(tone(500.0), generator())
    assert shifted.shape[0] == 16000
    spectrum = torch.fft.rfft(shifted * torch.hann_window(16000)).abs()
    assert spectrum.argmax() == pytest.approx(500 * 2 ** (semitones / 12), abs=4)
    click = torch.zeros(16000)
    click[8000:8020] = 1.0
    assert config.build(FEATURES)(click, generator()).abs().argmax() == pytest.approx(8010, abs=160)
    short = random_samples(1500)
    assert torch.equal(config.build(FEATURES)(short, generator()), short)


def test_pitch_names_the_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    with pytest.raises(ValueError, match=r"pitch: the package python-stretch is not installed; pip install 'earshot"):
        PitchConfig().build(FEATURES)


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_vocal_tract_moves_a_formant_by_the_factor(factor: float) -> None:
    """A ridge at one frequency comes out at `factor` times it; what lies at half the rate stays."""
    centers = mel_centers(FEATURES)
    ridge = torch.exp(-(((centers - 2000.0) / 150.0) ** 2)).float().expand(7, 80)
    warp = VocalTractConfig(low_factor=factor, high_factor=factor, probability=1.0).build(FEATURES)
    moved = warp(ridge, generator())
    assert float(centers[moved[0].argmax()]) == pytest.approx(2000 * factor, rel=0.03)
    assert torch.equal(moved, moved[:1].expand(7, 80))
    assert warp(torch.linspace(0, 1, 80).expand(2, 80), generator())[0, -1] == pytest.approx(1.0, abs=0.03)


def test_vocal_tract_of_factor_one_changes_nothing() -> None:
    features = random_samples(20 * 80).view(20, 80)
    warp = VocalTractConfig(low_factor=1.0, high_factor=1.0, probability=1.0).build(FEATURES)
    torch.testing.assert_close(warp(features, generator()), features)


def test_silence_keeps_the_utterance_whole_and_reaches_its_longest() -> None:
    silence = SilenceConfig(max_before_ms=1.0, max_after_ms=0.5, probability=1.0).build(FEATURES)
    samples, state = torch.ones(50), generator()
    befores, afters = set(), set()
    for _ in range(400):
        result = silence(samples, state)
        start = int(result.argmax())
        assert torch.equal(result[start : start + 50], samples)
        assert result.sum() == 50
        befores.add(start)
        afters.add(result.shape[0] - start - 50)
    assert befores == set(range(17))
    assert afters == set(range(9))


def test_clipping_cuts_at_the_share_of_the_peak() -> None:
    samples = tone(300.0)
    clipped = ClippingConfig(low_level=0.4, high_level=0.4, probability=1.0).build(FEATURES)(samples, generator())
    torch.testing.assert_close(clipped, samples.clamp(-0.2, 0.2), atol=1e-4, rtol=0)


def test_low_pass_leaves_what_is_below_and_cuts_what_is_above() -> None:
    samples = tone(2500.0) + tone(3500.0)
    low = LowPassConfig(low_hz=3000.0, high_hz=3000.0, probability=1.0).build(FEATURES)(samples, generator())
    assert level_db(low, 2500) == pytest.approx(level_db(samples, 2500), abs=0.1)
    assert level_db(low, 3500) < level_db(samples, 3500) - 60
    wide = LowPassConfig(low_hz=9000.0, high_hz=9000.0, probability=1.0).build(FEATURES)(samples, generator())
    torch.testing.assert_close(wide, samples, atol=1e-5, rtol=0)


def test_equalizer_tilts_by_its_decibels_and_stays_as_loud() -> None:
    config = EqualizerConfig(max_db=0.0, max_tilt_db=12.0, probability=1.0).build(FEATURES)
    samples, state = random_samples(16000), generator()
    differences = []
    for _ in range(60):
        result = config(samples, state)
        assert result.square().mean() == pytest.approx(float(samples.square().mean()), rel=1e-4)
        gain = torch.fft.rfft(result).abs() / torch.fft.rfft(samples).abs()
        differences.append(20 * math.log10(float(gain[7900:].median() / gain[60:70].median())))
    assert -12.5 < min(differences) < -10
    assert 10 < max(differences) < 12.5


def test_equalizer_draws_each_point() -> None:
    config = EqualizerConfig(max_db=6.0, max_tilt_db=0.0, num_points=2, probability=1.0).build(FEATURES)
    samples = random_samples(16000)
    gains = [torch.fft.rfft(config(samples, generator(seed))).abs() / torch.fft.rfft(samples).abs() for seed in (1, 2)]
    slopes_db = [20 * math.log10(float(gain[7000:].median() / gain[60:120].median())) for gain in gains]
    assert abs(slopes_db[0] - slopes_db[1]) > 0.5
    assert max(map(abs, slopes_db)) < 12


@pytest.mark.parametrize("codec", ["mu_law", "gsm"])
def test_telephone_keeps_its_band_length_level_and_place(codec: str) -> None:
    samples = tone(1000.0, 20001) + tone(5000.0, 20001) + tone(120.0, 20001)
    call = TelephoneConfig(codecs=(codec,), probability=1.0).build(FEATURES)(samples, generator())
    assert call.shape == samples.shape
    assert call.square().mean() == pytest.approx(float(samples.square().mean()), rel=1e-4)
    assert level_db(call, 5000) < level_db(call, 1000) - 40
    assert level_db(call, 120) < level_db(call, 1000) - 20
    burst = torch.zeros(16000)
    burst[8000:8800] = tone(1000.0, 800)
    energy = TelephoneConfig(codecs=(codec,), probability=1.0).build(FEATURES)(burst, generator()).square()
    center = float((energy * torch.arange(16000)).sum() / energy.sum())
    assert center == pytest.approx(8400, abs=160)


@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus"])
def test_codec_keeps_the_utterance_recognisable(name: str) -> None:
    samples = 3 * tone(700.0)  # louder than full scale: it is not clipped
    decoded = CodecConfig(formats=(name,), probability=1.0).build(FEATURES)(samples, generator())
    assert decoded.shape == samples.shape
    assert not torch.equal(decoded, samples)
    assert level_db(decoded, 700) == pytest.approx(level_db(samples, 700), abs=1.0)
    lag = torch.fft.irfft(torch.fft.rfft(decoded, 32768) * torch.fft.rfft(samples, 32768).conj()).argmax()
    assert min(int(lag), 32768 - int(lag)) < 160


def test_a_codec_that_does_not_know_the_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"codec: formats: opus at 22050 Hz; expected one of \(8000, .* or vorbis"):
        CodecConfig(formats=("vorbis", "opus")).build(FeatureConfig(sample_rate=22050))
    CodecConfig(formats=("vorbis",)).build(FeatureConfig(sample_rate=22050))


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_colored_noise_has_its_ratio_and_slope(exponent: float) -> None:
    config = ColoredNoiseConfig(
        low_snr_db=10.0, high_snr_db=10.0, low_exponent=exponent, high_exponent=exponent, probability=1.0
    )
    samples = random_samples(48000)
    added = (config.build(FEATURES)(samples, generator()) - samples).double()
    ratio_db = 10 * torch.log10(samples.double().square().sum() / added.square().sum())
    assert ratio_db == pytest.approx(10.0, abs=0.01)
    power = torch.fft.rfft(added).abs().square()
    octaves = [float(power[3 * low : 6 * low].mean()) for low in (500, 4000)]
    assert 10 * math.log10(octaves[0] / octaves[1]) == pytest.approx(exponent * 10 * math.log10(8), abs=0.7)


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
        ({"kind": "pitch", "low_semitones": 2.0, "high_semitones": 1.0}, "low_semitones: 2; expected at most high_sem"),
        ({"kind": "vocal_tract", "low_factor": 1.5}, "low_factor: 1.5; expected at most high_factor, 1.12"),
        ({"kind": "clipping", "low_level": 0.9}, "low_level: 0.9; expected at most high_level, 0.7"),
        ({"kind": "low_pass", "low_hz": 9000.0}, "low_hz: 9000; expected at most high_hz, 8000"),
        ({"kind": "codec", "high_compression": 0.1}, "low_compression: 0.3; expected at most high_compression, 0.1"),
        ({"kind": "colored_noise", "low_snr_db": 50.0}, "low_snr_db: 50; expected at most high_snr_db, 40"),
        ({"kind": "colored_noise", "low_exponent": 3.0}, "low_exponent: 3; expected at most high_exponent, 2"),
        ({"kind": "tilt", "low_db": 5.0}, "low_db: 5; expected at most high_db, 3"),
        ({"kind": "tilt", "low_hz": 5000.0}, "low_hz: 5000; expected at most high_hz, 2000"),
        ({"kind": "babble", "manifest": "x", "low_talkers": 9}, "low_talkers: 9; expected at most high_talkers, 8"),
        ({"kind": "babble", "manifest": "x", "low_snr_db": 30.0}, "low_snr_db: 30; expected at most high_snr_db, 20"),
        ({"kind": "babble", "manifest": ()}, "manifest: nothing; expected a manifest, or a list of one or more"),
        ({"kind": "household_noise", "high_snr_db": -20.0}, "low_snr_db: -10; expected at most high_snr_db, -20"),
        ({"kind": "household_noise", "sounds": ("thunder",)}, "sounds"),
        ({"kind": "speed", "factors": ()}, "factors"),
        ({"kind": "speed", "factors": (0.0,)}, "factors"),
        ({"kind": "noise", "folder": "x", "probability": 1.5}, "probability"),
        ({"kind": "echo"}, "'speed', 'pitch', 'silence', 'gain', 'noise', 'babble', 'household_noise', 'co"),
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
