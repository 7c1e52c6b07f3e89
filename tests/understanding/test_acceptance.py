"""How many commands are accepted: intervals, conditions side by side, pooled folds, what was taken for what."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import binomtest

from asr import evaluate
from asr.commands import main
from asr.data.manifest import Manifest, ManifestError, Utterance
from asr.data.manifest_writing import write_manifest
from asr.evaluation.scoring import EvaluationError
from asr.grammar.templates import load_grammar
from asr.recognizer import Recognizer
from asr.understanding.acceptance import (
    AcceptanceError,
    Condition,
    mean_in_noise,
    noise_of,
    pool_conditions,
    read_conditions,
    show_conditions,
    write_conditions,
)
from asr.understanding.rejection import Rejection, save_rejection
from asr.understanding.result import CommandGuess, CommandResult
from asr.understanding.scoring import Labelled, Proportion, pool_scores, score_commands
from tests.grammar.test_programs import GRAMMAR
from tests.grammar.test_templates import write_grammar
from tests.support.small_run import write_recordings, write_small_run


def labelled(intent: str | None, slots: dict, guess: tuple[str, dict] | None, *, understood: bool = True) -> Labelled:
    guesses = () if guess is None else (CommandGuess("words", *guess, 0.0),)
    understood = understood and bool(guesses)
    result = CommandResult(
        understood=understood,
        text="words" if understood else "",
        intent=guesses[0].intent if understood else None,
        slots=guesses[0].slots if understood else {},
        words=(),
        score=0.0,
        certainty=0.0,
        agreement=0.0,
        confidence=1.0,
        guesses=guesses,
        heard="words",
    )
    return Labelled(intent, slots, result, 3.0)


HEARD = [
    labelled("Order", {"drink": "tea", "size": "small"}, ("Order", {"drink": "tea", "size": "small", "milk": "some"})),
    labelled("Order", {"drink": "tea", "size": "small"}, ("Order", {"drink": "coffee", "size": "small"})),
    labelled("Order", {"drink": "tea"}, ("Order", {"drink": "tea"}), understood=False),
    labelled("Stop", {}, ("Order", {"drink": "tea"})),
    labelled("Stop", {}, None),
    labelled(None, {}, ("Stop", {})),
]


def test_accepted_is_the_intent_and_every_labelled_slot() -> None:
    score = score_commands(HEARD)
    assert (score.accepted, score.guessed) == (Proportion(1, 5), Proportion(2, 5))
    assert score.by_intent == {"Order": Proportion(1, 3), "Stop": Proportion(0, 2)}
    assert score.slots == {"drink": Proportion(1, 3), "size": Proportion(2, 2)}
    # What was taken for what is told by the best guess, rejected or not.
    assert score.confused == [("drink", "tea", "coffee", 1)]
    assert sorted(score.confused_intents) == [("Stop", "", 1), ("Stop", "Order", 1)]
    assert (score.false_accepts, score.other_hours) == (Proportion(1, 1), 3.0 / 3600)


def test_pooled_is_scored_together() -> None:
    whole, pooled = (
        score_commands(HEARD * 2),
        pool_scores([score_commands(HEARD[:2] + HEARD), score_commands(HEARD[2:])]),
    )
    assert (pooled.accepted, pooled.slots, pooled.by_intent) == (whole.accepted, whole.slots, whole.by_intent)
    assert sorted(pooled.confused) == sorted(whole.confused)
    assert sorted(pooled.confused_intents) == sorted(whole.confused_intents)
    assert pooled.other_hours == pytest.approx(whole.other_hours)


@pytest.mark.parametrize(("number", "total"), [(0, 10), (10, 10), (287, 313), (1, 3)])
def test_the_interval_is_wilson_s(number: int, total: int) -> None:
    expected = binomtest(number, total).proportion_ci(method="wilson")
    assert Proportion(number, total).interval == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert Proportion(0, 0).interval == (0.0, 1.0)


def condition(name: str, snr_db: float | None, items: list[Labelled]) -> Condition:
    return Condition(name, score_commands(items), snr_db=snr_db, audio_seconds=30.0, seconds=3.0)


def test_conditions_are_shown_kept_and_pooled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = [condition("clean", None, HEARD[:1]), condition("noise_06db", 6.0, HEARD[:2])]
    second = [condition("clean", None, HEARD[1:2]), condition("noise_06db", 6.0, HEARD[2:])]
    for name, conditions in (("a.json", first), ("b.json", second)):
        write_conditions(tmp_path / name, conditions)
    assert read_conditions(tmp_path / "a.json") == first
    clean, noisy = pool_conditions([first, second])
    assert (clean.score.accepted, noisy.score.accepted) == (Proportion(1, 2), Proportion(1, 5))
    assert (noisy.snr_db, noisy.audio_seconds, noisy.real_time_factor) == (6.0, 60.0, 0.1)
    assert mean_in_noise([clean, noisy]) == pytest.approx(0.2)
    assert mean_in_noise([clean]) is None
    assert main(["acceptance", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    shown = capsys.readouterr().out
    assert "noise_06db" in shown
    assert "mean of 1 with noise, 6 to 6 dB: 20.0%; before rejecting 40.0%" in shown
    assert "1 x Stop taken for nothing" in shown
    assert "2 x drink: tea taken for coffee" in shown
    show_conditions(Console(), first)
    assert "0.1000" in capsys.readouterr().out
    show_conditions(Console(), [condition("rain", None, [HEARD[5], labelled(None, {}, None)])])
    shown = capsys.readouterr().out
    assert "accepted" not in shown.replace("false accepts", "")
    assert "600.00" in shown  # one in six seconds


@pytest.mark.parametrize("text", ["[", "{}x", '[{"name": 1}]', '["a"]'])
def test_files_of_others_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(AcceptanceError, match=r"(?s)x\.json: not the figures of commands .*; expected a file that"):
        read_conditions(tmp_path / "x.json")


def test_several_manifests_are_scored_in_one_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grammar = write_grammar(tmp_path, GRAMMAR)
    run = write_small_run(tmp_path / "run")
    anything = Rejection(threshold=-1e6, is_calibrated=True)
    model = str(run.read_record()["model"])
    save_rejection(run.path, anything, grammar=load_grammar(grammar).digest, model=model)
    paths = write_recordings(tmp_path / "wav", [0.8, 0.5])
    found = [Recognizer.load(run.path, commands=grammar).command(path) for path in paths]
    manifests = []
    for name, wrong, noise in (("clean", {}, {}), ("noise_06db", {"what": "nothing"}, {"snr_db": 6.0})):
        manifests.append(tmp_path / f"{name}.jsonl")
        labels = [found[0].slots, wrong or found[1].slots]
        write_manifest(
            manifests[-1],
            (
                Utterance(path.stem, str(path), 0.5, extra={"intent": each.intent, "slots": slots, **noise})
                for path, each, slots in zip(paths, found, labels, strict=True)
            ),
        )
    assert noise_of(Manifest.read(manifests[1])) == 6.0
    assert noise_of(Manifest.read(manifests[0])) is None
    arguments = [str(run.path), *map(str, manifests), "--commands", str(grammar), "--audio", "none"]
    assert evaluate.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "50.0%" in shown
    assert "mean of 1 with noise, 6 to 6 dB: 50.0%; before rejecting 50.0%" in shown
    folder = run.path / "evaluations"
    for name, number in (("clean", 2), ("noise_06db", 1)):
        results = json.loads((folder / f"{tmp_path.name}-{name}" / "results.json").read_text())
        assert results["understanding"]["accepted"] == {"number": number, "total": 2}
    kept = read_conditions(folder / f"{tmp_path.name}-acceptance.json")
    assert [each.score.accepted.number for each in kept] == [2, 1]
    assert kept[0].audio_seconds == pytest.approx(1.0)
    assert kept[0].seconds > 0
    with pytest.raises(EvaluationError, match="3 manifests: two of the same name in folders of the same name"):
        evaluate.main([str(run.path), str(manifests[0]), *arguments[1:]])


def test_two_manifests_of_one_stem_have_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without ids, which evaluate makes as transcribe and data_prep.nemo do."""
    grammar = write_grammar(tmp_path, GRAMMAR)
    run = write_small_run(tmp_path / "run")
    manifests = []
    for folder, path in zip(("a", "b"), write_recordings(tmp_path / "wav", [0.8, 0.5])):
        manifests.append(tmp_path / folder / "same" / "test.jsonl")
        manifests[-1].parent.mkdir(parents=True)
        manifests[-1].write_text(json.dumps({"audio_filepath": str(path), "duration": 0.5, "text": "tea"}))
    arguments = [str(run.path), *map(str, manifests), "--commands", str(grammar), "--audio", "none"]
    assert evaluate.main(arguments) == 0
    folder = run.path / "evaluations"
    kept = read_conditions(folder / "same-acceptance.json")
    assert [each.name for each in kept] == ["a/same/test", "b/same/test"]
    ids = [Manifest.read(folder / f"{each}-same-test" / "utterances.jsonl")[0].id for each in ("a", "b")]
    assert ids == [str(path.with_suffix("")).lstrip("/") for path in sorted((tmp_path / "wav").glob("*.wav"))]
    with pytest.raises(
        ManifestError, match=r"test\.jsonl:1: audio_filepath .* outside of the root .*same; leave it out"
    ):
        evaluate.main([*arguments, "--root", str(manifests[0].parent)])
