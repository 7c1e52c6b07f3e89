"""The inputs of ../shared/cases, each of which once went wrong without a word: what the commands make of them now.

Each stands for a kind of fault that has tests with inputs of their own elsewhere; these are the reported ones.
"""

import json
import runpy
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from asr.audio.reading import write_audio
from asr.grammar.parsing import SentenceParser
from asr.grammar.templates import load_grammar
from asr.transcribe import main as transcribe
from asr.transcription.earlier_results import EarlierResultsError
from asr.understanding import values
from data_prep import folder, kaldi, nemo
from data_prep.entries import CorpusError
from data_prep.voices import Delivery, espeak
from tests.support.small_run import write_recordings, write_small_run

WHOLE = ["--split-by", "id", "--test-share", "0", "--dev-share", "0"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def texts(out: Path, split: str = "train") -> dict[str, str]:
    return {line["id"]: line["text"] for line in read_lines(out / f"{split}.jsonl")}


def dropped(out: Path) -> dict[str, str]:
    return {line["id"]: line["reason"] for line in read_lines(out / "dropped.jsonl")}


def prepare_table(cases: Path, name: str, out: Path) -> int:
    return folder.main([str(cases / "15" / "t"), str(out), "--transcripts", name, *WHOLE])


def check(path: Path, *, seconds: float) -> str:
    """What `commands check` says, which it says within so many seconds of wall time, start included."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "asr.commands", "check", str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert time.perf_counter() - start < seconds
    return " ".join((ended.stdout + ended.stderr).split())


def test_01_a_line_break_in_a_quoted_cell_stays_in_it(shared_cases: Path, out: Path) -> None:
    assert folder.main([str(shared_cases / "01" / "corpus"), str(out), "--transcripts", "t.csv", *WHOLE]) == 0
    found = texts(out)
    assert len(found) == 8
    assert found["r0"] == "turn on the light"
    assert found["r1"] == "she said go now"
    assert (found["r5"], found["r7"]) == ("line sep next", "tab here")
    assert not dropped(out)


def test_03_the_split_is_kept_and_the_stray_file_is_named(shared_cases: Path, out: Path, capsys) -> None:
    assert folder.main([str(shared_cases / "03" / "corpus"), str(out)]) == 0
    for split in ("train", "dev", "test"):
        assert list(texts(out, split)) == [f"{split}/x{number}" for number in range(4)]
    assert dropped(out) == {"sample": "beside the folders of the splits"}
    assert "left out: 1 recordings (sample)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("comma.csv", r"comma\.csv:2: 3 cells, more than the 2 of the header"),
        ("openq.csv", r"openq\.csv:2: a quote opens here and does not close"),
        ("semi.csv", r"no column audio, text; found audio;text; its cells are parted by ';': expected commas"),
        ("sp2.csv", r"no utterance left; of 2 dropped the first is  wav/a: no such file: there are blanks around its"),
        (
            "dup.csv",
            r"first is wav/a: listed with different transcripts: "
            r"'turn on' \(dup\.csv:2\) and 'turn off' \(dup\.csv:3\)",
        ),
    ],
)
def test_15_a_table_that_is_not_clear_is_refused(shared_cases: Path, out: Path, name: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        prepare_table(shared_cases, name, out)
    assert not (out / "train.jsonl").exists()


def test_15_tables_that_are_read(shared_cases: Path, out: Path) -> None:
    assert prepare_table(shared_cases, "q.tsv", out / "q") == 0
    assert texts(out / "q") == {"wav/a": "he said hi", "wav/b": "x"}
    assert prepare_table(shared_cases, "sp.csv", out / "sp") == 0
    assert texts(out / "sp") == {"wav/a": "turn on"}
    assert prepare_table(shared_cases, "back.csv", out / "back") == 4
    assert (texts(out / "back"), dropped(out / "back")) == ({"wav/b": "x"}, {"wav\\a": "no such file"})


def test_15_kaldi_segments_that_end_at_minus_one(shared_cases: Path, out: Path) -> None:
    assert kaldi.main([str(shared_cases / "15" / "k"), str(out), *WHOLE]) == 0
    assert texts(out) == {"a-1": "turn on now", "a-2": "second", "b-1": "café au lait"}
    (second,) = (line for line in read_lines(out / "train.jsonl") if line["id"] == "a-2")
    assert (second["offset"], round(second["duration"], 5)) == (0.3, 0.27075)
    assert dropped(out) == {"c-1": "past the recording's end"}


def test_15_several_offsets_in_one_file(shared_cases: Path, out: Path) -> None:
    assert nemo.main([str(shared_cases / "15" / "n"), str(out), *WHOLE]) == 0
    lines = read_lines(out / "train.jsonl") + read_lines(out / "dropped.jsonl")
    assert [(line["text"], line.get("offset", 0), line["duration"]) for line in lines] == [
        ("one two", 0, 0.5),
        ("x", 0, 0.4),
        ("y", 0.2, 0.1),
    ]
    assert len({line["id"] for line in lines}) == 3


def test_16_stray_files_and_underscored_folders_are_no_words(shared_cases: Path, out: Path, capsys) -> None:
    assert folder.main([str(shared_cases / "16" / "corpus"), str(out), "--transcripts", "folder", *WHOLE]) == 0
    assert texts(out) == {"turn-off/a": "turn off", "turn_on/a": "turn on"}
    assert set(dropped(out)) == {"stray", "_background_noise_/n"}
    said = capsys.readouterr().out
    assert "stray" in said
    assert "_background_noise_" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seconds", "said"),
    [
        ("10/g.yaml", 20, "'eighteeneight' is 'eighteen' and 'eight' in one word, and 503 more in this way"),
        ("11/clock.yaml", 20, "fifteen / fifty: wake me at"),
        ("18/list600.yaml", 20, "bababa / babapa: play bababa / play babapa"),
    ],
)
def test_grammars_are_checked_in_seconds(shared_cases: Path, name: str, seconds: float, said: str) -> None:
    """Two to three seconds each of a processor (it was minutes); the rest is a busy machine's."""
    assert said in check(shared_cases / name, seconds=seconds)


def test_13_values_stay_what_is_written(shared_cases: Path) -> None:
    parser = SentenceParser(load_grammar(shared_cases / "13" / "y.yaml"))
    fixed = {"state": "off", "code": "0123", "when": "07:30"}
    for said, value in {"noon": "12:00", "half past seven": "07:30", "seven thirty": "19:30"}.items():
        (meaning,) = parser.parse(f"wake me at {said}")
        assert meaning.slots == {"time": value, **fixed}
    (lit,) = parser.parse("please turn desk lamp off please")
    assert lit.slots == {"name": "desk lamp", "state": "off"}
    assert parser.parse("turn garage door off") == []
    assert load_grammar(shared_cases / "13" / "no.yaml").language == "no"


@pytest.mark.slow
def test_13_values_are_transcribed_as_they_are_written(shared_cases: Path, tmp_path: Path, out: Path) -> None:
    run = ROOT / "recipes" / "barista_bilstm_ctc" / "model"
    orders = {"f1": "wake me at half past seven", "m3": "please turn desk lamp off"}
    for speaker, order in orders.items():
        samples, sample_rate = espeak.load().speak(order, Delivery(speaker, "en-us", 140, 50))
        write_audio(tmp_path / "said" / f"{speaker}.wav", samples, sample_rate=sample_rate)
    grammar = str(shared_cases / "13" / "y.yaml")
    job = [str(run), str(tmp_path / "said"), "--commands", grammar, "--output-dir", str(out), "--device", "cpu"]
    assert transcribe(job) == 0
    assert [line["command"]["slots"] for line in read_lines(out / "transcripts.jsonl")] == [
        {"time": "07:30", "state": "off", "code": "0123", "when": "07:30"},
        {"name": "desk lamp", "state": "off"},
    ]


def test_32_a_second_job_keeps_the_first_ones_results(tmp_path: Path, out: Path) -> None:
    """The repro.sh of the case: days of recordings, two of which have one name; then another format."""
    run = write_small_run(tmp_path / "run").path
    first, second, third = write_recordings(tmp_path / "all", [0.5, 0.6, 0.7])
    for day, path, name in (("day1", first, "a"), ("day1", second, "c"), ("day2", third, "c")):
        (tmp_path / day).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / day / f"{name}.wav")
    options = ["--output-dir", str(out), "--device", "cpu", "--format"]
    assert transcribe([str(run), str(tmp_path / "day1"), *options, "srt"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".srt", ".jsonl")}
    with pytest.raises(EarlierResultsError, match=r"'c\.wav' there is .*day1/c\.wav, by an earlier job"):
        transcribe([str(run), str(tmp_path / "day2"), *options, "srt"])
    assert transcribe([str(run), str(tmp_path / "day1"), *options, "txt"]) == 0
    assert {name: (out / name).read_bytes() for name in before} == before
    assert len(list(out.glob("*.txt"))) == 2


def test_33_values_are_compared_as_values(shared_cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_name = types.ModuleType("asr.commands.scoring")  # where the reported program found it
    old_name.same_value = values.same_value  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asr.commands.scoring", old_name)
    runpy.run_path(str(shared_cases / "33" / "sign.py"))
    assert not values.same_value("C#", "C")


def test_33_ranges_give_exact_decimals(shared_cases: Path) -> None:
    parser = SentenceParser(load_grammar(shared_cases / "33" / "multiplier.yaml"))
    assert [repr(each.slots["g"]) for each in parser.parse("set gain to three")] == ["0.3"]
    assert [repr(each.slots["h"]) for each in parser.parse("dim to forty seven")] == ["119.85"]
