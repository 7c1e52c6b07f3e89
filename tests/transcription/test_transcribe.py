"""python -m asr.transcribe: the program, from its options to its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asr.config.reading import ConfigError
from asr.data.manifest import Manifest
from asr.recognizer import Recognizer
from asr.transcribe import main
from asr.transcript import Transcript
from asr.transcription.console import recognised
from asr.transcription.inputs import InputError
from tests.support.small_run import write_recordings, write_small_run


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
        assert [word["word"] for word in line["words"]] == [word.word for word in alone.words]
        assert [word["start"] for word in line["words"]] == [word.start for word in alone.words]
        assert line["confidence"] == pytest.approx(alone.confidence, abs=1e-3)
        assert line["error"] is None
        assert "rtf" not in line
    # What was written reads back as a manifest, in whose folder the recordings lie.
    assert [Path(item.audio_filepath) for item in Manifest.read(output)] == [audio / line["id"] for line in written]
    shown = capsys.readouterr()
    assert "4 of 4 recordings transcribed" in shown.out
    assert "not transcribed" not in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "out.jsonl"]


def test_text_is_a_path_and_a_transcript_a_line(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out.txt"
    assert main([str(run), str(audio), "--output", str(output)]) == 0
    recognizer = Recognizer.load(run)
    names = ["00.wav", "01.wav", "02.wav", "deeper/00.wav"]
    assert output.read_text().splitlines() == [f"{name}\t{recognizer.transcribe(audio / name).text}" for name in names]


def test_one_recording_is_enough(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere" / "out.jsonl"
    assert main([str(run), str(audio / "01.wav"), "--output", str(output), "--rtf"]) == 0
    (line,) = lines(output)
    assert (line["id"], line["audio_filepath"]) == ("01.wav", str(audio / "01.wav"))
    assert 0 < line["rtf"] < 10


def test_broken_files_are_named_and_do_not_stop_the_rest(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "not-audio.wav").write_bytes(b"hello")
    (audio / "empty.flac").write_bytes(b"")
    output = tmp_path / "out.jsonl"
    assert main([str(run), str(audio), "--output", str(output)]) == 4
    found = {line["id"]: line for line in lines(output)}
    assert [name for name, line in found.items() if line["error"] is None] == [
        "00.wav",
        "01.wav",
        "02.wav",
        "deeper/00.wav",
    ]
    assert found["empty.flac"]["error_kind"] == "empty"
    shown = capsys.readouterr().err
    assert "1 not transcribed, empty:" in shown
    assert f"  {audio / 'not-audio.wav'}: not readable as audio" in shown


def test_a_refusal_leaves_the_earlier_output(run: Path, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("earlier")
    with pytest.raises(ValueError, match="batch_size: found 0; input should be greater than or equal to 1"):
        main([str(run), str(audio), "--output", str(output), "--batch-size", "0"])
    assert output.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "out.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch"], "output_dir: expected it or output, and one of them only"),
        (["--output-dir", "out", "--merge"], "merge: of channel mix; expected channel each"),
        (["--output-dir", "out", "--channel", "each", "--merge", "--commands", "x"], "merge: commands have no turns"),
        (["--output-dir", "out", "--channel", "each", "--merge", "--format", "ctm"], "merge: the format ctm has no"),
        (["--output", "x.srt", "--format", "srt"], "output: one file holds jsonl or txt, but the format is srt"),
        (
            ["--output-dir", "out", "--format", "doc"],
            "format.0: found 'doc'; input should be 'jsonl', .*, 'TextGrid' or 'tsv'$",
        ),
        (["--output", "x.srt"], r"output: x\.srt holds jsonl; expected another suffix, or format: \[srt\], for most"),
        (["--output-dir", "out", "--channel", "left"], "channel"),
        (["--output-dir", "out", "--set", "channel=-1"], "channel: -1; expected 0 or more, mix or each"),
        (["--output-dir", "out", "--set", "limits.memory=3"], "unknown key; did you mean 'memory_mb'"),
        (["--output-dir", "out", "--set", 'paths=["-"]', "--watch"], "watch: a list on stdin does not grow"),
        (["--output", "out.txt", "--watch"], "watch: expected output_dir"),
        (["--output-dir", "out", "--watch", "--engine", "ray"], "watch: engine ray"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Path, audio: Path, options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main([str(run), str(audio), *options])


def test_one_recording_is_printed(run: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words alone, or what a file of the format would hold; nothing is kept."""
    text = Recognizer.load(run).transcribe(audio / "01.wav").text
    before = sorted(audio.parent.rglob("*"))
    assert main([str(run), str(audio / "01.wav")]) == 0
    assert capsys.readouterr() == (f"{text}\n", "")
    assert main([str(run), str(audio / "01.wav"), "--format", "srt"]) == 0
    assert capsys.readouterr().out.startswith("1\n00:00:0")
    (audio / "broken.wav").write_bytes(b"hello")
    assert main([str(run), str(audio / "broken.wav")]) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "broken.wav: not readable as audio" in shown.err
    (audio / "broken.wav").unlink()
    assert sorted(audio.parent.rglob("*")) == before


def test_a_folder_without_an_output_is_a_line_a_recording(
    run: Path, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer = Recognizer.load(run)
    assert main([str(run), "--num-workers", "1", str(audio)]) == 0
    shown = capsys.readouterr()
    names = ["00.wav", "01.wav", "02.wav", "deeper/00.wav"]
    assert shown.out.splitlines() == [f"{name}  {recognizer.transcribe(audio / name).text}" for name in names]
    assert "4 of 4 recordings transcribed" in shown.err
    assert main([str(run), str(audio), "--format", "jsonl"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == names
    with pytest.raises(ValueError, match="format: srt of several recordings, and no place for it; expected --output-d"):
        main([str(run), str(audio), "--format", "srt"])


def test_a_command_is_printed_with_its_slots() -> None:
    command = {"understood": True, "intent": "Light", "slots": {"area": "kitchen"}, "confidence": 0.99712}
    assert recognised(Transcript("on", 1.0, (), 1.0, command=command)) == 'Light {"area": "kitchen"}  confidence 0.997'
    assert recognised(Transcript("on", 1.0, (), 1.0, command={"understood": False})) == "not understood"
    assert recognised(Transcript("", 0.0, (), 1.0)) == "(nothing recognised)"


def test_a_job_that_goes_on_says_so(run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(run), str(audio), "--output-dir", str(tmp_path / "out"), "--num-workers", "1"]
    assert main(options) == 0
    assert "going on" not in capsys.readouterr().err
    assert main(options) == 0
    assert "going on from an earlier run, which had tried 4 of 4 recordings" in capsys.readouterr().err


def test_nothing_asked_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "expected RUN and PATH..., or --config; --help says more" in capsys.readouterr().err


def test_what_is_not_there_is_refused(run: Path, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "out.jsonl")]
    with pytest.raises(InputError, match=r"no recordings in it; expected files .*\.flac"):
        main([str(run), str(tmp_path), *output])
    with pytest.raises(InputError, match="absent: no such file or folder; expected recordings, a folder of them, or a"):
        main([str(run), str(tmp_path / "absent"), *output])
    with pytest.raises(ValueError, match=r"nothing: not a run folder .*; expected one written by asr\.train"):
        main([str(tmp_path / "nothing"), str(tmp_path), *output])
    with pytest.raises(ValueError, match=r"no\.yaml: no such file; expected a grammar, such as conf/commands/home"):
        main([str(run), str(tmp_path), *output, "--commands", str(tmp_path / "no.yaml")])
    (tmp_path / "a.wav").touch()
    with pytest.raises(InputError, match=r"a\.wav: not a folder; expected folders, which --watch looks into"):
        main([str(run), str(tmp_path / "a.wav"), "--watch", "--output-dir", str(tmp_path / "out")])


def test_all_options_may_be_in_a_file(run: Path, audio: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        f"run: {run}\npaths: [{audio}]\noutput_dir: {tmp_path / 'one'}\nformat: [txt, srt]\nbatch_size: 3\n"
        "segmentation: {longest: 20}\nlimits: {memory_mb: 600}\n"
    )
    assert main(["--config", str(job)]) == 0
    assert (tmp_path / "one" / "deeper" / "00.srt").is_file()
    assert main(["--config", str(job), "--format", "txt", "--set", f"output_dir={tmp_path / 'two'}"]) == 0
    assert sorted(path.name for path in (tmp_path / "two").glob("0*")) == ["00.txt", "01.txt", "02.txt"]


def test_a_list_on_stdin_and_the_exit_code(run: Path, audio: Path, tmp_path: Path) -> None:
    names = [audio / "00.wav", audio / "missing.wav"]
    done = subprocess.run(
        [sys.executable, "-m", "asr.transcribe", run, "-", "--output-dir", tmp_path / "out", "--format", "txt"],
        input=b"\0".join(map(os.fsencode, names)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert b"missing.wav: no such file; expected a recording" in done.stderr
    assert (tmp_path / "out" / "00.txt").read_text().strip()


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
