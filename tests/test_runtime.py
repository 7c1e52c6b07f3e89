"""asr/runtime.py: exit codes, one line for a user's mistake, and few compiled primitives kept."""

import os

import pytest

from asr.runtime import KEPT_PRIMITIVES, NUM_KEPT_PRIMITIVES, run_program


def _raise(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (None, 0, ""),
        (ValueError("a.yaml: no such key"), 2, "error: a.yaml: no such key\n"),
        (FileNotFoundError("b.wav"), 2, "error: b.wav\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(
    outcome: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    for name in KEPT_PRIMITIVES:
        monkeypatch.setenv(name, "7")
    with pytest.raises(SystemExit) as caught:
        run_program(lambda _: _raise(outcome) if outcome else 0)
    assert (caught.value.code, capsys.readouterr().err) == (code, said)
    assert [os.environ[name] for name in KEPT_PRIMITIVES] == ["7", "7"]  # who sets them, means it


def test_programs_keep_few_primitives_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the memory of a training whose batches vary in shape grows without end."""
    for name in KEPT_PRIMITIVES:
        monkeypatch.setenv(name, "")  # so that the end of the test puts back what there was
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit):
        run_program(lambda _: 0)
    assert {os.environ[name] for name in KEPT_PRIMITIVES} == {str(NUM_KEPT_PRIMITIVES)}
