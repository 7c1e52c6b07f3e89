"""A library that fails in a worker's batch costs the recording that it fails on, never the job."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.recognizer import Recognizer
from asr.transcribe import main
from asr.transcription.report import JobReport
from asr.transcription.worker import make_transcriber
from tests.support.small_run import some_speech, write_recordings, write_small_run
from tests.transcription.test_job import files, job, lines, start

FAILURES = [
    OSError("libtorchaudio.so: undefined symbol: torch_exception_get_what_without_backtrace"),
    ImportError("cannot import name 'forced_align'"),
    RuntimeError("could not create a primitive descriptor\nfor the LSTM"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "audio", [0.6, 2.0, 0.9, 0.4])
    return tmp_path / "audio"


def fail_on(monkeypatch: pytest.MonkeyPatch, error: Exception, *, longer_than: float) -> None:
    transcripts = Recognizer.transcripts

    def failing(self: Recognizer, recordings):
        if max(map(len, recordings)) > longer_than * 16_000:
            raise error
        return transcripts(self, recordings)

    monkeypatch.setattr(Recognizer, "transcripts", failing)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_it_costs_one_recording(
    run: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    start(job(run, audio, out=tmp_path / "well"))
    with monkeypatch.context() as patch:
        fail_on(patch, error, longer_than=1.5)
        report = start(job(run, audio, out=tmp_path / "out")).report
    assert (report.num_transcribed, list(report.errors)) == (3, ["library"])
    found = {line["id"]: line["error"] for line in lines(tmp_path / "out")}
    first = str(error).splitlines()[0]
    assert found["01.wav"].startswith(f"{audio / '01.wav'}: {type(error).__name__}: {first}; expected ")
    assert [found[name] for name in ("00.wav", "02.wav", "03.wav")] == [None] * 3
    assert "1 not transcribed, library:" in report.summary()
    # Failed recordings are tried again; what the others gave is what they give without the failure.
    start(job(run, audio, out=tmp_path / "out"))
    assert files(tmp_path / "out") == files(tmp_path / "well")


def test_a_long_recording_too(run: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(audio / "long.flac", np.concatenate([some_speech(n, 2.5) for n in range(3)]), 16_000)
    fail_on(monkeypatch, FAILURES[0], longer_than=2.2)
    report = start(job(run, audio, out=tmp_path / "out")).report
    assert (report.num_transcribed, report.num_errors) == (4, 1)
    assert "long.flac: OSError: libtorchaudio.so" in next(iter(report.errors["library"]))
    fail_on(monkeypatch, RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), longer_than=2.1)
    again = start(job(run, audio, out=tmp_path / "out")).report
    assert list(again.errors) == ["memory"]


def test_one_cause_is_said_once(
    run: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_on(monkeypatch, FAILURES[0], longer_than=0)
    assert main([str(run), str(audio), "--output-dir", str(tmp_path / "out"), "--num-workers", "1"]) == 4
    shown = capsys.readouterr().err
    assert shown.count("undefined symbol") == 1
    assert "4 not transcribed, all for one cause:\n  OSError: libtorchaudio.so: undefined symbol" in shown
    assert "install again what pyproject.toml names" in shown
    assert sum(line["error"] is not None for line in lines(tmp_path / "out")) == 4


def test_two_causes_are_said_each() -> None:
    report = JobReport()
    for name, cause in (("a", "OSError: x"), ("b", "OSError: y")):
        report.add(name, {"error": f"/{name}: {cause}", "error_kind": "library"})
    assert report.warnings_and_errors() == ["2 not transcribed, library:", "  /a: OSError: x", "  /b: OSError: y"]


def test_a_library_that_is_needed_from_the_start_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_args: object, **_options: object) -> None:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("asr.transcription.worker._load", load)
    with pytest.raises(ValueError, match=r"run: .* needs a library that does not load \(libgomp.*; install again"):
        make_transcriber(job(run, run, out=run), 0, num_workers=1)
