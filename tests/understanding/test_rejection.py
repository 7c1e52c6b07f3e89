"""Understood or not: thresholds that keep their promise, confidences that mean something, files that fit the run."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.recognition.confidence import reliability
from asr.understanding.rejection import (
    LOWEST_RATIO,
    MARGIN,
    Evidence,
    Rejection,
    RejectionError,
    count_false_accepts,
    detection_curve,
    find_margin,
    find_threshold,
    fit_confidence,
    hours_needed,
    poisson_upper,
    recall_of,
    save_rejection,
    score_ratio,
)
from tests.support.rejections import load_rejection

EVIDENCE = st.builds(Evidence, st.floats(-20, 0), st.floats(-5, 0), st.floats(-5, 0))


def test_the_ratio_is_a_token_of_the_longer_path() -> None:
    assert score_ratio(command=-12.0, filler=-4.0, num_tokens=4, num_filler_tokens=2) == -2.0
    assert score_ratio(command=-12.0, filler=-4.0, num_tokens=2, num_filler_tokens=8) == -1.0
    assert score_ratio(command=1e-9, filler=0.0, num_tokens=1, num_filler_tokens=1) == 0.0
    assert score_ratio(command=-math.inf, filler=-1.0, num_tokens=0, num_filler_tokens=0) == LOWEST_RATIO


def test_more_evidence_is_more_confidence() -> None:
    rejection = Rejection()
    good, fair, bad = Evidence(0.0, -0.1, 0.0), Evidence(-0.5, -0.2, -0.5), Evidence(-3.0, -0.5, -1.5)
    assert 1 > rejection.confidence(good) > rejection.confidence(fair) > 0.5 > rejection.confidence(bad) > 0
    assert [rejection.accepts(each) for each in (good, fair, bad)] == [True, True, False]
    assert rejection.confidence(Evidence(LOWEST_RATIO, LOWEST_RATIO, LOWEST_RATIO)) == pytest.approx(0.0)


@settings(deadline=None)
@given(st.lists(EVIDENCE, max_size=40), st.floats(0.1, 20), st.floats(0, 10))
def test_the_threshold_keeps_its_promise_and_is_the_lowest_that_does(
    negatives: list[Evidence], hours: float, target: float
) -> None:
    found = find_threshold(Rejection(), negatives, hours=hours, false_accepts_per_hour=target)
    odds = [found.log_odds(each) for each in negatives]
    accepted = sum(found.accepts(each) for each in negatives)
    assert accepted / hours == found.false_accepts_per_hour <= target + 1e-6
    assert found.upper_false_accepts_per_hour is not None
    assert found.upper_false_accepts_per_hour > found.false_accepts_per_hour
    rejected = [each for each in odds if each < found.threshold]
    if len(negatives) > math.floor(target * hours):
        lower = sum(each >= max(rejected) - MARGIN for each in odds)  # the next lower one would let these in
        assert lower > math.floor(target * hours + 1e-9)


def test_few_events_prove_little() -> None:
    # The upper limits of a Poisson mean at 95 %, from tables
    assert [round(poisson_upper(count), 3) for count in (0, 1, 2, 10)] == [2.996, 4.744, 6.296, 16.962]


def test_a_rate_is_shown_by_three_over_it_hours() -> None:
    assert hours_needed(0.5) == pytest.approx(6, rel=0.002)
    assert hours_needed(0.5, num_accepted=1) == pytest.approx(4.744 / 0.5, rel=1e-3)
    assert hours_needed(0.0) == math.inf
    found = find_threshold(Rejection(), [], hours=0.08, false_accepts_per_hour=0.5)
    assert found.upper_false_accepts_per_hour == pytest.approx(2.996 / 0.08, rel=1e-3)


@pytest.mark.parametrize(
    ("target", "hours", "message"),
    [
        (-1.0, 1.0, "--false-accepts-per-hour: -1; expected a number of at least 0"),
        (math.inf, 1.0, "--false-accepts-per-hour: inf; expected a number"),
        (math.nan, 1.0, "--false-accepts-per-hour: nan; expected a number"),
        (0.5, 0.0, "negatives: no recordings; expected some without commands"),
    ],
)
def test_targets_that_cannot_be(target: float, hours: float, message: str) -> None:
    with pytest.raises(RejectionError, match=message):
        find_threshold(Rejection(), [], hours=hours, false_accepts_per_hour=target)


def drawn(number: int, seed: int = 0) -> tuple[list[Evidence], np.ndarray]:
    """Evidence, and whether it was right by a chance that is a known logistic function of it."""
    rng = np.random.default_rng(seed)
    ratio, certainty = -rng.exponential(2.0, number), -rng.exponential(1.0, number)
    chances = 1 / (1 + np.exp(-(3 + 2 * ratio + 1 * certainty)))
    return [Evidence(*pair, 0.0) for pair in zip(ratio.tolist(), certainty.tolist())], rng.random(number) < chances


def test_the_confidence_is_the_chance_to_be_right() -> None:
    evidence, is_right = drawn(20_000)
    fitted = fit_confidence(Rejection(), evidence, is_right)
    assert [fitted.ratio_weight, fitted.certainty_weight, fitted.intercept] == pytest.approx([2, 1, 3], abs=0.15)
    others, others_right = drawn(20_000, seed=1)
    bins = reliability(np.array([fitted.confidence(each) for each in others]), others_right)
    assert sum(number for _, _, number in bins) == 20_000
    for confidence, right, number in bins:
        assert right == pytest.approx(confidence, abs=3 * math.sqrt(0.25 / number) + 0.01)


def test_evidence_never_counts_against_a_command() -> None:
    rng = np.random.default_rng(0)
    is_right = rng.random(500) < 0.5
    ratio = np.where(is_right, -1.0, -3.0) + rng.normal(size=500) * 0.5
    certainty = np.where(is_right, -2.0, -1.0) + rng.normal(size=500) * 0.2  # the wrong way round
    fitted = fit_confidence(
        Rejection(), [Evidence(*pair, 0.0) for pair in zip(ratio.tolist(), certainty.tolist())], is_right
    )
    assert fitted.certainty_weight == 0
    assert fitted.ratio_weight > 0.5
    neither = fit_confidence(Rejection(), [Evidence(-float(each), 0.0, 0.0) for each in is_right], is_right)
    assert (neither.ratio_weight, neither.certainty_weight) == (0, 0)


def test_commands_heard_wrong_count_in_the_confidence_and_not_in_the_weights() -> None:
    """The agreement tells commands from other sounds; the ratio tells right ones from wrong ones, and nothing else."""
    rng = np.random.default_rng(0)
    is_command, is_right = np.repeat([True, True, False], 300), np.repeat([True, False, False], 300)
    agreement = np.where(is_command, -1.0, -3.0) + rng.normal(size=900) * 0.4
    ratio = np.where(is_command & ~is_right, -2.0, -1.0) + rng.normal(size=900) * 0.2
    evidence = [Evidence(*pair) for pair in zip(ratio.tolist(), [-0.5] * 900, agreement.tolist(), strict=True)]
    together = fit_confidence(Rejection(), evidence, is_right)
    apart = fit_confidence(Rejection(), evidence, is_right, is_command=is_command)
    assert together.ratio_weight > together.agreement_weight
    assert apart.ratio_weight < 0.3 * apart.agreement_weight
    confidences = np.array([apart.confidence(each) for each in evidence])
    assert confidences[:600].mean() == pytest.approx(0.5, abs=0.05)
    assert confidences[600:].mean() < 0.1
    alone = fit_confidence(Rejection(), evidence[:600], is_right[:600], is_command=is_command[:600])
    assert alone.ratio_weight > 5  # no other sound to tell them from


def test_a_split_without_fault_still_leaves_room_for_doubt() -> None:
    evidence = [Evidence(-0.1, -0.1, 0.0)] * 20 + [Evidence(-4.0, -1.0, 0.0)] * 20
    fitted = fit_confidence(Rejection(), evidence, np.arange(40) < 20)
    assert 0.9 < fitted.confidence(evidence[0]) < 0.99
    assert recall_of(fitted, evidence[:20]).recall == 1.0


@pytest.mark.parametrize("is_right", [np.zeros(3, bool), np.ones(3, bool)])
def test_a_fit_needs_both_kinds(is_right: np.ndarray) -> None:
    with pytest.raises(
        RejectionError, match=r"calibration: \d recordings heard right and \d wrong; expected some of both"
    ):
        fit_confidence(Rejection(), [Evidence(-1.0, -1.0, -1.0)] * 3, is_right)


def test_the_detection_curve_steps_at_each_negative() -> None:
    curve = detection_curve([0.0, -1.0, -3.0], [-2.0, -0.5], hours=2.0)
    assert [(rate, round(missed, 3)) for _, rate, missed in curve] == [(0.0, 0.667), (0.5, 0.333), (1.0, 0.0)]
    assert curve[0][0] == pytest.approx(-0.5)


def test_a_calibration_travels_with_its_run(tmp_path: Path) -> None:
    rejection = Rejection(threshold=1.5, is_calibrated=True, hours=2.0, recall=0.9)
    assert load_rejection(tmp_path, grammar="g", model="m") == Rejection()
    save_rejection(tmp_path, Rejection(), grammar="other", model="m")
    path = save_rejection(tmp_path, rejection, grammar="g", model="m")
    assert load_rejection(tmp_path, grammar="g", model="m") == rejection
    assert load_rejection(tmp_path, grammar="other", model="m") == Rejection()
    with pytest.raises(RejectionError, match=r"rejection\.json: fitted for other weights than .* has now"):
        load_rejection(tmp_path, grammar="g", model="changed")
    for text, message in (
        ("{", "not JSON"),
        ("[]", "list; expected a JSON object"),
        ('{"g": 1}', "g: found 1; input should be an object"),
        ('{"g": {}, "g": {}}', "the key 'g' twice"),
    ):
        path.write_text(text)
        with pytest.raises(RejectionError, match=message):
            load_rejection(tmp_path, grammar="g", model="m")
    path.write_text(json.dumps({"g": {"model": "m", "wrong": 1}}))
    with pytest.raises(RejectionError, match=r"not a calibration: g: wrong: .*; run .*asr.commands calibrate .* again"):
        load_rejection(tmp_path, grammar="g", model="m")


@pytest.mark.parametrize("number", [math.nan, math.inf, "4", True])
def test_a_threshold_that_is_no_finite_number_is_refused(tmp_path: Path, number: object) -> None:
    path = save_rejection(tmp_path, Rejection(threshold=1.5), grammar="g", model="m")
    values = json.loads(path.read_text())
    values["g"]["threshold"] = number
    path.write_text(json.dumps(values))
    with pytest.raises(RejectionError, match=r"rejection\.json: not a calibration: g: threshold: found .*should be"):
        load_rejection(tmp_path, grammar="g", model="m")


def test_a_margin_that_nothing_else_has_can_be_kept(tmp_path: Path) -> None:
    evidence, is_right = [Evidence(0.0, 0.0, 0.0, margin=each) for each in (1.0, math.inf)], np.array([False, True])
    sure = find_margin(Rejection(), evidence, is_right, wrong_share=0.0)
    save_rejection(tmp_path, sure, grammar="g", model="m")
    kept = load_rejection(tmp_path, grammar="g", model="m")
    assert [kept.accepts(each) for each in evidence] == [False, True]


def test_the_margin_keeps_wrong_commands_out() -> None:
    """Of ten commands all sound alike; the four with a margin below 1 are wrong, and one with 5."""
    margins = [0.0, 0.2, 0.5, 0.9, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    evidence = [Evidence(-0.1, -0.1, -0.1, margin=each) for each in margins]
    is_right = np.array([False] * 4 + [True] * 3 + [False] + [True] * 2)
    rejection = Rejection(threshold=0.0)
    assert sum(map(rejection.accepts, evidence)) == 10
    free = find_margin(rejection, evidence, is_right, wrong_share=0.5)
    assert (free.min_margin, free.num_wrong) == (0.0, 5)
    some = find_margin(rejection, evidence, is_right, wrong_share=0.2)
    assert (some.num_wrong, sum(map(some.accepts, evidence))) == (1, 6)
    assert 0.9 < some.min_margin < 0.9001
    none = find_margin(rejection, evidence, is_right, wrong_share=0.0)
    assert (none.num_wrong, sum(map(none.accepts, evidence))) == (0, 2)
    assert count_false_accepts(none, evidence, hours=2.0).false_accepts_per_hour == 1.0
    assert none.confidence(evidence[0]) == none.confidence(evidence[9])  # the margin is asked apart
    with pytest.raises(RejectionError, match=r"--wrong-commands: 1; expected a share of at least 0 and below 1"):
        find_margin(rejection, evidence, is_right, wrong_share=1.0)
    with pytest.raises(RejectionError, match=r"--wrong-commands: 0.1; more of the understood commands are other ones"):
        find_margin(rejection, evidence, ~(is_right | True), wrong_share=0.1)


def test_a_calibration_from_before_the_margin_means_the_same(tmp_path: Path) -> None:
    path = save_rejection(tmp_path, Rejection(threshold=1.5, min_margin=2.0), grammar="g", model="m")
    kept = json.loads(path.read_text())
    del kept["g"]["min_margin"], kept["g"]["num_wrong"]
    path.write_text(json.dumps(kept))
    assert load_rejection(tmp_path, grammar="g", model="m") == Rejection(threshold=1.5)


def test_a_calibration_without_a_figure_that_came_later_is_refused(tmp_path: Path) -> None:
    """Else its threshold would be asked of evidence that it was not found for."""
    path = save_rejection(tmp_path, Rejection(threshold=1.5), grammar="g", model="m")
    kept = json.loads(path.read_text())
    del kept["g"]["agreement_weight"]
    path.write_text(json.dumps(kept))
    with pytest.raises(RejectionError, match=r"of an earlier version, without agreement_weight; run .* again"):
        load_rejection(tmp_path, grammar="g", model="m")


def test_short_commands_need_more_where_other_sounds_are_taken_for_them() -> None:
    """Other sounds fit a word as well as commands do here, and never a long sentence: what tells them is the length."""
    rng = np.random.default_rng(0)
    ratios = -rng.random(400)
    brevity = [-1 / 4] * 100 + [-1 / 20] * 100 + [-1 / 4] * 200
    is_right = np.array([True] * 200 + [False] * 200)
    evidence = [
        Evidence(ratio, -0.5, ratio, brevity=each) for ratio, each in zip(ratios.tolist(), brevity, strict=True)
    ]
    fitted = fit_confidence(Rejection(), evidence, is_right)
    assert fitted.brevity_weight > 0
    long, short = Evidence(-0.5, -0.5, -0.5, brevity=-1 / 20), Evidence(-0.5, -0.5, -0.5, brevity=-1 / 4)
    assert fitted.confidence(long) > 0.9 > 0.5 > fitted.confidence(short)


def test_thresholds_of_before_know_nothing_of_length() -> None:
    short, long = Evidence(-0.5, -0.5, -0.5, brevity=-1.0), Evidence(-0.5, -0.5, -0.5, brevity=-0.01)
    assert Rejection().log_odds(short) == Rejection().log_odds(long)
