"""A grammar in the recogniser and the programs: understood commands, rejected ones, and figures that add up."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from asr import evaluate, transcribe
from asr.commands import main
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.evaluation.scoring import EvaluationError
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer, RecognizerError
from asr.runs.folder import RunFolder
from asr.understanding.rejection import Rejection, RejectionError, save_rejection
from asr.understanding.result import CommandSearch
from asr.understanding.token_graph import SpellingError
from tests.evaluation.test_evaluate import Page
from tests.grammar.test_templates import write_grammar
from tests.support.small_run import some_speech, write_recordings, write_small_run

GRAMMAR = """
language: en
intents:
  Light: {data: [{sentences: ["turn the {what} on", "turn on the {what}"]}]}
  Music: {data: [{sentences: ["play [some] {what}", "stop [the music]"]}]}
lists:
  what: {values: [light, {in: music, out: sound}]}
"""
DURATIONS = [0.8, 1.5, 0.5, 1.0]


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grammar(tmp_path_factory.mktemp("grammar"), GRAMMAR)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, grammar: Path) -> Path:
    """An untrained model that hears commands in anything, as its threshold asks for nothing."""
    folder = write_small_run(tmp_path_factory.mktemp("runs") / "small")
    digest = str(folder.read_record()["model"])
    save_rejection(
        folder.path, Rejection(threshold=-1e6, is_calibrated=True), grammar=load_grammar(grammar).digest, model=digest
    )
    return folder.path


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The same without a calibration."""
    return write_small_run(tmp_path / "fresh").path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_recordings(tmp_path_factory.mktemp("wav"), DURATIONS)


def test_a_recording_becomes_a_command_whatever_shares_its_batch(
    run: Path, grammar: Path, recordings: list[Path]
) -> None:
    recognizer = Recognizer.load(run, commands=grammar)
    alone = [recognizer.command(path) for path in recordings]
    together = [each.command for each in recognizer.transcribe_batch(recordings)]
    for one, other, path in zip(alone, together, recordings):
        assert other is not None
        assert (one.text, one.intent, one.slots) == (other.text, other.intent, other.slots)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.understood
        assert recognizer.transcribe(path).text == one.text
        assert one.heard == Recognizer.load(run).transcribe(path).text  # what it writes without a grammar
        assert {"Light", "Music"} >= {one.intent}
        assert [word.word for word in one.words] == one.text.split()
        assert all(0 <= word.start < word.end for word in one.words)
    samples = some_speech(0, 0.8)
    assert recognizer.command(samples, sample_rate=16_000).text == alone[0].text


def test_without_a_calibration_an_untrained_model_understands_nothing(
    fresh: Path, grammar: Path, recordings: list[Path]
) -> None:
    transcription = Recognizer.load(fresh, commands=grammar).transcribe(recordings[1])
    assert transcription.command is not None
    assert (transcription.text, transcription.words, transcription.command.understood) == ("", (), False)
    assert transcription.command.guesses


def test_what_a_recognizer_of_commands_needs_is_named(run: Path, grammar: Path, recordings: list[Path]) -> None:
    with pytest.raises(RecognizerError, match=r"was given no commands; expected Recognizer\.load\(run, commands="):
        Recognizer.load(run).command(recordings[0])
    recognizer = Recognizer.load(run, commands=grammar)
    recognizer.model.heads = nn.ModuleList()
    with pytest.raises(RecognizerError, match="the model has no CTC head, which they are searched with"):
        recognizer.command(recordings[0])


def test_a_grammar_of_other_letters_is_refused(run: Path, tmp_path: Path) -> None:
    path = write_grammar(tmp_path, GRAMMAR.replace("light", "quiz"))
    with pytest.raises(SpellingError, match=r"grammar\.yaml: 1 words that the model cannot spell: 'quiz' \(qz\)"):
        Recognizer.load(run, commands=path)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_is_transcribed_into_commands(
    run: Path, grammar: Path, recordings: list[Path], tmp_path: Path
) -> None:
    arguments = [str(run), str(recordings[0].parent), "--commands", str(grammar), "--output"]
    assert transcribe.main([*arguments, str(tmp_path / "out.jsonl")]) == 0
    recognizer = Recognizer.load(run, commands=grammar)
    written = lines(tmp_path / "out.jsonl")
    for line, path in zip(written, recordings, strict=True):
        expected = recognizer.command(path)
        assert line["pred_text"] == line["command"]["text"] == expected.text
        assert (line["command"]["intent"], line["command"]["slots"]) == (expected.intent, expected.slots)
        assert len(line["command"]["guesses"]) == 3
        assert [word["start"] for word in line["command"]["words"]] == [word["start"] for word in line["words"]]
    assert transcribe.main([*arguments, str(tmp_path / "out.txt"), "--format", "txt"]) == 0
    columns = (tmp_path / "out.txt").read_text().splitlines()[0].split("\t")
    assert columns[:3] == ["00.wav", written[0]["pred_text"], written[0]["command"]["intent"]]
    assert json.loads(columns[3]) == written[0]["command"]["slots"]


def manifest_of(path: Path, recordings: list[Path], labels: list[dict]) -> Path:
    utterances = [
        Utterance(
            id=recording.stem,
            audio_filepath=str(recording),
            duration=duration,
            text=label.get("text", ""),
            extra={key: value for key, value in label.items() if key != "text"},
        )
        for recording, duration, label in zip(recordings, DURATIONS, labels)
    ]
    write_manifest(path, utterances)
    return path


def test_a_manifest_is_scored_by_intent_and_slots(
    run: Path, grammar: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Recognizer.load(run, commands=grammar).command(path) for path in recordings]
    labels = [
        {"intent": found[0].intent, "slots": found[0].slots},  # right
        {"intent": found[1].intent, "slots": {"what": "nothing"}},  # a slot wrong
        {"text": found[2].text},  # no label: what the text means
        {"text": "something else"},  # no command
    ]
    manifest = manifest_of(tmp_path / "test.jsonl", recordings, labels)
    folder = tmp_path / "out"
    assert evaluate.main([str(run), str(manifest), "--commands", str(grammar), "--output-dir", str(folder)]) == 0
    understanding = json.loads((folder / "results.json").read_text())["understanding"]
    assert understanding["accepted"] == understanding["guessed"] == {"number": 2, "total": 3}
    assert understanding["intents"] == understanding["understood"] == {"number": 3, "total": 3}
    assert understanding["false_accepts"] == {"number": 1, "total": 1}
    assert understanding["other_hours"] == pytest.approx(1.0 / 3600)
    heard = str(found[1].slots.get("what", ""))
    assert understanding["confused"] == [["what", "nothing", heard, 1]]
    shown = capsys.readouterr().out
    assert "66.7%" in shown
    assert "WER" in shown
    assert f"1 x what: nothing {f'taken for {heard}' if heard else 'missed'}" in shown
    page = (folder / "report.html").read_text()
    assert "Commands accepted" in page
    assert "Word error rate" in page
    assert "Slots, value by value" in page
    assert understanding["verdicts"] == {"false accept": 1, "wrong": 1, "accepted": 2}
    assert [item.extra["command"]["text"] for item in Manifest.read(folder / "utterances.jsonl")] == [
        each.text for each in found
    ]


def test_labels_without_transcripts_have_no_word_errors_to_show(
    run: Path, grammar: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = manifest_of(tmp_path / "test.jsonl", recordings, [{"intent": "Light", "slots": {}}] * 4)
    assert evaluate.main([str(run), str(manifest), "--commands", str(grammar), "--output-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "intents right" in shown
    files = (tmp_path / "results.json").read_text(), (tmp_path / "report.html").read_text(), shown
    for text in (*files, (tmp_path / "utterances.jsonl").read_text()):
        for word in (
            "WER",
            'wer"',
            "hallucinated",
            "invented",
            "without an error",
            "num_exact",
            "Word error",
            "word_errors",
        ):
            assert word not in text


def test_the_page_of_commands_shows_expected_beside_understood(
    run: Path, grammar: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Recognizer.load(run, commands=grammar).command(path) for path in recordings]
    labels = [
        {"intent": found[0].intent, "slots": found[0].slots, "snr_db": 6},
        {"intent": "<b>Other</b>", "slots": {"what": "nothing"}, "snr_db": 12},
        {"intent": found[2].intent, "slots": found[2].slots, "snr_db": 12},
        {"intent": None, "snr_db": 12},
    ]
    manifest = manifest_of(tmp_path / "test.jsonl", recordings, labels)
    arguments = [str(run), str(manifest), "--commands", str(grammar), "--output-dir", str(tmp_path)]
    assert evaluate.main(arguments) == 0
    understanding = json.loads((tmp_path / "results.json").read_text())["understanding"]
    assert {name: each["accepted"] for name, each in understanding["by_condition"].items()} == {
        "6 dB": {"number": 1, "total": 1},
        "12 dB": {"number": 1, "total": 2},
    }
    assert understanding["by_condition"]["12 dB"]["false_accepts"] == {"number": 1, "total": 1}
    assert "accepted, 12 dB" in capsys.readouterr().out
    report = Page((tmp_path / "report.html").read_text())
    rows = [item for item in report.all("li") if "data-number" in item]
    assert [row["data-verdict"] for row in rows] == ["accepted", "wrong", "accepted", "false accept"]
    assert [row["data-condition"] for row in rows] == ["6 dB", "12 dB", "12 dB", "12 dB"]
    assert rows[1]["data-intent"] == "<b>Other</b>"
    assert report.all("b") == []  # what a label holds is text
    assert {control["name"] for control in report.all("select")} == {"verdict", "intent", "condition", "order"}
    assert len([button for button in report.all("button") if "data-audio" in button]) == 4
    assert all(heading.get("scope") for heading in report.all("th"))
    for _, attributes in report.tags:
        for name in ("src", "href", "data-audio"):
            assert attributes.get(name, "data:").startswith("data:")
    assert evaluate.main([*arguments, "--max-in-report", "2", "--condition", "nowhere"]) == 0
    few = Page((tmp_path / "report.html").read_text())
    assert [item["data-verdict"] for item in few.all("li") if "data-number" in item] == ["wrong", "false accept"]
    assert "The 2 with the worst verdicts of 4" in few.text
    assert json.loads((tmp_path / "results.json").read_text())["understanding"]["by_condition"] == {}


def test_a_label_that_is_none_is_refused(run: Path, grammar: Path, recordings: list[Path], tmp_path: Path) -> None:
    labels: list[dict] = [{"intent": "Light", "slots": ["light"]}, *[{"text": ""}] * 3]
    manifest = manifest_of(tmp_path / "test.jsonl", recordings, labels)
    with pytest.raises(EvaluationError, match=r"utterance 00: intent 'Light' with slots \['light'\]; expected"):
        evaluate.main([str(run), str(manifest), "--commands", str(grammar), "--output-dir", str(tmp_path)])


def test_calibrating_keeps_a_threshold_that_later_programs_use(
    fresh: Path, grammar: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    negatives = manifest_of(tmp_path / "none.jsonl", recordings, [{"text": ""}] * 4)
    arguments = ["calibrate", str(fresh), str(grammar), "--negatives", str(negatives), "--false-accepts-per-hour"]
    # 3.8 s in 8 pieces: one false accept in them is 947 an hour
    assert main([*arguments, "1000", "--window", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "1 false accepts in 0.00 h, 8 pieces; at most 4494.19 an hour with 95 % confidence" in shown
    needed = "0.0 h of negatives without a false accept (3 / 1000), or 0.0 h with 1"
    assert f"1000 an hour, as asked, is not shown by 0.00 h: that takes {needed}" in shown
    record = RunFolder(fresh).read_record()
    first = json.loads((fresh / "rejection.json").read_text())[load_grammar(grammar).digest]
    assert (first["is_calibrated"], first["model"]) == (True, record["model"])
    assert main([*arguments, "0"]) == 0
    assert "0 an hour, as asked, is shown by no number of hours" in capsys.readouterr().out
    recognizer = Recognizer.load(fresh, commands=grammar)
    assert not any(recognizer.command(path).understood for path in recordings)
    assert main([*arguments, "1e9"]) == 0
    assert "1e+09 an hour, as asked, is shown with 95 % confidence" in capsys.readouterr().out

    guesses = [recognizer.command(path).guesses[0] for path in recordings]
    labels = [{"intent": guesses[0].intent, "slots": guesses[0].slots}, *({"text": each.text} for each in guesses[1:])]
    positives = manifest_of(tmp_path / "some.jsonl", recordings, labels)
    some = manifest_of(tmp_path / "noises.jsonl", recordings[:3], [{"text": ""}] * 3)
    others = manifest_of(tmp_path / "others.jsonl", recordings[3:], [{"text": ""}])
    both = [positives, manifest_of(tmp_path / "more.jsonl", recordings[:1], labels[:1])]
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert main([*arguments, "0", "--positives", str(positives), "--report", str(page)]) == 0
    assert page.read_text().count("<svg") == 2
    assert "share of right commands missed" in page.read_text()
    shown = capsys.readouterr().out
    assert "0.0% of 4 commands that were heard right are understood" in shown  # the same recordings as the negatives
    assert "confidence   right" in shown
    assert main([*arguments, "0", "--negatives", str(negatives), str(positives)]) == 0
    assert "4 of the negatives are commands of this grammar: left out" in capsys.readouterr().out
    assert main([*arguments, "1e9", "--positives", str(positives), "--wrong-commands", "0"]) == 0
    assert "0 were heard wrong, of which 0 are understood as another command" in capsys.readouterr().out
    with pytest.raises(RejectionError, match=r"--wrong-commands: no --positives; expected commands"):
        main([*arguments, "1", "--wrong-commands", "0"])
    apart = ["--window", "0.5", "--negatives", str(some), str(others)]
    assert main([*arguments, "1000", *apart]) == 0  # one in the seconds of all four recordings
    found = re.search(r"by manifest: noises (\d) in 0.00 h, others (\d) in", capsys.readouterr().out)
    assert found
    assert int(found[1]) + int(found[2]) == 1
    assert main([*arguments, "0", "--positives", *map(str, both)]) == 0
    shown = capsys.readouterr().out
    assert "of 5 commands that were heard right" in shown
    assert "most like a command" in shown


def test_what_cannot_be_calibrated_with(
    fresh: Path, grammar: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    negatives = manifest_of(tmp_path / "none.jsonl", [*recordings[:3], tmp_path / "absent.wav"], [{"text": ""}] * 4)
    arguments = ["calibrate", str(fresh), str(grammar), "--negatives", str(negatives), "--false-accepts-per-hour", "0"]
    assert main(arguments) == 4
    assert "not read: " in (error := capsys.readouterr().err)
    assert "absent.wav" in error
    with pytest.raises(RejectionError, match=r"--window: 0\.1 seconds; expected at least 0\.5"):
        main([*arguments, "--window", "0.1"])


def test_checking_a_grammar(run: Path, grammar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("espeakng_loader")
    assert main(["check", str(grammar), "--run", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "grammar.yaml: 10 sentences of 8 words; a graph of" in shown
    assert "  music  mjˈuːzɪk" in shown
    assert "0 sentences have more than one meaning" in shown
    worse = write_grammar(tmp_path, GRAMMAR.replace("[light,", "[light, quiz, the music,") + "  more: {values: [a]}\n")
    assert main(["check", str(worse), "--run", str(run), "--all-words"]) == 1
    shown = capsys.readouterr().out
    assert f"fault: {worse}:7: the model cannot spell 'quiz' (qz)" in shown
    assert f"hint: {worse}:8: lists.more: list {{more}} is not used" in shown
    assert main(["check", str(tmp_path / "absent.yaml"), str(worse)]) == 1  # the others are checked all the same
    shown = capsys.readouterr().out
    assert f"fault: {tmp_path}/absent.yaml: no such file" in shown
    assert "12 sentences" in shown or "sentences of" in shown


def test_importing_a_grammar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {
        "phrases": "lights on\nlights off\n",
        "jsgf": "#JSGF V1.0;\ngrammar a;\npublic <Light> = lights (on | off);\n",
        "rhino": 'context: {expressions: {Light: ["lights [on, off]"]}}',
    }
    for kind, text in sources.items():
        source = tmp_path / kind
        source.write_text(text)
        assert main(["import", kind, str(source), "--output", str(tmp_path / f"{kind}.yaml")]) == 0
        assert len(CommandSearch.load(tmp_path / f"{kind}.yaml", tokenizer()).meanings("lights off")) == 1
    assert "intents; look at it with python -m asr.commands check" in capsys.readouterr().out
    pytest.importorskip("home_assistant_intents")
    (tmp_path / "home").write_text("area: [kitchen]\n")
    assert main(["import", "home-assistant", str(tmp_path / "home"), "--output", str(tmp_path / "ha.yaml")]) == 0
    assert "left out, for want of a list: " in capsys.readouterr().err


def tokenizer():
    from asr.text import CharTokenizerConfig

    return CharTokenizerConfig().train(["lights on off"])


@pytest.mark.parametrize("program", ["asr.commands", "asr.transcribe", "asr.evaluate"])
def test_help_needs_no_heavy_import(program: str) -> None:
    module = "asr.commands" if program == "asr.commands" else program
    code = (
        f"import sys, {module}\n"
        f"try: {module}.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'rich', 'pydantic', 'yaml'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m {program}" in done.stdout
