"""calibrate --sizes: thresholds for any grammar, measured with grammars drawn from one."""

from pathlib import Path

import pytest

from asr.commands import main
from asr.fitting.sizes import read_sizes
from asr.recognizer import Recognizer
from asr.understanding.rejection import RejectionError
from tests.grammar.test_programs import GRAMMAR, manifest_of
from tests.grammar.test_templates import write_grammar
from tests.support.small_run import write_recordings, write_small_run


def test_each_size_gets_a_threshold_that_other_grammars_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hassil")
    grammar, run = write_grammar(tmp_path, GRAMMAR), write_small_run(tmp_path / "run").path
    recordings = write_recordings(tmp_path / "wav", [0.8, 1.5, 0.5, 1.0])
    none = manifest_of(tmp_path / "none.jsonl", [*recordings[:3], tmp_path / "absent.wav"], [{"text": ""}] * 4)
    arguments = ["calibrate", str(run), str(grammar), "--false-accepts-per-hour", "1000", "--sizes", "2,4,all"]
    assert main([*arguments, "--negatives", str(none)]) == 4
    output = capsys.readouterr()
    sizes = [line.split()[0] for line in output.out.splitlines()[1:4]]
    assert sizes == ["2", "4", "10"]
    assert "absent.wav" in output.err
    guessed = Recognizer.load(run, commands=grammar).commands
    assert guessed is not None
    assert guessed.basis == "the threshold is that of grammars of 10 sentences"
    assert guessed.rejection.is_calibrated


def test_positives_are_among_the_sentences_that_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hassil")
    grammar, run = write_grammar(tmp_path, GRAMMAR), write_small_run(tmp_path / "run").path
    recordings = write_recordings(tmp_path / "wav", [0.8, 1.5, 0.5, 1.0])
    search = Recognizer.load(run, commands=grammar)
    understood = [search.command(path).guesses[0].text for path in recordings]
    spoken = manifest_of(tmp_path / "spoken.jsonl", recordings, [{"text": text} for text in understood])
    none = manifest_of(tmp_path / "none.jsonl", recordings[:2], [{"text": ""}] * 2)
    arguments = ["calibrate", str(run), str(grammar), "--sizes", "1,all", "--false-accepts-per-hour", "1000"]
    assert main([*arguments, "--negatives", str(none), "--positives", str(spoken)]) == 0
    one, whole = capsys.readouterr().out.splitlines()[1:3]
    right, _, positives = one.split()[6:9]
    assert right == positives  # a grammar of one sentence hears nothing else
    assert int(positives) >= 5  # in five draws of one
    assert whole.split()[6:9] == ["4", "of", "4"]


@pytest.mark.parametrize("sizes", ["0", "ten", "10,", "21000", "99999999999999999999", "-5", "all,1.5"])
def test_sizes_that_are_none_are_refused(sizes: str) -> None:
    with pytest.raises(RejectionError, match=r"--sizes: '.*'; expected numbers of sentences up to 20,000, and all"):
        read_sizes(sizes)


def test_what_does_not_go_with_sizes_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("hassil")
    grammar, run = write_grammar(tmp_path, GRAMMAR), write_small_run(tmp_path / "run").path
    recordings = write_recordings(tmp_path / "wav", [0.8])
    none = manifest_of(tmp_path / "none.jsonl", recordings, [{"text": ""}])
    arguments = ["calibrate", str(run), str(grammar), "--negatives", str(none), "--false-accepts-per-hour", "1"]
    with pytest.raises(RejectionError, match="--wrong-commands: of one grammar; expected it without --sizes"):
        main([*arguments, "--sizes", "all", "--wrong-commands", "0.1"])
    with pytest.raises(RejectionError, match=r"--sizes: 100; .* has 10 sentences; expected a grammar of as many"):
        main([*arguments, "--sizes", "100"])
