"""asr/audio/av.py: AAC and other formats by PyAV, within the limits of the process that decodes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.audio.av import AVError, AVFile, av_format
from asr.audio.containers import shortfall
from asr.audio.pool import AudioLimits, AudioPool
from asr.audio.reading import AudioError, read_audio, read_info
from asr.audio.stretch import Stretch
from tests.support.small_run import some_speech, write_small_run
from tests.transcription.test_job import job, lines, start

av = pytest.importorskip("av", reason="needs the extra: pip install -e '.[m4a]'")
SPEECH = some_speech(1, 2.0)


def write_av(path: Path, samples: np.ndarray, codec: str = "aac", rate: int = 16_000) -> Path:
    """Samples [channel, sample], in the container of the suffix."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for each in (frame, None):
            for packet in stream.encode(each):
                output.mux(packet)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("av")
    write_av(found / "mono.m4a", SPEECH[None])
    write_av(found / "mono.aac", SPEECH[None])
    write_av(found / "opposite.m4a", np.stack([SPEECH, -SPEECH]))
    return found


@pytest.mark.parametrize("name", ["mono.m4a", "mono.aac"])
def test_what_was_encoded_is_read(folder: Path, name: str) -> None:
    info, samples = read_info(folder / name), read_audio(folder / name, sample_rate=16_000)
    assert (info.sample_rate, info.num_channels) == (16_000, 1)
    assert info.duration == pytest.approx(2.0, abs=0.15)
    assert len(samples) == pytest.approx(info.num_samples, abs=2048)
    lag = int(np.argmax(np.correlate(samples, SPEECH[:8000], "valid")))
    assert 0 <= lag <= 1024  # what the encoder put before it
    likeness = np.corrcoef(samples[lag : lag + 16_000], SPEECH[:16_000])[0, 1]
    assert likeness > 0.8
    part = read_audio(folder / name, sample_rate=16_000, offset=0.5, duration=0.25)
    np.testing.assert_array_equal(part, samples[8000:12_000])


def test_a_job_hears_it_within_its_limits(folder: Path, tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "run").path
    start(job(run, folder, out=tmp_path / "out", limits={"memory_mb": 64}))
    found = {line["id"]: line for line in lines(tmp_path / "out")}
    assert found["mono.m4a"]["pred_text"]
    assert found["mono.aac"]["pred_text"]
    assert found["opposite.m4a"]["warning"].startswith("the channels cancel each other")


def test_memory_is_limited(folder: Path, tmp_path: Path) -> None:
    """What comes after the library was loaded counts."""
    from asr.audio import worker as audio_worker

    assert audio_worker.LIBRARY_BYTES > 100 << 20
    long = write_av(tmp_path / "long.m4a", np.tile(SPEECH, 60)[None])
    with AudioPool(sample_rate=16_000, num_processes=1, limits=AudioLimits(memory_mb=64)) as pool:
        (decoded,) = pool.read([Stretch(str(long))])
        assert decoded.error is None
        assert sum(map(len, decoded.blocks())) == pytest.approx(len(SPEECH) * 60, abs=4096)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_file_is_truncated(folder: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.m4a"
    content = (folder / "mono.m4a").read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match=r"truncated: .* expected") as found:
        read_audio(path, sample_rate=16_000)
    assert found.value.kind == "truncated"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x01xx", "10? bytes|expected 8|its box"),
        (b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x04free", "a box of 4 bytes; expected 8 or more"),
        (b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x08free", "no box 'moov'"),
        (b"\0\0\0\x10ftypM4A \0\0\0\0abc", "3 bytes of a box's head; expected 8"),
    ],
)
def test_boxes_that_do_not_add_up(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.m4a").write_bytes(content)
    found = shortfall(tmp_path / "x.m4a")
    assert found is not None
    assert re.search(message, found)


def test_rubbish_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.m4a"
    path.write_bytes(b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x08moov")
    with pytest.raises(AudioError, match=r"x.m4a: (not readable as audio|no audio in it|damaged)") as found:
        read_audio(path, sample_rate=16_000)
    assert found.value.kind in ("format", "damaged")
    picture = tmp_path / "x.mp4"
    with av.open(str(picture), "w") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            output.mux(packet)
    with pytest.raises(AVError, match="no audio in it"):
        AVFile(picture, "mov")


def test_damage_ends_in_an_error_or_in_samples(folder: Path, tmp_path: Path) -> None:
    content, generator = (folder / "mono.m4a").read_bytes(), np.random.default_rng(0)
    for number in range(30):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), 20):
            changed[place] = generator.integers(256)
        path = tmp_path / f"{number}.m4a"
        path.write_bytes(changed)
        try:
            samples, said = read_audio(path, sample_rate=16_000), str(path)
        except AudioError as error:
            samples, said = np.zeros(1), str(error)
        assert np.isfinite(samples).all()
        assert said.startswith(str(path))


def test_without_the_extra_the_error_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"mono.m4a: needs PyAV, .*: pip install 'earshot\[m4a\]'; another") as found:
        read_audio(folder / "mono.m4a", sample_rate=16_000)
    assert found.value.kind == "format"


def test_only_containers_that_libsndfile_does_not_read() -> None:
    assert av_format(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c") == "asf"
    assert av_format(b"\x1aE\xdf\xa3" + bytes(12)) == "matroska"
    for other in (b"RIFF", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90\x00", b"#EXTM3U\n", b"", b"\xff"):
        assert av_format(other) is None
