"""Thresholds for any grammar by its number of sentences: which row is taken, and what lies between two."""

from pathlib import Path

import pytest

from asr.understanding.rejection import Rejection, RejectionError, save_rejection
from asr.understanding.sizes import choose_rejection, save_rejections_by_size
from tests.support.rejections import load_rejection


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = {10: Rejection(threshold=1.0), 1000: Rejection(threshold=2.0, hours=3.0), 100_000: Rejection(threshold=6.0)}
    save_rejections_by_size(tmp_path, rows, model="m")
    return tmp_path


@pytest.mark.parametrize(
    ("size", "threshold", "basis"),
    [
        (10, 1.0, "that of grammars of 10 sentences"),
        (1000, 2.0, "that of grammars of 1,000 sentences"),
        (100, 1.5, "between those of grammars of 10 and of 1,000 sentences"),  # halfway on a logarithmic scale
        (10_000, 4.0, "between those of grammars of 1,000 and of 100,000 sentences"),
        (1, 1.0, "that of grammars of 10 sentences, the nearest that was measured"),
        (10**9, 6.0, "that of grammars of 100,000 sentences, the nearest that was measured"),
    ],
)
def test_the_row_of_a_size_is_found_or_made_of_its_neighbours(
    size: int, threshold: float, basis: str, run: Path
) -> None:
    found = choose_rejection(run, grammar="g", num_sentences=size, model="m")
    assert found.rejection.threshold == pytest.approx(threshold)
    assert found.basis == f"the threshold is {basis}"
    if size == 100:
        assert found.rejection.hours == 3.0  # what else is said is of the larger


def test_a_grammar_s_own_threshold_goes_before_them(run: Path) -> None:
    save_rejection(run, Rejection(threshold=9.0), grammar="g", model="m")
    assert choose_rejection(run, grammar="g", num_sentences=10, model="m").rejection.threshold == 9.0
    assert choose_rejection(run, grammar="h", num_sentences=10, model="m").rejection.threshold == 1.0


def test_new_rows_take_the_place_of_all_old_ones(run: Path) -> None:
    save_rejection(run, Rejection(threshold=9.0), grammar="g", model="m")
    save_rejections_by_size(run, {50: Rejection(threshold=3.0)}, model="m")
    assert choose_rejection(run, grammar="h", num_sentences=10, model="m").rejection.threshold == 3.0
    assert load_rejection(run, grammar="g", model="m").threshold == 9.0


def test_without_rows_the_threshold_is_a_guess(tmp_path: Path) -> None:
    found = choose_rejection(tmp_path, grammar="g", num_sentences=10, model="m")
    assert found.rejection == Rejection()
    assert found.basis == "the threshold is a guess, for want of a calibration"


def test_rows_of_other_weights_are_refused(run: Path) -> None:
    with pytest.raises(RejectionError, match="fitted for other weights than the run has now"):
        choose_rejection(run, grammar="g", num_sentences=10, model="changed")
