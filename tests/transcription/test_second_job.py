"""asr/transcription/earlier_results.py: a second job in a folder keeps earlier results, or is refused."""

import io
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.transcribe import main
from asr.transcription.earlier_results import EarlierResultsError
from asr.transcription.job import run_job
from asr.transcription.progress import JobProgress
from tests.support.small_run import write_recordings, write_small_run
from tests.transcription.test_job import files, job, lines, start


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """day1/{a,c}.wav, day2/{b,d}.wav, day3/c.wav with other words than day1's."""
    one, two, three, four, five = write_recordings(tmp_path / "all", [0.6, 0.9, 0.5, 0.7, 1.1])
    for day, recordings in {"day1": {"a": one, "c": two}, "day2": {"b": three, "d": four}, "day3": {"c": five}}.items():
        (tmp_path / "days" / day).mkdir(parents=True)
        for name, path in recordings.items():
            shutil.copy(path, tmp_path / "days" / day / f"{name}.wav")
    return tmp_path / "days"


def test_other_recordings_are_kept_beside(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out))
    first = files(out)
    result = start(job(run, days / "day2", out=out, format=["srt"]))
    both = files(out)
    assert [line["id"] for line in lines(out)] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    kept = first.pop("transcripts.jsonl").splitlines()
    assert first.items() <= both.items()
    assert set(kept) <= set(both["transcripts.jsonl"].splitlines())
    assert (result.report.num_recordings, result.report.num_kept) == (2, 2)
    assert "2 more in the same place, of other jobs or no longer there: kept" in result.report.summary()
    # The first goes on from where it was, and changes nothing of the second.
    again = start(job(run, days / "day1", out=out))
    assert (again.report.num_resumed, again.report.num_kept) == (2, 2)
    assert files(out) == both


def test_another_recording_of_the_same_name_is_refused(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out))
    before = files(out)
    message = r"'c.wav' there is .*day1/c.wav, by an earlier job, and here .*day3/c.wav; .* --overwrite to replace"
    with pytest.raises(EarlierResultsError, match=message):
        start(job(run, days / "day3", out=out))
    assert files(out) == before
    # One job over both tells them apart; asked to, the second takes the place of the first.
    start(job(run, days, out=tmp_path / "whole"))
    assert (tmp_path / "whole" / "day3" / "c.srt").is_file()
    start(job(run, days / "day3", out=out, overwrite=True))
    found = {line["id"]: line for line in lines(out)}
    assert list(found) == ["a.wav", "c.wav"]
    assert found["c.wav"]["audio_filepath"] == str(days / "day3" / "c.wav")
    assert (out / "c.txt").read_bytes() == (tmp_path / "whole" / "day3" / "c.txt").read_bytes() != before["c.txt"]


def test_another_stretch_under_the_same_id_is_refused(run: Path, days: Path, tmp_path: Path) -> None:
    wav, out = str(days / "day1" / "c.wav"), tmp_path / "out"
    for name, offset in (("first", 0.0), ("second", 0.4)):
        write_manifest(tmp_path / f"{name}.jsonl", [Utterance("1", wav, 0.4, offset=offset)])
    start(job(run, tmp_path / "first.jsonl", out=out))
    with pytest.raises(EarlierResultsError, match=r"c.wav from 0 s for 0.4 s, .* here .*c.wav from 0.4 s for 0.4 s;"):
        start(job(run, tmp_path / "second.jsonl", out=out))


def test_a_recording_that_was_moved_is_the_same(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out))
    (days / "day1").rename(days / "moved")
    (days / "linked").symlink_to(days / "moved")
    for folder in ("moved", "linked"):
        assert start(job(run, days / folder / "a.wav", out=out)).report.num_resumed == 1
    (days / "moved" / "c.wav").write_bytes((days / "day3" / "c.wav").read_bytes())
    with pytest.raises(EarlierResultsError, match=r"'c.wav' there is"):
        start(job(run, days / "moved", out=out))


def test_a_recording_that_is_no_longer_there_keeps_its_result(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out))
    before = files(out)
    (days / "day1" / "c.wav").unlink()
    assert start(job(run, days / "day1", out=out)).report.num_kept == 1
    assert files(out) == before


def test_other_formats_are_added(run: Path, days: Path, tmp_path: Path) -> None:
    """Whatever the order; and what changes is written in all of them."""
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out, format=["txt"]))
    result = start(job(run, days / "day1", out=out, format=["srt", "vtt"]))
    assert result.report.num_resumed == 2
    assert {path.name for path in out.glob("c.*")} == {"c.txt", "c.srt", "c.vtt"}
    shutil.copy(days / "day3" / "c.wav", days / "day1" / "c.wav")
    start(job(run, days / "day1", out=out, format=["jsonl"]))
    start(job(run, days / "day1", out=tmp_path / "new", format=["txt", "srt", "vtt"]))
    assert files(out) == files(tmp_path / "new")


def test_other_settings_are_refused_and_say_what_differs(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(job(run, days / "day1", out=out))
    before = files(out)
    message = r"'a.wav' and 1 more were transcribed with other settings \(channel: mix there, 0 here\); expected the"
    with pytest.raises(EarlierResultsError, match=message):
        start(job(run, days / "day1", out=out, channel=0))
    with pytest.raises(EarlierResultsError, match=r"other settings \(another segmentation\)"):
        start(job(run, days / "day1", out=out, segmentation={"longest": 6.0, "overlap": 1.0}))
    assert files(out) == before
    # Of other recordings they may be others: each line says by which it was transcribed, and the report what they are.
    start(job(run, days / "day2", out=out, channel=0))
    digests = {line["id"]: line["settings"] for line in lines(out)}
    assert digests["a.wav"] != digests["b.wav"]
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["channel"] == 0
    assert report["other_settings"][digests["a.wav"]]["channel"] == "mix"


def test_a_place_that_another_jobs_recording_has_is_left_to_it(run: Path, days: Path, tmp_path: Path) -> None:
    import soundfile

    out = tmp_path / "out"
    start(job(run, days / "day1", out=out, format=["txt"]))
    before = files(out)
    samples, rate = soundfile.read(days / "day3" / "c.wav")
    soundfile.write(days / "day3" / "c.flac", samples, rate)
    (days / "day3" / "c.wav").unlink()
    for folder in ("day3", "day1", "day3"):
        start(job(run, days / folder, out=out, format=["txt"]))
    assert (out / "c.txt").read_bytes() == before["c.txt"]
    assert (out / "c.flac.txt").is_file()


def test_one_file_for_all_is_never_replaced_unasked(run: Path, days: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    options = ["--output", str(out), "--num-workers", "1"]
    assert main([str(run), str(days / "day1"), *options]) == 0
    first = out.read_text()
    with pytest.raises(EarlierResultsError, match=r"all.jsonl: there already, and holds other recordings \(line 1: a"):
        main([str(run), str(days / "day2"), *options])
    with pytest.raises(EarlierResultsError, match=r"holds what other settings gave \(line 1\)"):
        main([str(run), str(days / "day1"), *options, "--channel", "0"])
    assert out.read_text() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "all.jsonl", "days"]
    # The same command again, also with more recordings; or as asked.
    shutil.copy(days / "day2" / "b.wav", days / "day1")
    assert main([str(run), str(days / "day1"), *options]) == 0
    assert set(first.splitlines()) < set(out.read_text().splitlines())
    assert main([str(run), str(days / "day3"), *options, "--overwrite"]) == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["c.wav"]


def test_files_of_others_at_the_jobs_own_names_are_not_replaced(run: Path, days: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "all.txt", tmp_path / "out"
    text.write_text("my notes\n")
    with pytest.raises(EarlierResultsError, match=r"all.txt: there already, and holds transcripts; expected a free"):
        main([str(run), str(days / "day1"), "--output", str(text)])
    out.mkdir()
    (out / "transcripts.jsonl").write_text('{"id": "mine"}\n')
    with pytest.raises(EarlierResultsError, match=r"holds what no job has written \(line 1\)"):
        start(job(run, days / "day1", out=out))
    (out / "transcripts.jsonl").rename(out / "report.json")
    with pytest.raises(EarlierResultsError, match=r"report.json: there already, and written by no job"):
        start(job(run, days / "day1", out=out))
    assert (out / "report.json").read_text() == '{"id": "mine"}\n'
    assert text.read_text() == "my notes\n"
    assert main([str(run), str(days / "day1"), "--output", str(text), "--overwrite", "--num-workers", "1"]) == 0
    assert text.read_text().startswith("a.wav\t")


def test_a_recording_that_returns_to_a_watched_folder(
    run: Path, days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was transcribed and taken out of the folder; its result is kept meanwhile, and is its own when it is back."""
    inbox, out = days / "day1", tmp_path / "out"
    for path in inbox.iterdir():
        os.utime(path, (1, 1))
    start(job(run, inbox, out=out))
    before = files(out)
    (inbox / "c.wav").rename(tmp_path / "c.wav")
    looks: list[bool] = []

    def wait(_seconds: float) -> None:
        looks.append((out / "c.txt").exists())
        if len(looks) > 1:
            raise KeyboardInterrupt
        (tmp_path / "c.wav").rename(inbox / "c.wav")
        os.utime(inbox / "c.wav", (time.time() - 60, time.time() - 60))

    monkeypatch.setattr("asr.transcription.job.time.sleep", wait)
    result = start(job(run, inbox, out=out, watch=True, watching={"settle_seconds": 0.0}))
    assert (looks, result.report.num_errors) == ([True, True], 0)
    assert files(out) == before


def test_damaged_records_are_named_and_their_lines_are_kept(run: Path, days: Path, tmp_path: Path) -> None:
    """A record of another job's recording that cannot be read took its lines with it, without a word."""
    out, said = tmp_path / "out", io.StringIO()
    start(job(run, days / "day1", out=out))
    first = files(out)
    path = out / ".transcribe" / "journal.jsonl"
    damaged = path.read_bytes().replace(b'"pred_text"', b'"pred_test"', 1)
    path.write_bytes(damaged)
    run_job(job(run, days / "day2", out=out), progress=JobProgress(Console(file=said)))
    copy = out / "transcripts.jsonl.before-damage"
    assert "warning: 1 damaged or foreign records are passed over" in said.getvalue()
    assert f"all lines of before are kept in {copy}\n{path}:1: its checksum or its form is wrong" in said.getvalue()
    assert copy.read_bytes() == first["transcripts.jsonl"]
    assert path.read_bytes().startswith(damaged)
    result = start(job(run, days / "day1", out=out))
    assert result.report.num_errors == 0
    assert copy.read_bytes() == first.pop("transcripts.jsonl")
    assert [line["id"] for line in lines(out)] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert first.items() <= files(out).items()
