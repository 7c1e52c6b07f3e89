"""python -m asr.evaluate: figures that add up, a manifest of results, and a page that needs nothing else."""

import base64
import html.parser
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from torchaudio.functional import edit_distance

import asr.evaluation.report
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.evaluate import main
from asr.evaluation.scoring import EvaluationError
from asr.recognizer import Recognizer
from tests.bench.decoding_table import hallucinations
from tests.support.small_run import write_recordings, write_small_run

TEXTS = ["turn on", "<b>stop</b> & go", "turn on", "", "play é", "turn on"]
SPEAKERS = ["anna", 'ben "b"', "anna", None, "", "anna"]
DURATIONS = [0.8, 1.5, 0.5, 1.0, 2.0, 1.2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    paths = write_recordings(folder / "wav", DURATIONS)
    write_manifest(
        folder / "test.jsonl",
        (
            Utterance(
                id=f"u{index}",
                audio_filepath=str(path),
                duration=DURATIONS[index],
                text=TEXTS[index],
                speaker=SPEAKERS[index],
                extra={"accuracy": index},
            )
            for index, path in enumerate(paths)
        ),
    )
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def output(run: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert main([str(run), str(manifest), "--output-dir", str(folder)]) == 0
    return folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_each_utterance_has_its_transcript_and_counts(run: Path, manifest: Path, output: Path) -> None:
    recognizer = Recognizer.load(run)
    written, given = list(Manifest.read(output / "utterances.jsonl")), list(Manifest.read(manifest))
    assert [item.id for item in written] == [item.id for item in given]
    for item, original in zip(written, given, strict=True):
        assert (item.text, item.speaker, item.duration) == (original.text, original.speaker, original.duration)
        assert item.audio_filepath == original.audio_filepath
        assert item.extra["accuracy"] == original.extra["accuracy"]
        heard = recognizer.transcribe(original.audio_filepath).text
        assert item.extra["pred_text"] == heard
        words = item.extra["word_errors"]
        assert words["substitutions"] + words["deletions"] + words["insertions"] == edit_distance(
            item.text.split(), heard.split()
        )


def test_the_figures_are_those_of_the_utterances(output: Path) -> None:
    figures, items = results(output), list(Manifest.read(output / "utterances.jsonl"))
    for key, name in (("wer", "word_errors"), ("cer", "character_errors")):
        totals = {kind: sum(item.extra[name][kind] for item in items) for kind in items[0].extra[name]}
        assert {kind: figures[key][kind] for kind in totals} == totals
        length = totals["hits"] + totals["substitutions"] + totals["deletions"]
        errors = totals["substitutions"] + totals["deletions"] + totals["insertions"]
        assert figures[key]["rate"] == pytest.approx(errors / length)
        assert figures[key]["low"] <= figures[key]["rate"] <= figures[key]["high"]
    assert (figures["num_utterances"], figures["num_failed"]) == (6, 0)
    assert figures["duration"] == pytest.approx(sum(DURATIONS))
    assert [(each["kind"], each["num_words"], each["characters"]) for each in figures["form_faults"]] == [
        ("punctuation", 2, ["/", "<", ">", "&"]),
        ("other characters", 2, ["b", "é"]),
    ]


def test_groups_are_speakers_and_repeated_transcripts(output: Path) -> None:
    figures = results(output)
    assert {name: group["num_utterances"] for name, group in figures["speakers"].items()} == {
        "anna": 3,
        'ben "b"': 1,
        "": 1,
    }
    assert {name: group["num_utterances"] for name, group in figures["commands"].items()} == {"turn on": 3}
    assert figures["commands"]["turn on"]["hits"] + figures["commands"]["turn on"]["substitutions"] <= 6


def test_the_same_evaluation_gives_the_same_files(run: Path, manifest: Path, output: Path, tmp_path: Path) -> None:
    assert main([str(run), str(manifest), "--output-dir", str(tmp_path), "--batch-size", "2"]) == 0
    for name in ("results.json", "report.html"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_the_default_place_names_the_manifest(run: Path, manifest: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert main([str(copy), str(manifest), "--audio", "none"]) == 0
    assert (copy / "evaluations" / f"{manifest.parent.name}-test" / "report.html").is_file()


def test_manifests_of_one_name_in_folders_of_one_name_keep_a_place_each(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    paths = [tmp_path / top / "data" / "test.jsonl" for top in ("one", "two")]
    for path in paths:
        path.parent.mkdir(parents=True)
        lines = manifest.read_text().splitlines()
        records = [json.loads(line) for line in lines]
        for record in records:
            record["audio_filepath"] = str(manifest.parent / record["audio_filepath"])
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    for path in (*paths, paths[0]):
        main([str(copied), str(path)])
    found = sorted(each.parent.name for each in (copied / "evaluations").glob("*/results.json"))
    assert found == ["data-test", "two-data-test"]
    assert results(copied / "evaluations" / "data-test")["manifest"] == str(paths[0])
    assert results(copied / "evaluations" / "two-data-test")["manifest"] == str(paths[1])


def break_recordings(manifest: Path, folder: Path, names: list[str]) -> Path:
    copy = shutil.copytree(manifest.parent, folder / "corpus")
    for name in names:
        (copy / "wav" / name).write_bytes(b"not audio")
    return copy / "test.jsonl"


def test_a_broken_recording_is_named_and_the_rest_scored(
    run: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = break_recordings(manifest, tmp_path, ["01.wav"])
    assert main([str(run), str(broken), "--output-dir", str(tmp_path / "out")]) == 4
    figures = results(tmp_path / "out")
    assert (figures["num_utterances"], figures["num_failed"]) == (5, 1)
    assert figures["failures"][0]["id"] == "u1"
    assert "01.wav: not readable as audio" in figures["failures"][0]["error"]
    assert "not scored: u1: " in capsys.readouterr().out
    assert "One recording could not be read" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_readable_is_an_error(run: Path, manifest: Path, tmp_path: Path) -> None:
    broken = break_recordings(manifest, tmp_path, [f"{number:02d}.wav" for number in range(6)])
    with pytest.raises(EvaluationError, match=r"none of its 6 utterances could be read.*00\.wav"):
        main([str(run), str(broken), "--output-dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_only_empty_references_have_no_rate(run: Path, manifest: Path, tmp_path: Path, capsys) -> None:
    silent = [Utterance(item.id, item.audio_filepath, item.duration) for item in list(Manifest.read(manifest))[:2]]
    write_manifest(tmp_path / "silent.jsonl", silent)
    assert main([str(run), str(tmp_path / "silent.jsonl"), "--output-dir", str(tmp_path)]) == 0
    figures = results(tmp_path)
    assert figures["wer"]["rate"] is None
    assert figures["wer"]["insertions"] > 0
    found, minutes = figures["hallucinated"], sum(item.duration for item in silent) / 60
    assert (found["num_utterances"], found["num_words"]) == (2, figures["wer"]["insertions"])
    assert found["minutes"] == pytest.approx(minutes)
    assert f"{figures['wer']['insertions'] / minutes:.2f} a minute" in capsys.readouterr().out
    assert "–" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_hallucinated_words_are_shown_by_either_key() -> None:
    """Results that were written before 2026-11-29 say "invented"."""
    found = {"num_utterances": 2, "num_words": 3, "minutes": 1.5, "words_a_minute": 2.0}
    wer = dict.fromkeys(("hits", "substitutions", "deletions"), 0)
    shown = hallucinations({"new": {"wer": wer, "hallucinated": found}, "old": {"wer": wer, "invented": found}})
    assert shown == [f"{name}: 3 words hallucinated in 1.5 min, 2.00 a minute" for name in ("new", "old")]


class Page(html.parser.HTMLParser):
    """The parts of a report that matter, and whether its tags nest."""

    VOID = frozenset({"meta", "input", "br", "wbr", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_report_shows_every_utterance_and_needs_nothing_else(output: Path) -> None:
    report = page(output)
    rows = [item for item in report.all("li") if "data-number" in item]
    assert [row["data-number"] for row in rows] == [str(number) for number in range(6)]
    assert rows[1]["data-speaker"] == 'ben "b"'
    assert rows[1]["data-text"].startswith("u1\n<b>stop</b> & go\n")
    figures = results(output)["wer"]
    assert len(report.all("del")) == figures["substitutions"] + figures["deletions"] + 1  # one in the legend
    assert len(report.all("ins")) == figures["substitutions"] + figures["insertions"] + 1
    assert report.all("b") == []  # what a transcript holds is text
    for _, attributes in report.tags:
        for name in ("src", "href", "data-audio"):
            assert attributes.get(name, "data:").startswith("data:")
    assert f"{100 * figures['rate']:.2f}\u202f%" in report.text


def test_the_report_can_be_used_by_everybody(output: Path) -> None:
    report = page(output)
    assert report.all("html") == [{"lang": "en"}]
    assert len(report.all("h1")) == 1
    for button in report.all("button"):
        if button.get("class") == "play":
            assert button["aria-label"].startswith("Play u")
    assert all(heading.get("scope") for heading in report.all("th"))
    assert {control["name"] for control in report.all("select") + report.all("input")} == {
        "text",
        "kind",
        "speaker",
        "order",
    }


def test_embedded_audio_is_the_recording(output: Path) -> None:
    players = [button["data-audio"] for button in page(output).all("button") if "data-audio" in button]
    assert len(players) == 6
    for player, duration in zip(players, DURATIONS, strict=True):
        data = base64.b64decode(player.removeprefix("data:audio/mpeg;base64,"))
        samples, sample_rate = soundfile.read(io.BytesIO(data))
        assert len(samples) / sample_rate == pytest.approx(duration, abs=0.1)
        assert abs(samples).max() > 0.05


def test_audio_can_be_linked_or_left_out(run: Path, manifest: Path, tmp_path: Path) -> None:
    main([str(run), str(manifest), "--output-dir", str(tmp_path / "link"), "--audio", "link"])
    players = [button["data-audio"] for button in page(tmp_path / "link").all("button") if "data-audio" in button]
    assert players[0] == f"file://{manifest.parent}/wav/00.wav#t=0,0.8"
    main([str(run), str(manifest), "--output-dir", str(tmp_path / "none"), "--audio", "none"])
    assert not [button for button in page(tmp_path / "none").all("button") if "data-audio" in button]


def test_long_and_too_many_recordings_stay_out_of_the_page(
    run: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asr.evaluation.report, "LONGEST_EMBEDDED", 1.4)
    monkeypatch.setattr(asr.evaluation.report, "MAX_EMBEDDED_BYTES", 12_000)
    main([str(run), str(manifest), "--output-dir", str(tmp_path), "--max-in-report", "5"])
    report = page(tmp_path)
    assert len([item for item in report.all("li") if "data-number" in item]) == 5
    assert "The 5 with the most word errors of 6" in report.text
    players = [button["data-audio"] for button in report.all("button") if "data-audio" in button]
    assert 0 < len(players) < 4
    assert sum(map(len, players)) <= 12_000


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys, asr.evaluate\n"
        "try: asr.evaluate.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'rich', 'pydantic', 'jinja2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m asr.evaluate" in done.stdout


def test_references_that_contradict_each_other_are_named(run: Path, manifest: Path, tmp_path: Path, capsys) -> None:
    first, second, *_ = Manifest.read(manifest)
    lines = [first, second, replace(first, id="again", text="something else")]
    write_manifest(tmp_path / "twice.jsonl", lines)
    assert main([str(run), str(tmp_path / "twice.jsonl"), "--output-dir", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    named = f"'{first.text}' ({first.id}) and 'something else' (again): one of them counts as wrong"
    assert f"twice.jsonl: its recording is listed with different transcripts: {named}" in shown
    assert results(tmp_path / "out")["num_utterances"] == 3
