"""The table of docs/reference/formats.md: each bad recording has one defined result, and none changes another's."""

import os
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.reading import write_audio
from tests.support.small_run import some_speech, write_recordings, write_small_run
from tests.transcription.test_job import job, lines, start

SPEECH = np.round(some_speech(0, 1.0) * 32768) / 32768  # the same in 16 bits as in 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


def wav(change: dict[int, bytes] | None = None) -> bytes:
    """A WAV of 16 bits, some bytes of its header changed."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 32_036, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", 32_000
    )
    data = bytearray(head + (SPEECH * 32767).astype("<i2").tobytes())
    for place, content in (change or {}).items():
        data[place : place + len(content)] = content
    return bytes(data)


def write_broken(folder: Path) -> dict[str, str]:
    """Recordings that cannot be transcribed: name -> the kind of error."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    contents = {
        "empty.wav": (b"", "empty"),
        "header-only.wav": (wav({40: bytes(4)})[:44], "samples"),
        "half-a-header.wav": (wav()[:30], "format"),
        "random.wav": (generator.bytes(5000), "format"),
        "random.mp3": (generator.bytes(5000), "format"),
        "text.wav": (b"hello, I am a text\n" * 20, "format"),
        "no-channel.wav": (wav({22: bytes(2)}), "format"),
        "3-hertz.wav": (wav({24: struct.pack("<I", 3)}), "format"),
        "2-gigahertz.wav": (wav({24: struct.pack("<I", 2_000_000_000)}), "format"),
        "promises-more.wav": (wav({40: struct.pack("<I", 1_000_000)}), "truncated"),
        "promises-less.wav": (wav({40: struct.pack("<I", 1000)}), "truncated"),
        "promises-nothing.wav": (wav({40: bytes(4)}), "truncated"),
    }
    expected = {name: kind for name, (_, kind) in contents.items()}
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    for suffix in ("wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "caf"):
        path = folder / f"cut.{suffix}"
        write_audio(path, SPEECH, sample_rate=16_000)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
        expected[path.name] = "damaged" if suffix == "flac" else "truncated"
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        samples = SPEECH.copy()
        samples[500] = value
        soundfile.write(folder / name, samples, 16_000, subtype="FLOAT")
        expected[name] = "samples"
    (folder / "link-to-nothing.wav").symlink_to(folder / "nothing")
    (folder / "link-to-itself.wav").symlink_to(folder / "link-to-itself.wav")
    os.mkfifo(folder / "pipe.wav")
    return expected | dict.fromkeys(("link-to-nothing.wav", "link-to-itself.wav", "pipe.wav"), "missing")


def write_odd(folder: Path) -> set[str]:
    """Recordings that are unusual and can be transcribed: their names."""
    (folder / "folder.wav").mkdir(parents=True)
    for rate in (1000, 8000, 11_025, 44_100, 192_000):
        soundfile.write(folder / f"{rate}.wav", some_speech(1, 0.5, rate), rate)
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "DOUBLE", "ULAW", "IMA_ADPCM"):
        soundfile.write(folder / f"{subtype}.wav", SPEECH, 16_000, subtype=subtype)
    soundfile.write(folder / "8-channels.flac", np.stack([SPEECH * n / 8 for n in range(8)], axis=1), 16_000)
    soundfile.write(folder / "dc.flac", SPEECH * 0.3 + 0.6, 16_000)
    soundfile.write(folder / "clipped.flac", np.clip(SPEECH * 50, -1, 1), 16_000)
    soundfile.write(folder / "10-ms.wav", SPEECH[:160], 16_000)
    soundfile.write(folder / "one-sample.wav", SPEECH[:1] + 0.1, 16_000)
    soundfile.write(folder / "loud.wav", SPEECH * 1e6, 16_000, subtype="FLOAT")
    soundfile.write(folder / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "long-silence.flac", np.zeros(10 * 60 * 16_000, np.int16), 16_000)
    soundfile.write(folder / "folder.wav" / "inside.wav", SPEECH, 16_000)
    for name in ("ä" * 125 + ".wav", os.fsdecode(b"caf\xe9.wav"), "same.wav", "same.flac", "a b\n'c.wav"):
        soundfile.write(folder / "plain.flac", SPEECH, 16_000)
        (folder / "plain.flac").rename(folder / name)
    (folder / "to-myself").symlink_to(folder)
    return {os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file()}


def test_each_has_its_result(run: Path, tmp_path: Path) -> None:
    broken, odd = write_broken(tmp_path / "audio" / "broken"), write_odd(tmp_path / "audio" / "odd")
    config = job(
        run, tmp_path / "audio", out=tmp_path / "out", format=["txt", "TextGrid"], limits={"stall_seconds": 30.0}
    )
    result = start(config)
    found = {line["id"]: line for line in lines(tmp_path / "out")}
    kinds = {name: found[f"broken/{name}"]["error_kind"] for name in broken}
    assert kinds == broken
    assert all(f"broken/{name}" in found[f"broken/{name}"]["error"] for name in broken)
    readable = {os.fsencode(name).decode("utf-8", "backslashreplace") for name in odd}
    assert {name.removeprefix("odd/") for name in found if name.startswith("odd/")} == readable
    assert not [name for name in readable if found[f"odd/{name}"]["error"] is not None]
    # What holds no speech gives no words.
    for name in ("silence.wav", "long-silence.flac"):
        assert (found[f"odd/{name}"]["pred_text"], found[f"odd/{name}"]["confidence"]) == ("", 0.0)
    assert found["odd/long-silence.flac"]["duration"] == 600.0
    for name in ("PCM_24.wav", "PCM_32.wav", "DOUBLE.wav", "folder.wav/inside.wav", "caf\\xe9.wav", "same.wav"):
        assert found[f"odd/{name}"]["pred_text"] == found["odd/same.flac"]["pred_text"] != ""
    # Names that text cannot hold are still found again, and no two recordings share a file.
    assert found["odd/caf\\xe9.wav"]["audio_filepath_base64"]
    out = tmp_path / "out" / "odd"
    assert (out / os.fsdecode(b"caf\xe9.txt")).read_text()
    assert (out / "same.wav.txt").read_text() == (out / "same.flac.TextGrid").read_text()[:0] + (
        out / "same.flac.txt"
    ).read_text()
    assert len(list(out.rglob("*.txt"))) == len(list(out.rglob("*.TextGrid"))) == len(odd)
    assert (result.report.num_transcribed, result.report.num_errors) == (len(odd), len(broken))
    assert result.report.passed_over == {"linked folder": 1}


def test_a_thousand_recordings_of_which_fifty_are_broken(run: Path, tmp_path: Path) -> None:
    """950 transcripts and 50 named errors, whatever stands beside what."""
    sources = write_recordings(tmp_path / "sources", [0.15, 0.2, 0.12])
    broken = [path for path in sorted(write_broken(tmp_path / "broken")) if not path.startswith("link-to-itself")]
    folder = tmp_path / "audio"
    folder.mkdir()
    for number in range(1000):
        is_broken = number % 20 == 7
        source = tmp_path / "broken" / broken[number // 20 % len(broken)] if is_broken else sources[number % 3]
        (folder / f"{number:04d}{source.suffix}").symlink_to(source)
    report = start(job(run, folder, out=tmp_path / "out", format=["jsonl"], batch_size=32)).report
    assert (report.num_recordings, report.num_transcribed, report.num_errors) == (1000, 950, 50)
    written = lines(tmp_path / "out")
    assert len(written) == 1000
    assert [int(line["id"][:4]) % 20 == 7 for line in written] == [line["error"] is not None for line in written]
    assert all(f"/{line['id']}: " in line["error"] for line in written if line["error"] is not None)
    # The same recording gives the same line wherever it stands.
    heard = Counter(
        (int(line["id"][:4]) % 3, line["pred_text"], str(line["words"])) for line in written if not line["error"]
    )
    assert len(heard) == 3
