"""Noises made of other utterances or made up on the spot, and the tilt: what they promise beside the contract."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio.reading import write_audio
from asr.data.augment import BabbleConfig, HouseholdNoiseConfig, TiltConfig
from asr.data.augment.sounds import SOUNDS
from asr.data.features import FeatureConfig
from asr.data.manifest import ManifestError, Utterance
from asr.data.manifest_writing import write_manifest

FEATURES = FeatureConfig()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_samples(num_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(num_samples, generator=generator())


def ratio_db(samples: torch.Tensor, changed: torch.Tensor) -> float:
    added = changed.double() - samples.double()
    return float(10 * torch.log10(samples.double().square().sum() / added.square().sum()))


@pytest.fixture
def tones(tmp_path: Path) -> list[Path]:
    """Two manifests of utterances that can be told apart by their pitch: 500, 1000, 1500 and 2000 Hz."""
    manifests = []
    for name, pitches in (("a", (500, 1000, 1500)), ("b", (2000,))):
        utterances = []
        for pitch in pitches:
            time = np.arange(8000 + 8 * pitch) / 16000
            path = tmp_path / f"{pitch}.wav"
            write_audio(
                path, (0.001 * pitch * np.sin(2 * np.pi * pitch * time) / 3).astype(np.float32), sample_rate=16000
            )
            utterances.append(Utterance(str(pitch), str(path), len(time) / 16000))
        manifests.append(tmp_path / f"{name}.jsonl")
        write_manifest(manifests[-1], utterances)
    return manifests


def levels_db(added: torch.Tensor) -> dict[int, float]:
    """How strong each of the four pitches is, in decibels."""
    spectrum = torch.fft.rfft(added.double() * torch.hann_window(added.shape[0], dtype=torch.float64)).abs()
    place = {pitch: round(pitch * added.shape[0] / 16000) for pitch in (500, 1000, 1500, 2000)}
    return {pitch: 20 * math.log10(float(spectrum[at - 3 : at + 4].max())) for pitch, at in place.items()}


@pytest.mark.parametrize("num_samples", [4000, 16000, 60000])
def test_babble_has_the_ratio_it_should(tones: list[Path], num_samples: int) -> None:
    """Whether the utterances are cut or come again: energy of speech over energy of all that was added."""
    config = BabbleConfig(manifest=str(tones[0]), low_snr_db=-10.0, high_snr_db=-10.0, probability=1.0)
    babble, samples = config.build(FEATURES), random_samples(num_samples)
    for seed in range(5):
        assert ratio_db(samples, babble(samples, generator(seed))) == pytest.approx(-10.0, abs=0.01)


def test_babble_of_one_reaches_every_utterance_of_every_manifest(tones: list[Path]) -> None:
    config = BabbleConfig(manifest=tuple(map(str, tones)), low_talkers=1, high_talkers=1, probability=1.0)
    babble, samples = config.build(FEATURES), random_samples(8000)
    loudest = []
    for seed in range(200):
        levels = levels_db(babble(samples, generator(seed)) - samples)
        loudest.append(max(levels, key=levels.__getitem__))
    assert {pitch: loudest.count(pitch) for pitch in set(loudest)} == {
        pitch: pytest.approx(50, abs=20) for pitch in (500, 1000, 1500, 2000)
    }


def test_babblers_are_about_as_loud_as_each_other(tones: list[Path]) -> None:
    """The recordings' own levels, 12 dB from the softest to the loudest, do not count."""
    config = BabbleConfig(manifest=tuple(map(str, tones)), low_talkers=2, high_talkers=2, probability=1.0)
    babble, samples, apart = config.build(FEATURES), random_samples(8000), []
    for seed in range(100):
        levels = sorted(levels_db(babble(samples, generator(seed)) - samples).values())
        if levels[-3] + 20 < levels[-2] > levels[-1] - 20:  # two different ones were drawn
            apart.append(levels[-1] - levels[-2])
    assert len(apart) > 40
    assert max(apart) < 6.5
    assert max(apart) > 4


def test_babble_takes_a_place_of_a_long_utterance_and_goes_round_a_short_one(tmp_path: Path) -> None:
    ramp = np.arange(1, 16001, dtype=np.float32) / 16384
    write_audio(tmp_path / "ramp.wav", ramp, sample_rate=16000)
    write_manifest(tmp_path / "part.jsonl", [Utterance("part", str(tmp_path / "ramp.wav"), 0.5, offset=0.25)])
    babble = BabbleConfig(
        manifest=str(tmp_path / "part.jsonl"), low_talkers=1, high_talkers=1, high_snr_db=0.0, probability=1.0
    ).build(FEATURES)
    short = random_samples(1600)
    shares = []
    for seed in range(50):
        added = babble(short, generator(seed)) - short
        shares.append(float(added[0] / added.diff().median()))  # a ramp's value in its own steps is its place
    assert 3900 < min(shares) < 5500
    assert 9000 < max(shares) < 12100
    long = random_samples(40000)
    steps = (babble(long, generator()) - long).diff()
    assert int((steps < -100 * steps.median()).sum()) == 5  # it begins again every 8000 samples


def test_silent_babble_leaves_the_utterance(tmp_path: Path) -> None:
    write_audio(tmp_path / "silence.wav", np.zeros(2000, np.float32), sample_rate=16000)
    write_manifest(tmp_path / "all.jsonl", [Utterance("silence", str(tmp_path / "silence.wav"), 0.125)])
    samples = random_samples(1000)
    babble = BabbleConfig(manifest=str(tmp_path / "all.jsonl"), probability=1.0).build(FEATURES)
    assert torch.equal(babble(samples, generator()), samples)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = BabbleConfig(manifest=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(
        ManifestError, match=r"augment: babble: manifest: .*nowhere\.jsonl: no such file; expected a man"
    ):
        config.build(FEATURES)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("sample_rate", [1000, 8000, 16000, 48000])
def test_every_sound_is_heard_at_every_rate_and_length(name: str, sample_rate: int) -> None:
    """Finite samples in float32, not all of them zero; of a second or more, another each time."""
    for num_samples in (1, 7, 1000, 2 * sample_rate):
        for seed in range(12):
            sound = SOUNDS[name](num_samples, sample_rate, np.random.default_rng(seed))
            assert sound.dtype == np.float32
            assert sound.shape == (num_samples,)
            assert np.isfinite(sound).all()
            again = SOUNDS[name](num_samples, sample_rate, np.random.default_rng(seed))
            assert np.array_equal(sound, again)
            if num_samples >= sample_rate:
                assert sound.any()
                assert not np.array_equal(sound, SOUNDS[name](num_samples, sample_rate, np.random.default_rng(99)))


def spectrum_flatness(sound: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power: near 1 for white noise, near 0 for lines."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2 + 1e-20
    return float(np.exp(np.log(power).mean()) / power.mean())


def loudness_range(sound: np.ndarray) -> float:
    """Loudest over median tenth of a second, decibels."""
    levels = np.sqrt((sound[: len(sound) // 1600 * 1600].reshape(-1, 1600) ** 2).mean(axis=1)) + 1e-9
    return float(20 * np.log10(levels.max() / np.median(levels)))


def test_the_sounds_are_of_different_kinds() -> None:
    """Lines stand out of hums, music and beeps; strikes and barks come and go; water and fans do neither."""
    sounds = {
        name: [make(80000, 16000, np.random.default_rng(seed)) for seed in range(15)] for name, make in SOUNDS.items()
    }
    flatness = {name: float(np.median([spectrum_flatness(each) for each in made])) for name, made in sounds.items()}
    ranges = {name: float(np.median([loudness_range(each) for each in made])) for name, made in sounds.items()}
    assert max(flatness["hum"], flatness["music"], flatness["beeps"]) < 0.01 < flatness["water"]
    assert min(ranges["clatter"], ranges["barks"]) > 20 > 12 > max(ranges["water"], ranges["fan"], ranges["hum"])


def test_household_noise_has_the_ratio_it_should() -> None:
    config = HouseholdNoiseConfig(low_snr_db=3.0, high_snr_db=3.0, probability=1.0)
    noise, samples = config.build(FEATURES), random_samples(32000)
    for seed in range(30):
        assert ratio_db(samples, noise(samples, generator(seed))) == pytest.approx(3.0, abs=0.01)


def test_household_noise_draws_from_its_list_and_mixes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def recording(name: str, make: object) -> object:
        def one(*arguments: object) -> np.ndarray:
            made.append(name)
            return make(*arguments)

        return one

    for name, make in list(SOUNDS.items()):
        monkeypatch.setitem(SOUNDS, name, recording(name, make))
    noise = HouseholdNoiseConfig(sounds=("hum", "fan", "fan"), most_at_once=2, probability=1.0).build(FEATURES)
    counts = []
    for seed in range(150):
        made_before = len(made)
        noise(random_samples(800), generator(seed))
        counts.append(len(made) - made_before)
    assert set(made) == {"hum", "fan"}
    assert made.count("fan") / len(made) == pytest.approx(2 / 3, abs=0.1)
    assert counts.count(1) == pytest.approx(75, abs=25)
    assert set(counts) == {1, 2}


@pytest.mark.parametrize("slope_db", [-9.0, 3.0])
def test_tilt_changes_so_much_an_octave_from_its_frequency_on(slope_db: float) -> None:
    config = TiltConfig(low_db=slope_db, high_db=slope_db, low_hz=1000.0, high_hz=1000.0, probability=1.0)
    samples = random_samples(32000)
    tilted = config.build(FEATURES)(samples, generator())
    assert tilted.square().mean() == pytest.approx(float(samples.square().mean()), rel=1e-4)
    gain_db = 20 * torch.log10(torch.fft.rfft(tilted).abs() / torch.fft.rfft(samples).abs())
    # a bin is half a hertz: 200 to 900 Hz is level, then each octave adds the slope
    at = {hertz: float(gain_db[2 * hertz - 40 : 2 * hertz + 40].median()) for hertz in (200, 900, 2000, 4000, 7000)}
    assert at[900] == pytest.approx(at[200], abs=0.2)
    assert at[2000] - at[900] == pytest.approx(slope_db, abs=0.3)
    assert at[4000] - at[2000] == pytest.approx(slope_db, abs=0.3)
    assert at[7000] - at[900] == pytest.approx(slope_db * math.log2(7), abs=0.5)


def test_tilt_draws_its_slope_and_its_frequency() -> None:
    samples = random_samples(16000)
    tilt = TiltConfig(probability=1.0).build(FEATURES)
    slopes = []
    for seed in range(60):
        gain = torch.fft.rfft(tilt(samples, generator(seed))).abs() / torch.fft.rfft(samples).abs()
        slopes.append(20 * math.log10(float(gain[7800:].median() / gain[3900:4100].median())))
    assert min(slopes) == pytest.approx(-9, abs=1)
    assert max(slopes) == pytest.approx(3, abs=1)
