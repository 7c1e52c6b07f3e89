"""python -m asr.transcribe: a folder in, transcripts out; a broken file stops nothing."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from asr.manifest import Manifest
from asr.recognizer import Recognizer
from asr.transcribe import TranscribeError, main
from tests.small_run import write_recordings, write_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """audio/{00,01,02}.wav, the longest in the middle, and audio/deeper/00.wav."""
    write_recordings(tmp_path / "audio", [0.6, 2.0, 0.9])
    write_recordings(tmp_path / "audio" / "deeper", [1.2])
    return tmp_path / "audio"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_becomes_a_manifest_in_the_order_of_its_paths(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"
    assert main([str(run), str(audio), "--output", str(output)]) == 0
    recognizer = Recognizer.load(run)
    written = lines(output)
    assert [line["id"] for line in written] == ["00.wav", "01.wav", "02.wav", "deeper/00.wav"]
    assert [line["duration"] for line in written] == [0.6, 2.0, 0.9, 1.2]
    for line in written:
        alone = recognizer.transcribe(audio / line["id"])
        assert line["pred_text"] == alone.text != ""
        assert line["words"] == [asdict(word) for word in alone.words]
        assert line["score"] == pytest.approx(alone.score, rel=1e-4)
    # What was written reads back as a manifest, in whose folder the recordings lie.
    assert [Path(item.audio_filepath) for item in Manifest.read(output)] == [audio / line["id"] for line in written]
    shown = capsys.readouterr()
    assert "4 recordings, 4.7 s of audio in" in shown.out
    assert "not transcribed" not in shown.err


@pytest.mark.parametrize("batch_size", ["1", "3"])
def test_the_batch_size_changes_nothing(run: Path, audio: Path, tmp_path: Path, batch_size: str) -> None:
    for name, extra in (("a", []), ("b", ["--batch-size", batch_size])):
        main([str(run), str(audio), "--output", str(tmp_path / name), "--format", "txt", *extra])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_text_is_a_path_and_a_transcript_a_line(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out.txt"
    assert main([str(run), str(audio), "--output", str(output), "--format", "txt"]) == 0
    recognizer = Recognizer.load(run)
    names = ["00.wav", "01.wav", "02.wav", "deeper/00.wav"]
    assert output.read_text().splitlines() == [f"{name}\t{recognizer.transcribe(audio / name).text}" for name in names]


def test_one_recording_is_enough(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere" / "out.jsonl"
    assert main([str(run), str(audio / "01.wav"), "--output", str(output)]) == 0
    (line,) = lines(output)
    assert (line["id"], line["audio_filepath"]) == ("01.wav", str(audio / "01.wav"))


def test_broken_files_are_named_and_do_not_stop_the_rest(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "not-audio.wav").write_bytes(b"hello")
    (audio / "empty.flac").write_bytes(b"")
    # A header that reads, samples that do not: found only while transcribing.
    shutil.copy(audio / "01.wav", audio / "nan.wav")
    import numpy as np
    import soundfile

    soundfile.write(audio / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    output = tmp_path / "out.jsonl"
    assert main([str(run), str(audio), "--output", str(output)]) == 1
    assert [line["id"] for line in lines(output)] == ["00.wav", "01.wav", "02.wav", "deeper/00.wav"]
    errors = capsys.readouterr().err
    for name in ("not-audio.wav", "empty.flac", "nan.wav"):
        assert f"not transcribed: {audio / name}: " in errors


def test_a_failure_leaves_the_earlier_output(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("earlier")
    with pytest.raises(ValueError, match="batch_size: 0"):
        main([str(run), str(audio), "--output", str(output), "--batch-size", "0"])
    assert output.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "out.jsonl"]


def test_a_folder_without_recordings_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TranscribeError, match=r"no recordings in it; expected files .*\.flac"):
        main([str(run), str(tmp_path), "--output", str(tmp_path / "out.jsonl")])
    with pytest.raises(ValueError, match="not a folder"):
        main([str(run), str(tmp_path / "absent"), "--output", str(tmp_path / "out.jsonl")])


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys, asr.transcribe\n"
        "try: asr.transcribe.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'rich', 'pydantic', 'jinja2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m asr.transcribe" in done.stdout
