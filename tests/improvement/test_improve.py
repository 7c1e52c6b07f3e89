"""What to do next about a run: suspects found and marked, the log's diagnosis, and bad input that is said."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.improve import main
from asr.improvement.advice import Advice, by_gain
from asr.improvement.hearing import ImprovementError, Listed, judge_transcripts
from asr.improvement.history import History, diagnose, read_history
from asr.improvement.sound import measure_sound
from asr.improvement.suspects import rank_suspects
from asr.runs.folder import RunFolder
from tests.support.small_run import small_config, write_recordings, write_small_run
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import write_split


def write_data(folder: Path, texts: list[str]) -> Path:
    paths = write_recordings(folder, [1.0] * len(texts))
    named = enumerate(zip(paths, texts, strict=True))
    write_manifest(folder / "m.jsonl", [Utterance(f"u{n}", str(path), 1.0, text) for n, (path, text) in named])
    return folder / "m.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_small_run(tmp_path / "run")


def test_swapped_transcripts_are_the_most_suspicious(tmp_path: Path) -> None:
    utterances = list(Manifest.read(write_split(tmp_path, "tones", 30, seed=5)))
    texts = [each.text for each in utterances]
    other = next(place for place in range(1, 30) if texts[place] != texts[0])
    utterances[0], utterances[other] = (
        replace(utterances[0], text=texts[other]),
        replace(utterances[other], text=texts[0]),
    )
    judged, unread = judge_transcripts(train_tone_recognizer(), [Listed(each, "m") for each in utterances])
    assert not unread
    first = {each.judged.utterance.id for each in rank_suspects(judged)[:2]}
    assert first == {utterances[0].id, utterances[other].id}


def test_sound_is_measured() -> None:
    time = np.arange(16_000) / 16_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    round_one, flat = (
        measure_sound(each.astype(np.float32), sample_rate=16_000) for each in (tone, np.clip(tone, -0.3, 0.3))
    )
    assert round_one.clipped < 0.001 < 0.2 < flat.clipped
    assert round_one.bandwidth_hz < 1500
    assert round_one.level_db == pytest.approx(-9.03, abs=0.05)
    assert measure_sound(np.zeros(0, np.float32), sample_rate=16_000).clipped == 0


def test_a_run_leaves_page_figures_and_marks_that_stay(run: RunFolder, tmp_path: Path, capsys) -> None:
    manifest = write_data(tmp_path / "data", ["stop", "<b>play</b>", "play some music", "stop"])
    given = [str(run.path), "--manifest", str(manifest), "--dev", str(manifest), "--review", "0.5"]
    assert main(given) == 0
    folder = run.path / "improvement"
    page = (folder / "improvement.html").read_text()
    assert "data:audio/mpeg" in page
    assert "<b>play</b>" not in page
    results = json.loads((folder / "results.json").read_text())
    assert results["num_judged"] == 4
    assert [each["part"] for each in results["remarks"]] == ["course of the training"]
    table = folder / "suspects.csv"
    assert f"earshot improve {run.path} --exclude {table}" in "".join(each["do"] for each in results["advice"])
    rows = list(csv.DictReader(table.open()))
    rows[0]["mark"] = "x"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main([*given[:5], "--review", "0.25"]) == 0
    assert "1 marks of the earlier suspects.csv were kept" in capsys.readouterr().out
    assert main([str(run.path), "--exclude", str(table)]) == 0
    left = Manifest.read(folder / "without_marked" / "0_m.jsonl")
    assert {each.id for each in left} == {f"u{n}" for n in range(4)} - {rows[0]["id"]}


def test_a_missing_recording_is_named_and_the_others_go_on(run: RunFolder, tmp_path: Path, capsys) -> None:
    manifest = write_data(tmp_path / "data", ["stop", "stop", "play"])
    (tmp_path / "data" / "01.wav").unlink()
    assert main([str(run.path), "--manifest", str(manifest), "--dev", str(tmp_path / "none.jsonl")]) == 4
    said = capsys.readouterr().out
    assert "not read: u1" in said
    assert "what is confused on dev" in said


def test_nothing_to_look_at_is_an_error(run: RunFolder, tmp_path: Path) -> None:
    absent = str(tmp_path / "none.jsonl")
    with pytest.raises(ImprovementError, match=r"suspect transcripts: .*no such file"):
        main([str(run.path), "--manifest", absent, "--dev", absent])


def test_a_model_without_ctc_is_refused() -> None:
    recognizer = train_tone_recognizer()
    for head in recognizer.model.heads:
        head.scores_frames = False  # type: ignore[misc]
    with pytest.raises(ImprovementError, match="no CTC head"):
        judge_transcripts(recognizer, [])


def test_bad_tables_of_marks_are_refused(run: RunFolder, tmp_path: Path) -> None:
    table = tmp_path / "suspects.csv"
    for text, match in (
        ("a,b\n1,2\n", "no column mark"),
        ("mark,manifest,id\n,m,u1\n", "no row is marked"),
        (f"mark,manifest,id\nx,{write_data(tmp_path / 'data', ['stop'])},u9\n", "the marked id 'u9' is not in"),
    ):
        table.write_text(text)
        with pytest.raises(ImprovementError, match=match):
            main([str(run.path), "--exclude", str(table)])


def titles(history: History, train_wer: float | None = None, dev_wer: float | None = None) -> list[str]:
    return [each.title for each in diagnose(history, small_config(), train_wer=train_wer, dev_wer=dev_wer)]


def test_the_log_is_diagnosed() -> None:
    calm = History((2.0, 1.0, 0.9), (1.0,) * 10, ())
    assert titles(calm) == []
    assert titles(replace(calm, losses=(1.0, 3.0))) == ["The training diverged"]
    assert titles(replace(calm, norms=(9.0,) * 10)) == ["Most gradients are clipped"]
    dev = [{"dev/wer": rate, "dev/loss": 1.0} for rate in (0.9, 0.7, 0.5, 0.4)]
    assert titles(replace(calm, dev=tuple(dev))) == ["Too few updates"]
    dev = [{"dev/wer": 0.1, "dev/loss": loss} for loss in (1.0, 0.5, 0.6, 0.9)]
    assert titles(replace(calm, dev=tuple(dev))) == ["Overfitting: the loss of dev rises"]
    blank = replace(calm, dev=({"dev/wer": 1.0, "dev/blank_share": 0.99},))
    assert titles(blank) == ["CTC is on its plateau of blanks"]
    assert titles(calm, 0.01, 0.2) == ["Overfitting: training data are known by heart"]
    assert titles(calm, 0.3, 0.31) == ["Underfitting: training data are not learnt either"]


def test_a_broken_log_is_named_and_a_cut_last_line_is_not(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"train/loss": 1.5}\n{"dev/')
    assert read_history(tmp_path).losses == (1.5,)
    log.write_text('no\n{"train/loss": 1.5}\n')
    with pytest.raises(ImprovementError, match=r"metrics.jsonl:1: not JSON"):
        read_history(tmp_path)


def test_the_largest_gain_comes_first() -> None:
    advice = [Advice("a", "", "", None, ""), Advice("b", "", "", 0.1, ""), Advice("c", "", "", 0.2, "")]
    assert [each.title for each in by_gain(advice)] == ["c", "b", "a"]
