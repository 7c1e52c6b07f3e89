"""The generated texts of the kernels are those that were written down, so that a change of a generator is seen."""

import pytest

from asr.model.cells.lstm import FORM
from asr.model.scan.gpu.source import TEMPLATE, kernel_source
from asr.model.scan.step import trace
from tests.programs.golden_kernels import FOLDER, texts

RENEW = "look at the difference, and renew it with: python -m tests.programs.golden_kernels"


def test_every_text_is_written_down_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(texts()), RENEW


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_what_is_generated_is_what_was_written_down(name: str) -> None:
    assert texts()[name] == (FOLDER / name).read_text(), RENEW


def test_the_kernels_can_be_read_with_the_step_of_the_lstm() -> None:
    assert TEMPLATE.read_text(encoding="utf-8") == kernel_source(trace(FORM, zoneout=False))
