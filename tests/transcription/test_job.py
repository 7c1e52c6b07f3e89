"""asr/transcription/job.py: the same files whatever the batches, the workers, the order and the kills."""

import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from asr.audio.reading import read_audio
from asr.audio.stretch import Stretch
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.engines.local import EngineError, LocalEngine
from asr.engines.work import Item, Share
from asr.recognition.precision import Precision
from asr.recognizer import Recognizer
from asr.transcription.config import JobConfig, load_job
from asr.transcription.job import Job, JobResult, run_job
from asr.transcription.journal import JournalError, JournalFullError
from asr.transcription.progress import JobProgress
from tests.support.dying_worker import MakeMoody
from tests.support.small_run import some_speech, write_recordings, write_small_run

FORMATS = ["txt", "json", "srt"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings in two folders, one of them broken and one longer than a batch takes."""
    folder = tmp_path_factory.mktemp("audio")
    write_recordings(folder / "a", [0.6, 2.0, 0.9, 0.4])
    write_recordings(folder / "b", [1.2, 0.3])
    soundfile.write(folder / "long.flac", np.concatenate([some_speech(n, 2.5) for n in range(3)]), 16_000)
    (folder / "broken.wav").write_bytes(b"hello")
    return folder


def job(run: Path, *paths: Path, out: Path, **options: object) -> JobConfig:
    values = {"run": str(run), "paths": [str(path) for path in paths], "output_dir": str(out), "format": FORMATS}
    return load_job(None, {"segmentation": {"longest": 5.0, "overlap": 1.0}, "num_workers": 1, **values, **options})


def start(config: JobConfig, **options) -> JobResult:
    return run_job(config, progress=JobProgress(Console(quiet=True)), **options)


def files(out: Path) -> dict[str, bytes]:
    """Everything a user sees, but for the report, which says how long it took."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith((".transcribe", "report.json"))}


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "transcripts.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(run: Path, audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken")
    result = start(job(run, audio, out=out))
    assert (result.report.num_transcribed, result.report.num_errors, result.report.is_complete) == (7, 1, True)
    return files(out)


def test_the_output_mirrors_the_tree(unbroken: dict[str, bytes]) -> None:
    stems = ["a/00", "a/01", "a/02", "a/03", "b/00", "b/01", "long"]
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in FORMATS} | {"transcripts.jsonl"}
    assert set(unbroken) == expected
    assert all(unbroken[f"{stem}.txt"].strip() for stem in stems)


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 3}, {"batch_seconds": 2.5}, {"num_decoders": 3}], ids=str
)
def test_batches_and_decoders_change_nothing(
    run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes], options: dict
) -> None:
    start(job(run, audio, out=tmp_path / "out", **options))
    assert files(tmp_path / "out") == unbroken


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_fewer_bits_are_those_of_the_recogniser_whatever_the_batch(
    run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes], precision: Precision
) -> None:
    for size in (1, 16):
        start(job(run, audio, out=tmp_path / str(size), precision=precision, batch_size=size))
    assert files(tmp_path / "1") == files(tmp_path / "16") != unbroken
    found = {line["id"]: line for line in lines(tmp_path / "1")}
    recognizer = Recognizer.load(run, precision=precision)
    speech, other = (
        read_audio(audio / "a" / "01.wav", sample_rate=16_000),
        read_audio(audio / "b" / "00.wav", sample_rate=16_000),
    )
    transcript = recognizer.transcripts([speech, other])[0]
    assert found["a/01.wav"]["pred_text"] == transcript.pred_text != ""
    assert found["a/01.wav"]["confidence"] == transcript.confidence


def test_the_order_changes_nothing(run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    paths = sorted(path for path in audio.rglob("*") if path.is_file())[::-1]
    start(job(run, Path("-"), out=tmp_path / "out"), listed="\n".join(map(str, paths)).encode())
    assert files(tmp_path / "out") == unbroken


def test_a_job_killed_anywhere_ends_as_if_it_had_not_been(
    run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time before another file takes its place; then once more to the end."""
    config = job(run, audio, out=tmp_path / "out")
    replace, num_kills, left = Path.replace, 0, 0

    def kill(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        while num_kills < 6:
            left = (0, 1, 5, 7, 3, 6)[num_kills]
            with pytest.raises(KeyboardInterrupt):
                start(config)
            num_kills += 1
    assert start(config).report.num_resumed > 0
    assert files(tmp_path / "out") == unbroken
    assert not list((tmp_path / "out" / ".transcribe").glob("writing*"))


def test_what_is_done_is_not_done_again(
    run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(audio, tmp_path / "audio")
    start(job(run, tmp_path / "audio", out=out))
    heard: list[int] = []
    take = Job._take
    monkeypatch.setattr(Job, "_take", lambda self, outcome: (heard.append(outcome.number), take(self, outcome)))
    # Only what failed is tried again; lost and damaged files are written again.
    (out / "a" / "00.txt").unlink()
    (out / "a" / "01.txt").write_text("damaged")
    result = start(job(run, tmp_path / "audio", out=out))
    assert heard == [6]
    assert result.report.num_resumed == 7
    assert {name: content for name, content in files(out).items() if name != "transcripts.jsonl"} == {
        name: content for name, content in unbroken.items() if name != "transcripts.jsonl"
    }
    # Other bytes under the same name are another recording; another format needs no model.
    heard.clear()
    shutil.copy(audio / "a" / "01.wav", tmp_path / "audio" / "a" / "00.wav")
    start(job(run, tmp_path / "audio", out=out, format=["tsv"]))
    assert sorted(heard) == [0, 6]
    assert (out / "a" / "01.tsv").is_file()
    # And those that are there are kept, and brought up to date.
    assert (out / "a" / "00.srt").read_bytes() == (out / "a" / "01.srt").read_bytes() == unbroken["a/01.srt"]
    # Other settings are another job.
    heard.clear()
    result = start(job(run, tmp_path / "audio", out=out, channel=0, overwrite=True))
    assert len(heard) == 8
    assert result.report.num_resumed == 0


def test_a_recording_that_breaks_loses_its_transcript(run: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(audio / "b", tmp_path / "audio")
    start(job(run, tmp_path / "audio", out=out))
    (tmp_path / "audio" / "00.wav").write_bytes(b"")
    assert start(job(run, tmp_path / "audio", out=out)).report.num_errors == 1
    assert sorted(files(out)) == ["01.json", "01.srt", "01.txt", "transcripts.jsonl"]


def test_files_that_no_job_has_written_stay(run: Path, audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "00.txt").write_text("my own notes")
    for _ in range(2):
        result = start(job(run, audio / "b", out=out))
        assert (out / "00.txt").read_text() == "my own notes"
        assert list(result.report.errors) == ["output"]
    assert "00.txt: there already, and written by no job; expected a free name, or --overwrite" in str(lines(out)[0])
    assert start(job(run, audio / "b", out=out, overwrite=True)).report.num_errors == 0
    assert (out / "00.txt").read_text() != "my own notes"


def test_a_second_job_in_one_folder_is_refused(run: Path, audio: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    state = tmp_path / "out" / ".transcribe"
    state.mkdir(parents=True)
    code = (
        "import sys; from asr.files.replacing import HeldLock; lock = HeldLock(sys.argv[1]); print(flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, state / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(JournalError, match=r"out: another job is writing here; expected none; wait for it"):
            start(job(run, audio, out=tmp_path / "out"))
    finally:
        other.communicate("\n")
    assert start(job(run, audio / "b", out=tmp_path / "out")).report.num_errors == 0


def test_a_full_disk_stops_the_job_and_costs_nothing(
    run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = job(run, audio, out=tmp_path / "out")
    write, seen = os.pwrite, 0

    def full(file: int, content: bytes, place: int) -> int:
        nonlocal seen
        seen += 1
        if seen > 4:
            raise OSError(28, "No space left on device")
        return write(file, content, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(JournalFullError, match=r"journal\.jsonl: cannot be written \(No space left on device\)"):
            start(config)

    def no_room(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", no_room)
        with pytest.raises(JournalFullError, match=r"\.(txt|json|srt): cannot be written .* MiB are free there"):
            start(config)
    start(config)
    assert files(tmp_path / "out") == unbroken


def test_read_only_output_is_named(run: Path, audio: Path) -> None:
    with pytest.raises(JournalError, match=r"/proc/earshot/\.transcribe: cannot be written"):
        start(job(run, audio, out=Path("/proc/earshot")))


def test_a_manifest_keeps_its_fields(run: Path, audio: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    wav = str(audio / "a" / "01.wav")
    utterances = [
        Utterance("second half", wav, 1.0, "hello", "anna", 1.0, {"mood": "good"}),
        Utterance("../outside", wav, 1.0),
        Utterance("whole", wav, 2.0),
        Utterance("past the end", wav, 1.0, offset=1.5),
    ]
    write_manifest(path, utterances)
    result = start(job(run, path, out=tmp_path / "out"))
    half, outside, whole, past = lines(tmp_path / "out")
    assert (half["id"], half["offset"], half["duration"], half["text"]) == ("second half", 1.0, 1.0, "hello")
    assert (half["speaker"], half["mood"], half["error"]) == ("anna", "good", None)
    assert whole["pred_text"] != half["pred_text"]
    assert (outside["error_kind"], past["error_kind"]) == ("name", "stretch")
    assert sorted(result.report.errors) == ["name", "stretch"]
    assert (tmp_path / "out" / "second half.txt").is_file()
    assert not (tmp_path / "outside.txt").exists()


def test_channels(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "audio" / "call.wav"
    path.parent.mkdir()
    left, right = some_speech(1, 2.0), some_speech(2, 2.0)
    soundfile.write(path, np.stack([left, right, np.zeros_like(left)], axis=1), 16_000)
    soundfile.write(path.with_name("left.wav"), left, 16_000)
    found = {}
    for channel in ("mix", 0, "each"):
        start(job(run, path.parent, out=tmp_path / str(channel), channel=channel))
        found[channel] = {line["id"]: line for line in lines(tmp_path / str(channel))}
    assert found[0]["call.wav"]["pred_text"] == found["mix"]["left.wav"]["pred_text"]
    assert list(found["each"]) == ["call.wav#0", "call.wav#1", "call.wav#2", "left.wav#0"]
    assert found["each"]["call.wav#0"]["pred_text"] == found[0]["call.wav"]["pred_text"] != ""
    assert found["each"]["call.wav#1"]["pred_text"] not in ("", found[0]["call.wav"]["pred_text"])
    assert (found["each"]["call.wav#2"]["pred_text"], found["each"]["call.wav#2"]["channel"]) == ("", 2)
    assert "channel" not in found["mix"]["call.wav"]
    assert (tmp_path / "each" / "call.channel1.txt").is_file()


def test_a_recording_of_several_channels_is_done_once(run: Path, tmp_path: Path, monkeypatch) -> None:
    """Also where all of them are in one batch."""
    samples = [some_speech(number, 1.0) for number in range(3)]
    soundfile.write(tmp_path / "call.wav", np.stack(samples, axis=1), 16_000)
    taken: list[int] = []
    take = Job._take
    monkeypatch.setattr(Job, "_take", lambda self, outcome: (taken.append(outcome.number), take(self, outcome)))
    report = start(job(run, tmp_path / "call.wav", out=tmp_path / "out", channel="each")).report
    assert taken == [0]
    assert (report.num_recordings, report.num_channels, report.elapsed_audio_seconds) == (1, 3, 3.0)


def test_watching_takes_what_arrives(run: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    shutil.copy(audio / "a" / "00.wav", inbox / "m.wav")
    os.utime(inbox / "m.wav", (1, 1))
    looks: list[set[str]] = []

    def wait(_seconds: float) -> None:
        looks.append({path.name for path in out.glob("*.txt")})
        if len(looks) == 1:
            shutil.copy(audio / "a" / "01.wav", inbox / "b.wav")
            os.utime(inbox / "b.wav", (time.time() + 60, time.time() + 60))  # still being written
        elif len(looks) == 2:
            os.utime(inbox / "b.wav", (1, 1))
            shutil.copy(audio / "long.flac", inbox / "m.flac")
            os.utime(inbox / "m.flac", (1, 1))
        else:
            raise KeyboardInterrupt

    heard: list[str] = []
    take = Job._take
    monkeypatch.setattr(
        Job, "_take", lambda self, outcome: (heard.append(self.inputs[outcome.number].name), take(self, outcome))
    )
    monkeypatch.setattr("asr.transcription.job.time.sleep", wait)
    config = job(run, inbox, out=out, watch=True, watching={"settle_seconds": 0.0}, format=["txt"])
    result = start(config)
    assert looks == [{"m.txt"}, {"m.txt"}, {"b.txt", "m.flac.txt", "m.wav.txt"}]
    assert [line["id"] for line in lines(out)] == ["b.wav", "m.flac", "m.wav"]
    assert (result.report.num_transcribed, result.report.num_resumed) == (3, 0)
    assert sorted(heard) == ["b.wav", "m.flac", "m.wav"]  # each once
    # What a job over the same folder would have written.
    start(job(run, inbox, out=tmp_path / "again", format=["txt"]))
    assert files(out) == files(tmp_path / "again")


def outcomes(marks: Path, paths: list[str], *, num_workers: int = 2) -> dict[int, str]:
    items = [Item(number, Stretch(path)) for number, path in enumerate(paths)]
    engine = LocalEngine(MakeMoody(marks), num_workers=num_workers)
    try:
        shares = [Share(tuple(items[start : start + 3])) for start in range(0, len(items), 3)]
        return {each.number: each.error or each.transcripts[0].pred_text for each in engine.run(shares)}
    finally:
        engine.close()


def test_a_worker_that_dies_costs_nothing_or_the_one_it_dies_over(tmp_path: Path) -> None:
    paths = ["a", "b", "once", "c", "always", "d", "e"]
    found = outcomes(tmp_path, paths)
    assert sorted(found) == list(range(len(paths)))
    assert [found[number] for number in (0, 1, 2, 3, 5, 6)] == ["a", "b", "once", "c", "d", "e"]
    assert found[4] == "always: 3 workers died over it (exit code 9); see memory and --batch-seconds"


def test_a_worker_that_cannot_work_stops_the_job(tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"worker \d failed; expected it to work; this is a mistake of ours:(.|\n)*a mist"
    ):
        outcomes(tmp_path, ["a", "raise"])
    (tmp_path / "refuse").touch()
    with pytest.raises(ValueError, match="not a run folder; expected one"):
        outcomes(tmp_path, ["a"])
    (tmp_path / "refuse").rename(tmp_path / "stillborn")
    with pytest.raises(EngineError, match=r"worker \d died at its start \(exit code 3\); expected it to load the run"):
        outcomes(tmp_path, ["a"])


@pytest.mark.slow
def test_two_workers_change_nothing(run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    start(job(run, audio, out=tmp_path / "out", num_workers=2))
    assert files(tmp_path / "out") == unbroken


@pytest.mark.slow
def test_ray_changes_nothing(run: Path, audio: Path, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    if importlib.util.find_spec("ray") is None:  # the engine itself imports it, once its switches are set
        pytest.skip("needs the extra: pip install -e '.[ray]'")
    start(job(run, audio, out=tmp_path / "out", num_workers=2, engine="ray"))
    assert files(tmp_path / "out") == unbroken
