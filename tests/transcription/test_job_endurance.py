"""Jobs as a machine treats them: killed by the system, fed with hours of nothing, stopped, by programs of their own."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.engines.local import EngineError
from asr.transcribe import main
from asr.transcription.job import SHARE_SIZE
from asr.transcription.journal import JournalFullError
from tests.support.small_run import some_speech, write_recordings, write_small_run
from tests.transcription.test_job import files, job, lines, start

HOURS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


def begin(run: Path, audio: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "asr.transcribe", run, audio, "--output-dir", out, "--format", "txt,TextGrid"]
    return subprocess.Popen(
        [*command, *options],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests run in a shell's background, Ctrl-C is ignored, and would be by what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(what: str, condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, f"no {what} after two minutes"
        time.sleep(0.02)


def processes_of(session: int) -> list[str]:
    """The command lines of all processes that a program started, and that are not dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(") ")[2].split()
            if int(state[3]) == session and state[0] not in "ZX":
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, IndexError):
            continue
    return found


def names_in(journal: Path) -> set[str]:
    """The recordings that a job has a record of by now."""
    lines = journal.read_bytes().splitlines()[:-1] if journal.exists() else []  # the last may be half a line
    return {json.loads(line.split(b" ", 1)[1])["name"] for line in lines}


@pytest.mark.slow
def test_a_job_that_the_system_kills_twice_ends_as_if_it_had_not(run: Path, tmp_path: Path) -> None:
    """With SIGKILL, which asks nobody: at its start, and amid its work."""
    audio, out = tmp_path / "audio", tmp_path / "out"
    write_recordings(audio / "deep", np.linspace(0.2, 0.5, 150).tolist())
    (audio / "broken.wav").write_bytes(b"hello")
    second_share = sorted(os.path.relpath(path, audio) for path in audio.rglob("*.wav"))[SHARE_SIZE : 2 * SHARE_SIZE]
    journal = out / ".transcribe" / "journal.jsonl"
    # With a record of the second share the first is done as a whole, however far the first to be killed had got.
    for is_time in (journal.exists, lambda: not names_in(journal).isdisjoint(second_share)):
        killed = begin(run, audio, out, "--num-workers", "1")
        wait_for("record", is_time)
        killed.kill()
        killed.communicate()
        wait_for("end of what it had started", lambda session=killed.pid: not processes_of(session))
    last = begin(run, audio, out, "--num-workers", "1")
    said, _ = last.communicate()
    assert last.returncode == 4
    assert b"of them by an earlier run" in said
    start(job(run, audio, out=tmp_path / "unbroken", format=["txt", "TextGrid"], segmentation={}))
    assert files(out) == files(tmp_path / "unbroken")
    assert len(files(out)) == 2 * 150 + 1
    assert {path.name for path in (out / ".transcribe").iterdir()} == {"journal.jsonl", "lock", "settings.json"}


@pytest.mark.slow
def test_watching_ends_by_an_interrupt_with_its_report(run: Path, tmp_path: Path) -> None:
    write_recordings(tmp_path / "audio", [0.3] * 40)
    interrupted = begin(run, tmp_path / "audio", tmp_path / "out", "--watch")
    assert interrupted.stderr is not None
    assert interrupted.stderr.readline().startswith(b"watching ")
    os.killpg(interrupted.pid, signal.SIGINT)  # Ctrl-C reaches all processes of a terminal
    said, errors = interrupted.communicate()
    assert interrupted.returncode == 0, errors
    assert b"40 of 40 recordings transcribed" in said
    assert not processes_of(interrupted.pid)


@pytest.mark.slow
def test_hours_of_silence_in_a_megabyte(run: Path, tmp_path: Path) -> None:
    """A decompression bomb, and hours with speech at their ends and amid them: heard to the end, in little memory."""
    audio, out = tmp_path / "audio", tmp_path / "out"
    audio.mkdir()
    places = (0, 2 * 3600 + 30, HOURS * 3600 - 60)  # seconds
    for name in ("bomb", "speech"):
        with soundfile.SoundFile(audio / f"{name}.flac", "w", 16_000, 1, "PCM_16") as file:
            for start_of_minute in range(0, HOURS * 3600, 60):
                minute = np.zeros(60 * 16_000)
                for place in places if name == "speech" else ():
                    if start_of_minute <= place < start_of_minute + 60:
                        minute[(place - start_of_minute) * 16_000 :][: 2 * 16_000] = some_speech(1, 2.0)
                file.write(minute)
    assert (audio / "bomb.flac").stat().st_size < 750_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start(job(run, audio, out=out, format=["srt"], limits={"memory_mb": 128}, segmentation={}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes
    bomb, speech = lines(out)
    assert (bomb["duration"], bomb["pred_text"], bomb["error"]) == (HOURS * 3600.0, "", None)
    assert (out / "bomb.srt").read_text() == ""
    assert (speech["duration"], speech["error"]) == (HOURS * 3600.0, None)
    heard = [[word for word in speech["words"] if place - 0.5 < word["start"] < place + 2.5] for place in places]
    assert all(heard)
    assert sum(map(len, heard)) == len(speech["words"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (JournalFullError("out/journal.jsonl: cannot be written (No space left on device)"), 3, "stopped: out/journal"),
        (EngineError("worker 0 died at its start (exit code 3)"), 3, "stopped: worker 0 died"),
        (KeyboardInterrupt(), 130, "interrupted; what is done is kept: run the same command to go on from it"),
    ],
)
def test_exit_codes_of_jobs_that_do_not_end(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("asr.transcription.run.run_job", stop)
    assert main(["run", "audio", "--output-dir", "out"]) == code
    assert said in capsys.readouterr().err
