"""Voice activity: what is loud beside the noise, however the recording comes in blocks; the network where installed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.reading import read_audio
from asr.audio.voice_activity import (
    Detector,
    EnergyConfig,
    RunningEnergyConfig,
    SileroConfig,
    VoiceActivityError,
)

RATE = 16_000


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (level * generator.standard_normal(round(seconds * RATE))).astype(np.float32)


def tone(seconds: float, level: float, hertz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def told(detector: Detector, samples: np.ndarray, cuts: tuple[int, ...] = ()) -> np.ndarray:
    blocks = np.split(samples, sorted(cuts))
    return np.concatenate([*(detector.push(block) for block in blocks), detector.finish()])


def stretches(is_speech: np.ndarray, hop: float) -> list[tuple[float, float]]:
    """Start and end in seconds of what is speech."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_speech.astype(int), [0]))))
    return [(start * hop / RATE, end * hop / RATE) for start, end in zip(edges[::2].tolist(), edges[1::2].tolist())]


@pytest.mark.parametrize("level", [0.0, 0.0003, 0.01])
@pytest.mark.parametrize("gain", [1.0, 0.02])
def test_energy_finds_speech_in_any_noise_at_any_gain(level: float, gain: float) -> None:
    parts = [noise(3, level), tone(1.5, 0.3), noise(2, level, 1), tone(0.4, 0.1), noise(3, level, 2)]
    detector = EnergyConfig().build(RATE)
    found = stretches(told(detector, gain * np.concatenate(parts)), detector.hop)
    assert len(found) == 2
    for (start, end), (expected_start, expected_end) in zip(found, [(3.0, 4.5), (6.5, 6.9)], strict=True):
        assert start == pytest.approx(expected_start, abs=0.05)
        assert end == pytest.approx(expected_end, abs=0.05)


def test_energy_follows_a_noise_that_grows() -> None:
    quiet, loud = noise(40, 0.0005), noise(60, 0.02, 1)
    speech = tone(1.0, 0.3)
    quiet[20 * RATE : 21 * RATE] += 0.03 * speech
    loud[40 * RATE : 41 * RATE] += speech
    detector = EnergyConfig().build(RATE)
    is_speech = told(detector, np.concatenate((quiet, loud)))
    seconds = np.arange(len(is_speech)) * detector.hop / RATE
    for start in (20, 80):
        assert is_speech[(seconds > start + 0.05) & (seconds < start + 0.95)].all()
    settled = (seconds < 19) | ((seconds > 22) & (seconds < 38)) | ((seconds > 60) & (seconds < 79)) | (seconds > 82)
    assert is_speech[settled].mean() < 0.01


def test_energy_hears_neither_hum_nor_silence() -> None:
    for samples in (tone(20, 0.5, 50.0) + noise(20, 0.001), np.zeros(20 * RATE, np.float32), noise(20, 0.1)):
        assert told(EnergyConfig().build(RATE), samples).mean() < 0.02


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 20 * RATE), max_size=6), st.sampled_from([8000, 11_025, 16_000]))
def test_blocks_change_nothing(cuts: list[int], rate: int) -> None:
    samples = noise(20, 0.001) + np.repeat(np.array([0, 1, 0, 1, 0], np.float32), 4 * RATE) * tone(20, 0.2)
    whole = told(EnergyConfig(around=3.0).build(rate), samples)
    assert np.array_equal(told(EnergyConfig(around=3.0).build(rate), samples, tuple(cuts)), whole)
    assert len(whole) == -(-len(samples) // round(0.02 * rate))


needs_silero = pytest.mark.skipif(
    not (importlib.util.find_spec("silero_vad") and importlib.util.find_spec("onnxruntime")),
    reason="needs the extra vad",
)


@needs_silero
def test_silero_tells_speech_from_noise(shared_data: Path) -> None:
    """Its probabilities for each block are those of the package's own sequence model on the whole."""
    speech = read_audio(sorted((shared_data / "barista" / "dev").glob("*.flac"))[0], sample_rate=16_000)
    clatter = read_audio(
        shared_data / "noise" / "speech_commands_background" / "doing_the_dishes.flac", sample_rate=16_000, duration=4.0
    )
    silence = noise(2.0, 0.0005)
    samples = np.concatenate((silence, clatter, silence, speech, silence))
    detector = SileroConfig().build(RATE)
    is_speech = told(detector, samples, (1000, 20_000, 20_001, 90_000))
    start, end = 8.0, 8.0 + len(speech) / RATE
    seconds = np.arange(len(is_speech)) * detector.hop / RATE
    inside = (seconds > start) & (seconds < end)
    assert is_speech[inside].mean() > 0.3
    assert is_speech[~inside].mean() < 0.1
    assert np.array_equal(is_speech, told(SileroConfig().build(RATE), samples))
    sequence = pytest.importorskip("silero_vad.sequence_vad")
    model = Path(sequence.__file__).parent / "data" / "silero_vad_16k_sequence.onnx"
    assert np.array_equal(is_speech, sequence.SileroVADSequence(str(model)).audio_forward(samples) >= 0.5)


@needs_silero
def test_silero_hears_other_rates() -> None:
    detector = SileroConfig().build(8000)
    assert detector.hop == 256.0
    assert len(told(detector, np.zeros(8000, np.float32), (3000,))) in (31, 32)


def test_without_the_extra_silero_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(VoiceActivityError, match=r"pip install 'earshot\[vad\]', or kind: energy"):
        SileroConfig().build(RATE)


@pytest.mark.parametrize("level", [0.0, 0.0003, 0.01])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_running_energy_tells_each_frame_at_once(level: float, gain: float) -> None:
    parts = [noise(3, level), tone(1.5, 0.3), noise(2, level, 1), tone(0.4, 0.1), noise(3, level, 2)]
    samples = gain * np.concatenate(parts)
    detector = RunningEnergyConfig().build(RATE)
    found = stretches(told(detector, samples), detector.hop)
    assert len(found) == 2
    for (start, end), (expected_start, expected_end) in zip(found, [(3.0, 4.5), (6.5, 6.9)], strict=True):
        assert start == pytest.approx(expected_start, abs=0.05)
        assert end == pytest.approx(expected_end, abs=0.05)
    again = RunningEnergyConfig().build(RATE)
    for number in range(0, len(samples), 320):
        again.push(samples[number : number + 320])
        assert again._num_told == max(0, number // 320)  # its window of two hops is there, and nothing more is needed


def test_running_energy_follows_a_noise_that_begins() -> None:
    samples = np.concatenate((noise(5, 0.0005), noise(20, 0.02, 1), 0.3 * tone(1, 1.0), noise(2, 0.02, 2)))
    detector = RunningEnergyConfig().build(RATE)
    is_speech = told(detector, samples)
    seconds = np.arange(len(is_speech)) * detector.hop / RATE
    assert is_speech[(seconds > 5.1) & (seconds < 6)].all()  # who knows?
    assert is_speech[(seconds > 9.1) & (seconds < 25)].mean() < 0.01
    assert is_speech[(seconds > 25.05) & (seconds < 25.95)].all()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 20 * RATE), max_size=6), st.sampled_from([8000, 11_025, 16_000]))
def test_blocks_change_nothing_of_running_energy(cuts: list[int], rate: int) -> None:
    samples = noise(20, 0.001) + np.repeat(np.array([0, 1, 0, 1, 0], np.float32), 4 * RATE) * tone(20, 0.2)
    whole = told(RunningEnergyConfig().build(rate), samples)
    assert np.array_equal(told(RunningEnergyConfig().build(rate), samples, tuple(cuts)), whole)
    assert len(whole) == -(-len(samples) // round(0.02 * rate))
