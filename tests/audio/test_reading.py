"""asr/audio/reading.py: any recording as one channel at the wanted rate, and every way a file can be wrong."""

import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.reading import AudioError, find_recordings, read_audio, read_info, resample, write_audio


def sine(hertz: float, *, seconds: float = 1.0, sample_rate: int = 16_000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)).astype(np.float32)


@pytest.fixture
def stereo(tmp_path):
    """Two seconds at 8 kHz: 200 Hz left, 700 Hz right."""
    path = tmp_path / "stereo.wav"
    both = np.stack([sine(hertz, seconds=2.0, sample_rate=8000) for hertz in (200, 700)], axis=1)
    soundfile.write(path, both, 8000, subtype="FLOAT")
    return path, both


def test_info_is_the_headers(stereo):
    info = read_info(stereo[0])
    assert (info.path, info.sample_rate, info.num_channels, info.num_samples) == (stereo[0], 8000, 2, 16_000)
    assert info.duration == 2.0
    assert info.container == "WAV"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".w64", ".caf", ".au"])
def test_every_container_gives_the_same_second(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_audio(path, sine(440), sample_rate=16_000)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    samples = read_audio(path, sample_rate=16_000)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(16_000, abs=2400 if suffix == ".mp3" else 0)  # MP3 pads to whole frames
    spectrum = np.abs(np.fft.rfft(samples[:16_000]))
    assert spectrum.argmax() == pytest.approx(440 * len(samples[:16_000]) / 16_000, abs=1)
    assert np.sqrt(np.mean(samples[2000:14_000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_channels_are_mixed_or_chosen(stereo):
    path, both = stereo
    np.testing.assert_array_equal(read_audio(path, sample_rate=None, channel=1), both[:, 1])
    np.testing.assert_allclose(read_audio(path, sample_rate=None), both.mean(axis=1), atol=1e-7)
    with pytest.raises(AudioError, match=r"stereo\.wav: no channel 2; expected 0 to 1"):
        read_audio(path, sample_rate=16_000, channel=2)


@given(start=st.integers(0, 15_999), length=st.integers(1, 16_000))
def test_a_stretch_is_the_slice_of_the_whole(tmp_path_factory, start, length):
    path = tmp_path_factory.getbasetemp() / "slices.wav"
    if not path.exists():
        write_audio(path, sine(300), sample_rate=16_000)
    whole = read_audio(path, sample_rate=None)
    length = min(length, 16_000 - start)
    stretch = read_audio(path, sample_rate=None, offset=start / 16_000, duration=length / 16_000)
    np.testing.assert_array_equal(stretch, whole[start : start + length])


def test_a_stretch_may_overrun_by_a_rounded_duration_and_no_more(stereo):
    path, _ = stereo
    assert len(read_audio(path, sample_rate=16_000, offset=1.5, duration=0.55)) == 8000
    with pytest.raises(AudioError, match=r"a duration of 0\.7 s from 1\.5 s; expected above 0 and no further than"):
        read_audio(path, sample_rate=16_000, offset=1.5, duration=0.7)
    with pytest.raises(AudioError, match=r"a duration of -1\.0 s"):
        read_audio(path, sample_rate=16_000, duration=-1.0)
    with pytest.raises(AudioError, match=r"an offset of 2\.0 s; expected 0 or more, before its end at 2\.000 s"):
        read_audio(path, sample_rate=16_000, offset=2.0)
    with pytest.raises(AudioError, match=r"an offset of nan s"):
        read_audio(path, sample_rate=16_000, offset=float("nan"))


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 16_000), (44_100, 16_000), (16_000, 16_000)])
def test_resampling_keeps_pitch_and_time(from_rate, to_rate):
    resampled = resample(sine(440, sample_rate=from_rate), from_rate=from_rate, to_rate=to_rate)
    assert resampled.dtype == np.float32
    assert len(resampled) == to_rate
    np.testing.assert_allclose(resampled[1000:-1000], sine(440, sample_rate=to_rate)[1000:-1000], atol=2e-3)


def test_resampling_refuses_an_impossible_rate():
    with pytest.raises(AudioError, match=r"resample: a sample rate of 3 Hz; expected 1,000 to 768,000 Hz"):
        resample(sine(440), from_rate=16_000, to_rate=3)


def test_long_recordings_are_read_in_blocks(tmp_path, monkeypatch):
    path = tmp_path / "long.flac"
    write_audio(path, sine(50, seconds=1.3), sample_rate=16_000)
    whole = read_audio(path, sample_rate=16_000)
    monkeypatch.setattr("asr.audio.opening.BLOCK_VALUES", 1000)
    np.testing.assert_array_equal(read_audio(path, sample_rate=16_000), whole)


def test_what_is_not_a_recording_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"absent\.wav: no such file; expected a recording"):
        read_audio(tmp_path / "absent.wav", sample_rate=16_000)
    with pytest.raises(AudioError, match="not a file; expected a recording"):
        read_info(tmp_path)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match=r"empty\.wav: an empty file"):
        read_audio(tmp_path / "empty.wav", sample_rate=16_000)
    (tmp_path / "talk.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"talk\.m4a: truncated: no box 'moov', its index; expected one"):
        read_audio(tmp_path / "talk.m4a", sample_rate=16_000)


def test_no_samples_impossible_rates_and_nan_are_named(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match=r"none\.wav: no samples"):
        read_info(tmp_path / "none.wav")
    soundfile.write(tmp_path / "slow.wav", np.zeros(10), 3)
    with pytest.raises(AudioError, match=r"slow\.wav: a sample rate of 3 Hz; expected 1,000 to 768,000 Hz"):
        read_audio(tmp_path / "slow.wav", sample_rate=16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav: samples that are NaN or infinite"):
        read_audio(tmp_path / "nan.wav", sample_rate=16_000)


def test_a_truncated_wav_is_an_error(tmp_path):
    path = tmp_path / "cut.wav"
    write_audio(path, sine(440), sample_rate=16_000)
    data = path.read_bytes()
    # A chunk of odd size before `data` is padded to an even one.
    odd = data[:36] + b"note" + struct.pack("<I", 3) + b"abc\0" + data[36:]
    path.write_bytes(odd)
    assert len(read_audio(path, sample_rate=16_000)) == 16_000
    path.write_bytes(data[:-2000])
    with pytest.raises(AudioError, match=r"cut\.wav: truncated: 30,000 bytes of samples; expected 32,000"):
        read_audio(path, sample_rate=16_000)
    with pytest.raises(AudioError, match=r"cut\.wav: truncated"):
        read_info(path)
    # Written to a pipe, the size was not known: 0xFFFFFFFF.
    path.write_bytes(data[:40] + b"\xff" * 4 + data[44:])
    assert len(read_audio(path, sample_rate=16_000)) == 16_000


def test_a_truncated_flac_is_an_error(tmp_path):
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    write_audio(path, noise, sample_rate=16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12_000])
    with pytest.raises(AudioError, match=r"cut\.flac: damaged \(.*\); fetch or write it again"):
        read_audio(path, sample_rate=16_000)


def test_a_flac_that_ends_before_its_header_says_is_an_error(tmp_path):
    path = tmp_path / "short.flac"
    soundfile.write(path, np.zeros(16_000, np.float32), 16_000)
    content = bytearray(path.read_bytes())
    content[22:26] = (64_000).to_bytes(4, "big")  # samples in all
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"short\.flac: truncated: 16,000 samples from sample 0; expected 64,000 by"):
        read_audio(path, sample_rate=16_000)


def test_a_truncated_mp3_is_an_error(tmp_path):
    path = tmp_path / "cut.mp3"
    write_audio(path, sine(440), sample_rate=16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"cut\.mp3: truncated: \d+ bytes of its last frame; expected \d+"):
        read_audio(path, sample_rate=16_000)


def test_a_decoder_that_gives_up_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write_audio(path, sine(440), sample_rate=16_000)

    def fail(*_args, **_options):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(AudioError, match=r"a\.wav: damaged \(.*\); fetch or write it again"):
        read_audio(path, sample_rate=16_000)


def test_writing_refuses_what_no_file_can_hold(tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav: samples to write that are NaN or infinite"):
        write_audio(tmp_path / "a.wav", np.array([np.inf], dtype=np.float32), sample_rate=16_000)
    with pytest.raises(AudioError, match=r"a\.doc: a suffix libsndfile cannot write"):
        write_audio(tmp_path / "a.doc", sine(440), sample_rate=16_000)
    with pytest.raises(AudioError, match=r"a\.opus: cannot be written: .*sample rate"):
        write_audio(tmp_path / "a.opus", sine(440), sample_rate=11_025)
    assert list(tmp_path.iterdir()) == []


def test_recordings_are_found_below_a_folder(tmp_path):
    for name in ("b.WAV", "a/c.flac", "a/b/d.opus", "._b.wav", ".hidden/e.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = find_recordings(tmp_path)
    assert [os.fspath(path.relative_to(tmp_path)) for path in found] == ["a/b/d.opus", "a/c.flac", "b.WAV"]
    with pytest.raises(AudioError, match="absent: not a folder; expected one with recordings"):
        find_recordings(tmp_path / "absent")


def test_real_recordings(shared_data):
    digit = shared_data / "fsdd" / "recordings" / "0_george_0.flac"
    assert read_info(digit).sample_rate == 8000
    assert len(read_audio(digit, sample_rate=16_000)) == 2 * read_info(digit).num_samples
    opus = next((shared_data / "speechocean762" / "WAVE").rglob("*.opus"))
    assert len(read_audio(opus, sample_rate=16_000)) == read_info(opus).num_samples > 16_000
