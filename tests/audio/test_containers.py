"""asr/audio/containers.py: a file that was cut anywhere is an error, a whole one never is."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.containers import _mp3_frame_bytes, shortfall
from asr.audio.reading import AudioError, read_audio, read_info, stream_audio, write_audio
from tests.support.small_run import some_speech

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".caf", ".w64", ".rf64", ".sph", ".rifx")
SPEECH = some_speech(0, 3.0)


def write(path: Path, samples: np.ndarray = SPEECH) -> bytes:
    """The bytes of a recording in the container of the path's suffix."""
    if path.suffix in (".sph", ".rifx"):
        options = {"format": "NIST"} if path.suffix == ".sph" else {"format": "WAV", "endian": "BIG"}
        soundfile.write(path, samples, 16_000, **options)
    else:
        write_audio(path, samples, sample_rate=16_000)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_cut_anywhere_is_named_and_a_whole_one_is_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    whole = write(path)
    assert shortfall(path) is None
    assert len(read_audio(path, sample_rate=16_000)) >= len(SPEECH)
    for share in (0.999, 0.9, 0.5, 0.2, 0.05):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(AudioError, match=r"a\.\w+: (truncated|damaged|not readable as audio)") as caught:
            read_audio(path, sample_rate=16_000)
        assert caught.value.kind in ("truncated", "damaged", "format")


@pytest.mark.parametrize(
    ("suffix", "what"),
    [
        (".wav", r"\d+,\d+ bytes of samples; expected 96,000 by its header"),
        (".aiff", r"\d+,\d+ bytes of samples; expected 96,000 by its header"),
        (".sph", r"\d+,\d+ bytes of samples; expected 96,000 by its header"),
        (".rf64", r"\d+,\d+ bytes of samples; expected 96,000 by its header"),
        (".ogg", r"[\d,]+ bytes of its last page; expected [\d,]+"),
        (".mp3", r"\d+ bytes of its last frame; expected \d+"),
    ],
)
def test_the_error_says_what_is_missing(tmp_path: Path, suffix: str, what: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(write(path)[:-700])
    with pytest.raises(AudioError, match=rf"truncated: {what}; fetch or write it again"):
        read_info(path)


def test_an_ogg_cut_between_two_pages_lacks_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    whole = write(path)
    path.write_bytes(whole[: whole.rfind(b"OggS")])
    with pytest.raises(AudioError, match="its last page is not marked as such; expected the end of the stream"):
        read_audio(path, sample_rate=16_000)
    path.write_bytes(b"OggS" + bytes(10))
    with pytest.raises(AudioError, match="14 bytes of its last page; expected 28"):
        read_audio(path, sample_rate=16_000)
    path.write_bytes(whole + bytes(70_000))
    with pytest.raises(AudioError, match="no page at its end"):
        read_audio(path, sample_rate=16_000)


def test_an_mp3_cut_between_two_frames_has_fewer_than_its_table_says(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    whole = write(path)
    assert whole[13:17] == b"Xing"
    path.write_bytes(whole[: _last_frame(whole)])
    with pytest.raises(AudioError, match=r"truncated: (\d+) frames in a row; expected (\d+) by its header"):
        read_audio(path, sample_rate=16_000)


def _last_frame(data: bytes) -> int:
    """Where the last frame begins, found from the end by its sync word."""
    place = len(data)
    while True:
        place = data.rfind(b"\xff", 0, place)
        length = _mp3_frame_bytes(data[place : place + 4])
        if length is not None and place + length == len(data):
            return place


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_an_mp3_without_a_table_is_read_to_its_end(tmp_path: Path, sample_rate: int, num_channels: int) -> None:
    """libsndfile guesses its length from the first bit rate, and stops there."""
    path = tmp_path / "a.mp3"
    samples = some_speech(0, 3.0, sample_rate)
    soundfile.write(path, np.stack([samples] * num_channels, axis=1), sample_rate)
    data = bytearray(path.read_bytes())
    place = data.index(b"Xing")
    data[place : place + 4] = bytes(4)  # the table becomes a silent frame
    path.write_bytes(data)
    with soundfile.SoundFile(path) as file:
        guessed = file.frames
    assert abs(guessed - len(samples)) > 3 * 1152
    assert len(read_audio(path, sample_rate=None)) == pytest.approx(len(samples), abs=3 * 1152)
    assert read_info(path).num_samples == pytest.approx(len(samples), abs=3 * 1152)
    # A tag of another program before it and after it changes nothing.
    tag = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
    path.write_bytes(tag + data + b"TAG" + bytes(125))
    assert len(read_audio(path, sample_rate=None)) == pytest.approx(len(samples), abs=3 * 1152)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    data = bytearray(write(path))
    expected = read_audio(path, sample_rate=16_000)
    data[8 + 13] &= 0xF0
    data[8 + 14 : 8 + 18] = bytes(4)  # what an encoder that writes to a pipe leaves
    path.write_bytes(data)
    np.testing.assert_array_equal(read_audio(path, sample_rate=16_000), expected)
    assert read_info(path).num_samples == len(SPEECH)
    np.testing.assert_array_equal(
        read_audio(path, sample_rate=16_000, offset=1.0, duration=0.5), expected[16_000:24_000]
    )


@pytest.mark.parametrize("quiet", [0, 100])
def test_a_wav_whose_recorder_died_is_not_taken_for_empty(tmp_path: Path, quiet: int) -> None:
    path = tmp_path / "a.wav"
    data = write(path)
    path.write_bytes(data[:40] + bytes(4) + bytes(quiet) + data[44 + quiet :])
    with pytest.raises(AudioError, match=r"96,000 bytes behind what its header promises; expected its size to cover"):
        read_audio(path, sample_rate=16_000)
    path.write_bytes(data[:40] + struct.pack("<I", 50_000) + data[44:])
    with pytest.raises(AudioError, match=r"46,000 bytes behind what its header promises"):
        read_audio(path, sample_rate=16_000)
    path.write_bytes(data + b"LIST" + struct.pack("<I", 4) + b"abcd")
    assert len(read_audio(path, sample_rate=16_000)) == len(SPEECH)


def test_sizes_that_a_header_cannot_know_are_not_promises(tmp_path: Path) -> None:
    for suffix, place, size in ((".wav", 40, b"\xff" * 4), (".au", 8, b"\xff" * 4)):
        path = tmp_path / f"a{suffix}"
        data = write(path)
        path.write_bytes(data[:place] + size + data[place + 4 : -100])
        assert shortfall(path) is None
    path = tmp_path / "a.caf"
    data = write(path)
    place = data.index(b"data") + 4
    path.write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
    assert shortfall(path) is None


@pytest.mark.parametrize("head", [b"RIFF", b"RF64", b"FORM", b"caff", b"riff\x2e\x91\xcf\x11", b".snd", b"NIST_1A\n"])
def test_a_head_alone_promises_nothing_or_is_short(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "a.bin"
    for rest in (b"", bytes(40), b"\xff" * 40):
        path.write_bytes(head + rest)
        assert shortfall(path) is None or "expected" in str(shortfall(path))


def test_blocks_joined_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([SPEECH, SPEECH[::-1]], axis=1), 44_100)
    whole = read_audio(path, sample_rate=16_000)
    monkeypatch.setattr("asr.audio.opening.BLOCK_VALUES", 5000)
    blocks = list(stream_audio(path, sample_rate=16_000))
    assert len(blocks) > 10
    assert max(map(len, blocks)) < 2500
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    with pytest.raises(AudioError, match="resample: a sample rate of 3 Hz"):
        list(stream_audio(path, sample_rate=3))


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    write_audio(tmp_path / "a.wav", SPEECH, sample_rate=16_000)
    (tmp_path / "a.wav").rename(path)
    assert len(read_audio(path, sample_rate=16_000)) == len(SPEECH)


def test_what_cannot_be_opened_is_named_with_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "plain.raw").write_bytes(bytes(100))
    for name, kind, what in (
        ("gone.wav", "missing", "a link to nothing"),
        ("loop.wav", "missing", "a link to nothing"),
        ("plain.raw", "format", "not readable as audio"),
        (f"{'n' * 300}.wav", "unreadable", "File name too long"),
    ):
        with pytest.raises(AudioError, match=what) as caught:
            read_audio(tmp_path / name, sample_rate=16_000)
        assert caught.value.kind == kind

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "secret.wav")
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(AudioError, match=r"secret\.wav: cannot be read \(Permission denied\); expected a file that"):
        read_audio(tmp_path / "secret.wav", sample_rate=16_000)
